import { OperatorError } from '../../common/errors.ts';
import { GATE_CLOSED, GATE_OPEN } from '../shared/shared.ts';
import { type HostFacts, serviceNamed, stickOf } from './choice.ts';
import { cutBackend } from './flow-cut.ts';
import { readHostFacts, readTracking } from './host-facts.ts';
import type { KernelHost, KernelHostEvents, KernelOrder, YoungVips } from './kernel-host.ts';
import type { KernelPool, KernelService } from './kernel-service.ts';
import { KernelTable } from './kernel-table.ts';
import { Nft } from './nft.ts';
import type { NftWatch, NftWatchOptions } from './nft-watch.ts';
import { rulesOf } from './rules.ts';
import { type Ruleset, TABLE } from './ruleset.ts';
import { TableOwner } from './table-owner.ts';
import { YoungSets } from './young.ts';

/** The lbd before this one may have the table until now. */
const CLAIM_MS = 5_000;

/** Others than those of this host, for tests. */
export interface LocalHostParts {
  readonly nft?: Pick<Nft, keyof Nft>;
  watch?(options: NftWatchOptions): Pick<NftWatch, 'start' | 'close'>;
  facts?(): Promise<HostFacts>;
  readonly owner?: Pick<TableOwner, keyof TableOwner>;
}

/** Changes the kernel of this host by itself, which needs CAP_NET_ADMIN: in lbd where it has that, else in its helper. */
export class LocalHost implements KernelHost {
  readonly #events: Pick<KernelHostEvents, 'tell'>;
  readonly #facts: () => Promise<HostFacts>;
  readonly #nft: Pick<Nft, keyof Nft>;
  readonly #table: KernelTable;
  readonly #owner: Pick<TableOwner, keyof TableOwner>;
  readonly #young = new YoungSets();
  #order: KernelOrder | undefined;
  #services: readonly KernelService[] = [];
  #claiming: NodeJS.Timeout | undefined;
  #closed = false;
  /** The latest one; they happen one after the other. */
  #cutting: Promise<unknown> = Promise.resolve();

  constructor(events: Pick<KernelHostEvents, 'tell' | 'onLoaded'>, parts: LocalHostParts = {}) {
    this.#events = events;
    this.#nft = parts.nft ?? new Nft();
    this.#owner = parts.owner ?? new TableOwner();
    this.#facts = () => parts.facts?.() ?? readHostFacts(this.#nft);
    this.#table = new KernelTable({
      nft: this.#nft,
      watch: parts.watch,
      wanted: () => this.#wanted(),
      young: () => this.#young.script(performance.now()),
      onLoaded: events.onLoaded,
      tell: events.tell,
    });
  }

  get began(): boolean {
    return this.#table.began;
  }

  /** Those of the latest order. */
  get services(): readonly KernelService[] {
    return this.#services;
  }

  facts(): Promise<HostFacts> {
    return this.#facts();
  }

  async keep(order: KernelOrder): Promise<string | undefined> {
    if (this.#closed) return undefined;
    this.#order = order;
    this.#services = order.frontends.map((name) => serviceNamed(order.config, name));
    const isYoungStale = this.#young.set(order.young, performance.now());
    if (this.#table.began) await this.#table.refresh(isYoungStale);
    else {
      const trouble = await this.#table.begin();
      if (trouble !== undefined) return trouble;
    }
    // Nobody would take back a claim that is made after the end.
    if (this.#closed) return undefined;
    this.#owner.claim();
    this.#claiming ??= setInterval(() => this.#owner.claim(), CLAIM_MS).unref();
    return undefined;
  }

  setYoung(vips: YoungVips): void {
    if (this.#young.set(vips, performance.now())) this.#table.refreshYoung();
  }

  cut(frontend: string, backend: string): Promise<number> {
    const service = this.#services.find(({ name }) => name === frontend);
    const target = service?.backends.find(({ name }) => name === backend);
    if (service === undefined || target === undefined)
      return Promise.reject(
        new OperatorError('NO_BACKEND', `frontend ${frontend} has no backend ${backend} in the kernel`),
      );
    const cut = this.#cutting.then(() => cutBackend(this.#nft, service, target));
    this.#cutting = cut.catch(() => {});
    return cut;
  }

  async removeLeftover(): Promise<boolean> {
    if (await this.#owner.isClaimed())
      this.#events.tell('info', `table ${TABLE} stays: another lbd of this host uses it`);
    else await this.#table.removeLeftover();
    return true;
  }

  warnings(): string[] {
    return this.#table.warnings();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#claiming);
    await this.#table.close();
    await this.#cutting;
    this.#owner.close();
  }

  #wanted(): Ruleset {
    const services = this.#services;
    const { config, gates } = this.#order!;
    const names = new Set(services.map(({ pool }) => pool));
    return rulesOf(
      services,
      config.pools
        .filter(({ name }) => names.has(name))
        .map((pool): KernelPool => {
          const { family } = services.find((service) => service.pool === pool.name)!;
          return {
            name: pool.name,
            family,
            algorithm: pool.algorithm,
            stick: stickOf(pool),
            backends: pool.backends.map(({ name, address }) => {
              const [gate, weight] = gates[`${pool.name}/${name}`] ?? [GATE_CLOSED, 0];
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
}
