import type { BackendStatus } from '../../common/control.ts';
import type { Config } from '../../common/model.ts';
import type { Addresses } from '../shared/plan.ts';
import type { PoolTls } from '../tls/backend-tls.ts';
import type { BackendTarget, HealthMonitor } from './health/monitor.ts';
import { Names } from './names/names.ts';
import { doorsOf, ownAddresses } from './own-doors.ts';
import { addressesOf, hostsOf, targetsOf } from './planner.ts';

/** An address that this host gets, as at its boot, may lead what a backend gets back to it: so often that is looked for. */
const LOOK_MS = 5_000;

/** How the backends of a pool are spoken to; undefined: in the clear. */
type TlsOf = (pool: string) => PoolTls | undefined;

export interface WhereaboutsOptions {
  readonly monitor: Pick<HealthMonitor, 'apply' | 'update' | 'usable'>;
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
  #config: Config | undefined;
  #tls: TlsOf = () => undefined;
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

  /** Follows the backends of this config from now on. @param tls of its pools */
  follow(config: Config, tls: TlsOf): void {
    this.#config = config;
    this.#tls = tls;
    this.#names.apply(hostsOf(config), config.resolver);
    this.check();
    this.#looking ??= setInterval(() => {
      if (this.#hostAddresses().symmetricDifference(this.#own).size > 0) this.check();
    }, this.#options.lookMs ?? LOOK_MS).unref();
  }

  #hostAddresses(): ReadonlySet<string> {
    return (this.#options.hostAddresses ?? ownAddresses)();
  }

  /** Checks the backends where they are now. @param tls how they are spoken to from now on */
  check(tls = this.#tls): void {
    this.#tls = tls;
    this.#options.monitor.apply(this.#targets());
  }

  /** Some names lead elsewhere. Where there are thousands, a look at all of them for each would take the thread. */
  #moved(names: ReadonlySet<string>): void {
    this.#options.monitor.update(this.#targets().filter(({ host }) => names.has(host.toLowerCase())));
  }

  #targets(): BackendTarget[] {
    if (this.#config === undefined) return [];
    this.#own = this.#hostAddresses();
    const doors = doorsOf(this.#config, this.#own);
    return targetsOf(this.#config, this.#tls, (host) => this.#names.of(host), doors);
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
    return this.#config && addressesOf(this.#config, (id) => this.#options.monitor.usable(id));
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
