import type { BackendState, Role } from '../../common/control.ts';
import { messageOf } from '../../common/errors.ts';
import type { Config } from '../../common/model.ts';
import { GATE_CLOSED, GATE_OPEN, type Gate } from '../shared.ts';
import { chooseEngines, type EngineChoice, type HostFacts, mayHaveKernel, READY, stickOf } from './choice.ts';
import { cutBackend } from './flow-cut.ts';
import { hostTroubles, readHostFacts, readTracking } from './host-facts.ts';
import type { KernelFrontend } from './kernel-frontend.ts';
import type { KernelPool, KernelService } from './kernel-service.ts';
import { KernelTable } from './kernel-table.ts';
import { Nft } from './nft.ts';
import type { NftWatch, NftWatchOptions } from './nft-watch.ts';
import { rulesOf } from './rules.ts';
import { type Ruleset, TABLE } from './ruleset.ts';
import { TableOwner } from './table-owner.ts';
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
  /** Others only in tests. */
  readonly nft?: Pick<Nft, keyof Nft>;
  watch?(options: NftWatchOptions): Pick<NftWatch, 'start' | 'close'>;
  facts?(): Promise<HostFacts>;
  readonly owner?: Pick<TableOwner, keyof TableOwner>;
}

/**
 * The frontends whose bytes the kernel moves. Chooses them, keeps the rules in step with health, drains and weights, and
 * puts them back when somebody else changes them. The kernel goes on with the last rules when lbd ends, whether that was
 * planned or not; the next start takes them over.
 */
export class KernelEngine {
  readonly #options: KernelEngineOptions;
  readonly #nft: Pick<Nft, keyof Nft>;
  readonly #table: KernelTable;
  readonly #owner: Pick<TableOwner, keyof TableOwner>;
  readonly #young = new Young();
  #config: Config | undefined;
  #choices: readonly EngineChoice[] = [];
  /** As the kernel has them. */
  #inForce: readonly EngineChoice[] = [];
  #look: NodeJS.Timeout | undefined;
  #hostTroubles: readonly string[] = [];
  readonly #down = new Set<string>();
  /** The latest one; they happen one after the other. */
  #cutting: Promise<void> = Promise.resolve();

  constructor(options: KernelEngineOptions) {
    this.#options = options;
    this.#nft = options.nft ?? new Nft();
    this.#owner = options.owner ?? new TableOwner();
    this.#table = new KernelTable({
      nft: this.#nft,
      watch: options.watch,
      wanted: () => this.#wanted(),
      young: () => this.#young.script(performance.now()),
      onLoaded: () => {
        for (const id of this.#newlyDown()) this.#cut(id, ({ onBackendDown }) => onBackendDown === 'cut');
      },
      tell: options.tell,
    });
  }

  /**
   * Chooses the engine of each frontend of a config and puts the rules in force. Never rejects: what cannot be done is in
   * `warnings`, and lbd serves those clients itself.
   */
  async apply(config: Config): Promise<void> {
    const isFirst = this.#config === undefined;
    this.#config = config;
    const found = await this.#facts(config);
    // It worked before: if it does not now, the rules in force are better than none.
    const facts = this.#table.began ? { ...found, trouble: '' } : found;
    this.#choices = chooseEngines(config, facts);
    if (this.#services().length === 0 && !this.#table.began) {
      if (isFirst) await this.#removeLeftover();
      this.#announce();
      return;
    }
    this.#look ??= setInterval(() => this.#lookAtHost(), LOOK_MS).unref();
    if (this.#table.began) await this.#table.refresh();
    else {
      const trouble = await this.#table.begin();
      if (trouble !== undefined) this.#choices = chooseEngines(config, { ...facts, trouble });
    }
    if (this.#table.began) this.#owner.claim();
    this.#announce();
    this.#options.onFrontends(this.frontends);
  }

  /** Puts what changed of health, drains and weights in force. Settles when it is; never rejects. */
  refresh(): Promise<void> {
    if (this.#services().length === 0 && !this.#table.began) return Promise.resolve();
    return this.#table.refresh();
  }

  /** The node's role for VIPs, see `Young`. */
  role(vips: readonly string[], role: Role, before: Role | undefined): void {
    if (this.#young.note(vips, role, before, performance.now())) this.#table.refreshYoung();
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
      ...this.#table.warnings(),
      ...this.#hostTroubles,
    ].filter((line) => line !== undefined);
  }

  /** The rules stay. */
  async close(): Promise<void> {
    clearInterval(this.#look);
    await this.#table.close();
    await this.#cutting;
    this.#owner.close();
  }

  async #removeLeftover(): Promise<void> {
    if (!(await this.#owner.isClaimed())) return this.#table.removeLeftover();
    this.#options.tell('info', `table ${TABLE} stays: another lbd of this host uses it`);
  }

  #services(): KernelService[] {
    return this.#choices.flatMap(({ service }) => service ?? []);
  }

  #facts(config: Config): Promise<HostFacts> {
    if (mayHaveKernel(config)) return this.#options.facts?.() ?? readHostFacts(this.#nft);
    return Promise.resolve(READY);
  }

  #announce(): void {
    const before = new Map(this.#inForce.map((choice) => [choice.frontend, choice]));
    this.#inForce = this.#choices;
    for (const { frontend, engine, why, warning } of this.#choices) {
      const was = before.get(frontend);
      if (was?.engine === engine && was.why === why && was.warning === warning) continue;
      if (warning === undefined) this.#options.tell('info', `frontend ${frontend}: engine ${engine}: ${why}`);
      else this.#options.tell('warn', warning);
    }
  }

  #lookAtHost(): void {
    // The lbd before this one may have had it until now.
    if (this.#table.began) this.#owner.claim();
    const before = this.#hostTroubles;
    this.#hostTroubles = hostTroubles(new Set(this.#services().map(({ family }) => family)));
    for (const line of this.#hostTroubles) if (!before.includes(line)) this.#options.tell('warn', line);
  }

  #wanted(): Ruleset {
    const services = this.#services();
    const names = new Set(services.map(({ pool }) => pool));
    const pools = (this.#config?.pools ?? []).filter(({ name }) => names.has(name));
    return rulesOf(
      services,
      pools.map((pool): KernelPool => {
        const { family } = services.find((service) => service.pool === pool.name)!;
        return {
          name: pool.name,
          family,
          algorithm: pool.algorithm,
          stick: stickOf(pool),
          backends: pool.backends.map(({ name, address }) => {
            const { gate, weight } = this.#options.gate(`${pool.name}/${name}`);
            return {
              name,
              address: address.host,
              port: address.port,
              weight: gate === GATE_OPEN ? weight : 0,
              stuck: gate !== GATE_CLOSED,
            };
          }),
        };
      }),
      readTracking(),
    );
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
      for (const service of this.#services().filter(concerns)) {
        const backend = service.backends.find(({ name }) => `${service.pool}/${name}` === id);
        if (backend !== undefined) count += await cutBackend(this.#nft, service, backend);
      }
      if (count > 0) this.#options.tell('warn', `${id}: ${count} flows in the kernel were cut`);
    };
    this.#cutting = this.#cutting.then(cut).catch((error: unknown) => {
      this.#options.tell('warn', `${id}: its flows in the kernel could not be cut: ${messageOf(error)}`);
    });
  }
}
