import type { BackendState, Role } from '../../common/control.ts';
import { messageOf } from '../../common/errors.ts';
import type { Config } from '../../common/model.ts';
import type { KernelFrontend } from '../flow/kernel-frontend.ts';
import { GATE_CLOSED, type Gate } from '../shared/shared.ts';
import { chooseEngines, type EngineChoice, type HostFacts, mayHaveKernel, READY } from './choice.ts';
import { hostTroubles } from './host-facts.ts';
import type { KernelHost, KernelHostEvents, KernelOrder, YoungVips } from './kernel-host.ts';
import type { KernelService } from './kernel-service.ts';
import { Young } from './young.ts';

/** The host's settings and the fill of its table are looked at so often. */
const LOOK_MS = 5_000;

/** What a backend of `pool/backend` may get. */
export interface KernelGate {
  readonly gate: Gate;
  readonly weight: number;
  readonly state: BackendState | undefined;
}

/** Of a backend that is not in the config any more. */
export const NO_GATE: KernelGate = { gate: GATE_CLOSED, weight: 0, state: undefined };

export interface KernelEngineOptions {
  gate(id: string): KernelGate;
  tell(level: 'info' | 'warn', text: string): void;
  /** The frontends that the kernel has from now on. */
  onFrontends(frontends: readonly KernelFrontend[]): void;
  /** The engines of this node, as they are now; also where nothing has changed. */
  onChosen?(choices: readonly Pick<EngineChoice, 'frontend' | 'engine' | 'why'>[]): void;
  /** Makes what changes this host's kernel. */
  host(events: KernelHostEvents): KernelHost;
}

/**
 * The frontends whose bytes the kernel moves. Chooses them, and says what their rules must follow of health, drains and
 * weights; whoever changes the kernel puts it in force. The kernel goes on with the last rules when lbd ends, whether that
 * was planned or not; the next start takes them over.
 */
export class KernelEngine {
  readonly #options: KernelEngineOptions;
  readonly #host: KernelHost;
  readonly #young = new Young();
  /** As last asked for. */
  #latest: Config | undefined;
  /** Of the choices. */
  #config: Config | undefined;
  #choices: readonly EngineChoice[] = [];
  /** As the kernel has them. */
  #inForce: readonly EngineChoice[] = [];
  /** The table of an earlier run may be there. */
  #mayHaveLeftover = true;
  #look: NodeJS.Timeout | undefined;
  #hostTroubles: readonly string[] = [];
  readonly #down = new Set<string>();
  /** The latest ones; they happen one after the other. */
  #applying: Promise<void> = Promise.resolve();
  #cutting: Promise<void> = Promise.resolve();
  #refreshing: Promise<void> | undefined;
  /** Something changed since the latest order. */
  #isStale = false;
  #closed = false;

  constructor(options: KernelEngineOptions) {
    this.#options = options;
    this.#host = options.host({
      tell: options.tell,
      onLoaded: () => {
        for (const id of this.#newlyDown()) this.#cut(id, ({ onBackendDown }) => onBackendDown === 'cut');
      },
      onUp: () => {
        if (this.#latest !== undefined) void this.apply(this.#latest);
      },
    });
  }

  /**
   * Chooses the engine of each frontend of a config and puts the rules in force. Never rejects: what cannot be done is in
   * `warnings`, and lbd serves those clients itself.
   */
  apply(config: Config): Promise<void> {
    this.#latest = config;
    this.#applying = this.#applying.then(() => (this.#closed ? undefined : this.#apply(config)));
    return this.#applying;
  }

  /** Puts what changed of health, drains and weights in force, all changes of a moment together. Settles when it is; never rejects. */
  refresh(): Promise<void> {
    if (!this.#isUsed) return Promise.resolve();
    this.#isStale = true;
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** The node's role for VIPs, see `Young`. */
  role(vips: readonly string[], role: Role, before: Role | undefined): void {
    if (this.#young.note(vips, role, before, performance.now()) && this.#isUsed)
      this.#host.setYoung(this.#youngVips());
  }

  /** Ends the flows of `pool/backend`, whose time is over. */
  cut(id: string): void {
    void this.refresh().then(() => this.#cut(id, () => true));
  }

  /** Those that the kernel has. */
  get frontends(): readonly KernelFrontend[] {
    return this.#services();
  }

  /** Flows to `pool/backend` over all frontends. */
  flows(id: string, count: (frontend: string, backend: string) => number): number {
    let sum = 0;
    for (const { name, pool, backends } of this.#services())
      for (const backend of backends) if (`${pool}/${backend.name}` === id) sum += count(name, backend.name);
    return sum;
  }

  /** Engine of a frontend, and why; undefined for mode http. */
  engine(frontend: string): Pick<EngineChoice, 'engine' | 'why'> | undefined {
    const choice = this.#inForce.find((it) => it.frontend === frontend);
    return choice && { engine: choice.engine, why: choice.why };
  }

  warnings(): string[] {
    return [
      ...this.#choices.map(({ warning }) => warning),
      ...this.#host.warnings(),
      ...this.#hostTroubles,
    ].filter((line) => line !== undefined);
  }

  /** The rules stay. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#look);
    await this.#host.close();
    await this.#cutting;
  }

  async #refresh(): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false;
      await this.#host.keep(this.#order());
    }
  }

  async #apply(config: Config): Promise<void> {
    const found = await this.#facts(config);
    if (this.#closed) return;
    const { began } = this.#host;
    // It worked before: if it does not now, the rules in force are better than none.
    const facts = began ? { ...found, trouble: '' } : found;
    this.#config = config;
    this.#choices = chooseEngines(config, facts);
    if (this.#services().length === 0 && !began) {
      if (this.#mayHaveLeftover) this.#mayHaveLeftover = !(await this.#host.removeLeftover());
      this.#announce();
      return;
    }
    this.#mayHaveLeftover = false;
    this.#look ??= setInterval(() => this.#lookAtHost(), LOOK_MS).unref();
    const trouble = await this.#host.keep(this.#order());
    if (this.#closed) return;
    if (trouble !== undefined) this.#choices = chooseEngines(config, { ...facts, trouble });
    this.#announce();
    this.#options.onFrontends(this.frontends);
  }

  /** The kernel has, or had in this run, what is ours. */
  get #isUsed(): boolean {
    return this.#services().length > 0 || this.#host.began;
  }

  #services(): KernelService[] {
    return this.#choices.flatMap(({ service }) => service ?? []);
  }

  #facts(config: Config): Promise<HostFacts> {
    return mayHaveKernel(config) ? this.#host.facts() : Promise.resolve(READY);
  }

  /** What is wanted now. */
  #order(): KernelOrder {
    const services = this.#services();
    const gates: Record<string, readonly [Gate, number]> = {};
    for (const { pool, backends } of services)
      for (const { name } of backends) {
        const { gate, weight } = this.#options.gate(`${pool}/${name}`);
        gates[`${pool}/${name}`] = [gate, weight];
      }
    const frontends = services.map(({ name }) => name);
    return { config: this.#config!, frontends, gates, young: this.#youngVips() };
  }

  #youngVips(): YoungVips {
    const vips = new Set(this.#config?.ha?.vips.map(({ address }) => address));
    return this.#young.vips(vips, performance.now());
  }

  #announce(): void {
    const before = new Map(this.#inForce.map((choice) => [choice.frontend, choice]));
    this.#inForce = this.#choices;
    this.#options.onChosen?.(this.#choices);
    for (const { frontend, engine, why, warning } of this.#choices) {
      const was = before.get(frontend);
      if (was?.engine === engine && was.why === why && was.warning === warning) continue;
      if (warning === undefined) this.#options.tell('info', `frontend ${frontend}: engine ${engine}: ${why}`);
      else this.#options.tell('warn', warning);
    }
  }

  #lookAtHost(): void {
    const before = this.#hostTroubles;
    this.#hostTroubles = hostTroubles(new Set(this.#services().map(({ family }) => family)));
    for (const line of this.#hostTroubles) if (!before.includes(line)) this.#options.tell('warn', line);
  }

  /** Backends that went down since the last call. */
  #newlyDown(): string[] {
    const ids = new Set(
      this.#services().flatMap(({ pool, backends }) => backends.map(({ name }) => `${pool}/${name}`)),
    );
    const found: string[] = [];
    for (const id of ids) {
      const { state, gate } = this.#options.gate(id);
      const isDown = state === 'down' && gate === GATE_CLOSED;
      if (isDown && !this.#down.has(id)) found.push(id);
      if (isDown) this.#down.add(id);
      else this.#down.delete(id);
    }
    for (const id of this.#down) if (!ids.has(id)) this.#down.delete(id);
    return found;
  }

  #cut(id: string, concerns: (service: KernelService) => boolean): void {
    const cut = async () => {
      let count = 0;
      for (const { name, pool, backends } of this.#services().filter(concerns)) {
        const backend = backends.find((it) => `${pool}/${it.name}` === id);
        if (backend !== undefined) count += await this.#host.cut(name, backend.name);
      }
      if (count > 0) this.#options.tell('warn', `${id}: ${count} flows in the kernel were cut`);
    };
    this.#cutting = this.#cutting.then(cut).catch((error: unknown) => {
      this.#options.tell('warn', `${id}: its flows in the kernel could not be cut: ${messageOf(error)}`);
    });
  }
}
