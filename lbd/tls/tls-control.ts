import type { CertificateStatus } from '../../common/control.ts';
import { messageOf, OperatorError } from '../../common/errors.ts';
import type { Config } from '../../common/model.ts';
import { PoolTls } from './backend-tls.ts';
import { expiryWarning } from './certificate.ts';
import { CertificateCache } from './certificate-cache.ts';
import { FileWatch } from './file-watch.ts';
import { readTlsFiles, tlsPaths } from './files.ts';
import { type TlsMaterial, TlsStore } from './material.ts';

export interface TlsControlOptions {
  /** Secrets of the session tickets, see `TicketRing`; the one to seal with comes first. */
  ticketSecrets(): readonly Uint8Array[];
  /** One line about files that were read again. */
  tell(level: 'info' | 'warn', text: string): void;
  /** Puts new material for the config in force. @returns what could not be done, a line each */
  onChange(): Promise<readonly string[]>;
  /** How often to look at the files; default: every second. */
  readonly intervalMs?: number;
}

/**
 * The control plane's part of TLS: reads certificates and keys, looks whether they fit, follows their files, and tells
 * what an operator should know. What runs goes on with what it has, whatever is in the files.
 */
export class TlsControl {
  readonly #options: TlsControlOptions;
  readonly #store = new TlsStore();
  readonly #watch: FileWatch;
  readonly #cache = new CertificateCache();
  #config: Config | undefined;
  #material: TlsMaterial = { frontends: {}, pools: {} };
  #pools = new Map<string, PoolTls>();
  #problems: readonly string[] = [];

  constructor(options: TlsControlOptions) {
    this.#options = options;
    this.#watch = new FileWatch(
      () => (this.#config === undefined ? [] : tlsPaths(this.#config)),
      () => void this.#reread(),
      options.intervalMs,
    );
  }

  /**
   * For a config that is about to be loaded. What is known to be wrong since before, and serves without, does not count:
   * one file must not be in the way of every reload.
   *
   * @param found as `problemsOf` the config
   * @throws OperatorError `TLS` with all that cannot be used
   */
  check(found: readonly string[]): void {
    const problems = found.filter((line) => !this.#problems.some((known) => known.startsWith(line)));
    if (problems.length > 0) throw new OperatorError('TLS', problems.join('; '));
  }

  /**
   * Takes a config, and the files as they are.
   *
   * @throws OperatorError `TLS` when a frontend or pool cannot serve at all; nothing has changed then
   */
  take(config: Config): void {
    const missing = this.#store.take(readTlsFiles(config, this.#cache));
    if (missing.length > 0) throw new OperatorError('TLS', missing.join('; '));
    this.#config = config;
    this.#refresh(config);
  }

  /** The secrets of the session tickets are others now. */
  ticketsChanged(): void {
    if (this.#config === undefined) return;
    this.#material = this.#store.material(this.#config, this.#options.ticketSecrets());
    if (Object.keys(this.#material.frontends).length > 0) void this.#enforce();
  }

  /** Follows the files from now on. @returns what ends that */
  watch(): () => void {
    this.#watch.start();
    return () => this.#watch.close();
  }

  /** For the workers: holds private keys. */
  get material(): TlsMaterial {
    return this.#material;
  }

  /** How the backends of a pool are spoken to; undefined: in the clear. */
  pool(name: string): PoolTls | undefined {
    return this.#pools.get(name);
  }

  /** Certificates of a frontend that are in force. */
  certificates(frontend: string): CertificateStatus[] {
    return this.#store.certificates(frontend).map(({ file, names, keyType, fingerprint, notAfterMs }) => ({
      file,
      names,
      key_type: keyType,
      sha256: fingerprint,
      not_after: new Date(notAfterMs).toISOString(),
    }));
  }

  /** @param nowMs wall clock; it is for people only */
  warnings(nowMs = Date.now()): string[] {
    const expiring = this.#store
      .all()
      .map((certificate) => expiryWarning(certificate, nowMs))
      .filter((line) => line !== undefined);
    return [...new Set([...this.#problems, ...expiring])];
  }

  #refresh(config: Config): void {
    this.#material = this.#store.material(config, this.#options.ticketSecrets());
    this.#problems = this.#store.problems();
    for (const line of this.#problems) this.#options.tell('warn', line);
    const before = this.#pools;
    this.#pools = new Map();
    for (const { name, tls } of config.pools) {
      const material = this.#material.pools[name];
      if (tls === undefined || material === undefined) continue;
      const old = before.get(name);
      this.#pools.set(name, old?.version === material.version ? old : new PoolTls(tls, material));
    }
  }

  async #reread(): Promise<void> {
    const config = this.#config!;
    const versions = () =>
      JSON.stringify(
        [...Object.entries(this.#material.frontends), ...Object.entries(this.#material.pools)].map(
          ([name, { version }]) => [name, version],
        ),
      );
    const before = versions();
    try {
      this.take(config);
    } catch (error) {
      // Whatever it is: what serves goes on.
      this.#options.tell('warn', messageOf(error));
      return;
    }
    if (versions() === before) return;
    if (await this.#enforce()) this.#options.tell('info', 'certificates were read again and are in force');
  }

  /** @returns whether all workers have what is new */
  async #enforce(): Promise<boolean> {
    const failed = await this.#options.onChange();
    for (const line of failed) this.#options.tell('warn', line);
    return failed.length === 0;
  }
}

/** What cannot be used of the files that a config names, a line each. */
export function problemsOf(config: Config): string[] {
  const { frontends, pools } = readTlsFiles(config);
  const problems = [...frontends.values(), ...pools.values()].flatMap((loaded) => loaded.problems);
  for (const { name, tls } of config.pools) {
    const files = pools.get(name)?.files;
    if (tls === undefined || files === undefined) continue;
    try {
      new PoolTls(tls, { ...files, version: '' });
    } catch (error) {
      problems.push(`pool ${name}: ${messageOf(error)}`);
    }
  }
  return problems;
}
