import type { BackendStatus } from '../../common/control.ts';
import type { Config } from '../../common/model.ts';
import type { Addresses } from '../shared/plan.ts';
import type { PoolTls } from '../tls/backend-tls.ts';
import type { BackendTarget, HealthMonitor } from './health/monitor.ts';
import { Names } from './names/names.ts';
import { doorsOf, ownAddresses } from './own-doors.ts';
import { addressesOf, backendIds, hostsOf, targetsOf } from './planner.ts';

/** An address that this host gets, as at its boot, may lead what a backend gets back to it: so often that is looked for. */
const LOOK_MS = 5_000;

/** How the backends of a pool are spoken to; undefined: in the clear. */
type TlsOf = (pool: string) => PoolTls | undefined;

/** A config and the TLS of its pools. */
interface Backing {
  readonly config: Config;
  readonly tls: TlsOf;
}

export interface WhereaboutsOptions {
  readonly monitor: Pick<HealthMonitor, 'apply' | 'prepare' | 'update' | 'usable'>;
  /** For the workers: backends with host names are elsewhere. */
  readdress(addresses: Addresses): void;
  tell(level: 'info' | 'warn', text: string): void;
  /** Others only in tests. */
  readonly hostAddresses?: () => ReadonlySet<string>;
  readonly lookMs?: number;
}

/** Where the backends of the config are: their names are resolved, their addresses checked, and the workers told of both. */
export class Whereabouts {
  readonly #options: WhereaboutsOptions;
  readonly #names: Names;
  /** Whose backends are checked; undefined: nobody's yet. */
  #now: Backing | undefined;
  /** Whose backends are checked beside, since it is about to be put in force. */
  #next: Backing | undefined;
  /** Backends of former configs that are checked on, `pool/backend`. */
  #staying: ReadonlySet<string> = new Set();
  #readdressing: NodeJS.Immediate | undefined;
  /** Of this host, when the backends were looked at last. */
  #own: ReadonlySet<string> = new Set();
  #looking: NodeJS.Timeout | undefined;

  constructor(options: WhereaboutsOptions) {
    this.#options = options;
    this.#names = new Names({
      onChange: (names) => this.#moved(new Set(names)),
      tell: (level, text) => options.tell(level, text),
    });
  }

  /**
   * A config that `follow` will be told: its backends are looked for and checked beside those that serve.
   *
   * @param tls of its pools
   */
  prepare(config: Config, tls: TlsOf): void {
    this.#next = { config, tls };
    const hosts = [...hostsOf(config), ...(this.#now === undefined ? [] : hostsOf(this.#now.config))];
    this.#names.apply(hosts, config.resolver);
    this.#options.monitor.prepare(this.#targets(this.#next));
  }

  /**
   * Follows the backends of this config from now on. Those of the one before are checked on, as they were, until `release`.
   *
   * @param tls of its pools
   */
  follow(config: Config, tls: TlsOf): void {
    if (this.#now !== undefined) this.#staying = this.#staying.union(new Set(backendIds(this.#now.config)));
    this.#now = { config, tls };
    this.#next = undefined;
    this.#names.apply(hostsOf(config), config.resolver);
    this.check();
    this.#looking ??= setInterval(() => this.#look(), this.#options.lookMs ?? LOOK_MS).unref();
  }

  /** Checks no more backends of former configs than these, `pool/backend`. */
  release(staying: ReadonlySet<string>): void {
    this.#staying = this.#staying.intersection(staying);
    this.check();
  }

  #look(): void {
    // What it would find is looked at when the next config is in force.
    if (this.#next === undefined && this.#hostAddresses().symmetricDifference(this.#own).size > 0)
      this.check();
  }

  #hostAddresses(): ReadonlySet<string> {
    return (this.#options.hostAddresses ?? ownAddresses)();
  }

  /** Checks the backends where they are now. @param tls how they are spoken to from now on */
  check(tls = this.#now?.tls): void {
    if (this.#now === undefined || tls === undefined) return;
    this.#now = { ...this.#now, tls };
    this.#options.monitor.apply(this.#targets(this.#now), this.#staying);
  }

  /** Some names lead elsewhere. Where there are thousands, a look at all of them for each would take the thread. */
  #moved(names: ReadonlySet<string>): void {
    const { monitor } = this.#options;
    const movedOf = (backing: Backing | undefined) =>
      this.#targets(backing).filter(({ host }) => names.has(host.toLowerCase()));
    monitor.update(movedOf(this.#now));
    if (this.#next !== undefined) monitor.prepare(movedOf(this.#next));
  }

  #targets(backing: Backing | undefined): BackendTarget[] {
    if (backing === undefined) return [];
    const { config, tls } = backing;
    this.#own = this.#hostAddresses();
    return targetsOf(config, tls, (host) => this.#names.of(host), doorsOf(config, this.#own));
  }

  /** Other addresses of a backend pass their checks: the workers are told, once for all that changes in one turn. */
  usableChanged(): void {
    this.#readdressing ??= setImmediate(() => {
      this.#readdressing = undefined;
      const addresses = this.addresses;
      if (addresses !== undefined) this.#options.readdress(addresses);
    });
  }

  /** For a plan of the workers; undefined: no backend has a host name. */
  get addresses(): Addresses | undefined {
    return this.#now && addressesOf(this.#now.config, (id) => this.#options.monitor.usable(id));
  }

  /** Of `pool/backend` with this host. */
  resolved(id: string, host: string): BackendStatus['resolved'] {
    const resolution = this.#names.of(host);
    if (resolution === undefined) return undefined;
    const { addresses, ageMs, trouble } = resolution;
    return {
      addresses,
      usable: this.#options.monitor.usable(id),
      age_ms: Math.round(ageMs),
      ...(trouble !== '' && { trouble }),
    };
  }

  /** Names that are not found now, one line each. */
  warnings(): string[] {
    return this.#names.warnings();
  }

  close(): void {
    clearImmediate(this.#readdressing);
    clearInterval(this.#looking);
    this.#names.close();
  }
}
