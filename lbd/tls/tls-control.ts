import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CertificateStatus } from '../../common/control.ts';
import { messageOf, OperatorError } from '../../common/errors.ts';
import type { Config } from '../../common/model.ts';
import { PoolTls } from './backend-tls.ts';
import { expiryWarning, type Lifetime } from './certificate.ts';
import { readTlsFiles } from './files.ts';
import {
  type FrontendRead,
  type InForce,
  NOTHING_READ,
  type PoolMaterial,
  type TlsMaterial,
  type TlsRead,
  type TlsWanted,
  tlsMaterial,
  wantedOf,
  withNews,
} from './material.ts';
import { ReaderThread, type Reading } from './reader-thread.ts';

const NO_READING: Reading = {
  comparison: { missing: [], found: [], problems: [], frontends: {}, pools: {} },
  parsed: 0,
};

export interface TlsControlOptions {
  /** Secrets of the session tickets, see `TicketRing`; the one to seal with comes first. */
  ticketSecrets(): readonly Uint8Array[];
  /** One line about files that were read again. */
  tell(level: 'info' | 'warn', text: string): void;
  /** Puts new material for the config in force. @returns what could not be done, a line each */
  onChange(): Promise<readonly string[]>;
  /** How often to look at the files; default: every second, and less often where that takes long. */
  readonly intervalMs?: number;
}

/** All that TLS of a config needs, read and checked. Nothing of it is in force before `take`. */
export interface PreparedTls {
  readonly config: Config;
  readonly read: TlsRead;
  readonly pools: ReadonlyMap<string, PoolTls>;
  /** What cannot be used of the newest files, a line each. */
  readonly problems: readonly string[];
  /** Certificates that were parsed for it; the others are as they were. */
  readonly parsed: number;
}

/**
 * The control plane's part of TLS: has certificates and keys read, follows their files, and tells what an operator should
 * know. What runs goes on with what it has, whatever is in the files.
 */
export class TlsControl {
  readonly #options: TlsControlOptions;
  readonly #reader: ReaderThread;
  #config: Config | undefined;
  #read: TlsRead = NOTHING_READ;
  #material: TlsMaterial = { frontends: {}, pools: {} };
  #pools: ReadonlyMap<string, PoolTls> = new Map();
  #problems: readonly string[] = [];
  #watches = false;
  #rereading = false;
  #changedAgain = false;
  readonly #statuses = new WeakMap<FrontendRead, readonly CertificateStatus[]>();

  constructor(options: TlsControlOptions) {
    this.#options = options;
    this.#reader = new ReaderThread({
      onChange: () => void this.#changed(),
      tell: (text) => options.tell('warn', text),
      intervalMs: options.intervalMs,
    });
  }

  /**
   * For a config that is about to be loaded. What is known to be wrong since before, and serves without, does not count:
   * one file must not be in the way of every reload.
   *
   * @throws OperatorError `TLS` with all that cannot be used
   */
  async check(config: Config): Promise<void> {
    const { comparison } = await this.#readFiles(config);
    const news = comparison.found.filter((line) => !this.#isKnown(line));
    if (news.length > 0) throw new OperatorError('TLS', news.join('; '));
  }

  /**
   * Reads what a config needs, the files as they are.
   *
   * @param partly a frontend or pool that cannot serve is left out; else only one that could not before
   * @throws OperatorError `TLS` when another frontend or pool cannot serve at all
   */
  async prepare(config: Config, partly = false): Promise<PreparedTls> {
    const base = this.#read;
    const { comparison, parsed } = await this.#readFiles(config);
    const { missing, problems, pools } = comparison;
    const news = partly ? [] : missing.filter((line) => !this.#isKnown(line));
    if (news.length > 0) throw new OperatorError('TLS', news.join('; '));
    const frontends = Object.fromEntries(
      Object.entries(comparison.frontends).map(([name, it]) => [
        name,
        it === 'same' ? base.frontends[name]! : withNews(it, base.frontends[name]),
      ]),
    );
    return {
      config,
      read: { frontends, pools },
      pools: await this.#poolsOf(config, pools),
      problems,
      parsed,
    };
  }

  /** Puts in force what was prepared. */
  take({ config, read, pools, problems }: PreparedTls): void {
    const isOther = config !== this.#config;
    this.#config = config;
    this.#read = read;
    this.#pools = pools;
    this.#problems = problems;
    this.#material = tlsMaterial(read, this.#options.ticketSecrets());
    for (const line of problems) this.#options.tell('warn', line);
    if (this.#watches && isOther) this.#follow();
  }

  /** The secrets of the session tickets are others now. */
  ticketsChanged(): void {
    if (this.#config === undefined) return;
    this.#material = tlsMaterial(this.#read, this.#options.ticketSecrets());
    if (Object.keys(this.#material.frontends).length > 0) void this.#enforce();
  }

  /** Follows the files from now on. */
  watch(): void {
    this.#watches = true;
    this.#follow();
  }

  /** Ends the thread that reads. */
  close(): Promise<void> {
    return this.#reader.close();
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
  certificates(frontend: string): readonly CertificateStatus[] {
    const read = this.#read.frontends[frontend];
    if (read === undefined) return [];
    const known = this.#statuses.get(read) ?? read.shown.map(({ status }) => status);
    this.#statuses.set(read, known);
    return known;
  }

  /** @param nowMs wall clock; it is for people only */
  warnings(nowMs = Date.now()): string[] {
    const expiring: string[] = [];
    const look = (certificate: Lifetime) => {
      const line = expiryWarning(certificate, nowMs);
      if (line !== undefined) expiring.push(line);
    };
    for (const { shown } of Object.values(this.#read.frontends)) shown.forEach(look);
    for (const { client } of Object.values(this.#read.pools)) if (client !== undefined) look(client);
    return [...new Set([...this.#problems, ...expiring])];
  }

  /** Frontends and pools that cannot serve, since there is no usable file of theirs, nor ever was in this run. */
  get leftOut(): string[] {
    const { frontends = [], pools = [] } = this.#config ?? {};
    const terminating = frontends.filter(({ tls }) => tls?.mode === 'terminate');
    const speaking = pools.filter(({ tls }) => tls !== undefined);
    return [
      ...terminating
        .filter(({ name }) => this.#read.frontends[name] === undefined)
        .map(({ name }) => `frontend ${name}`),
      ...speaking.filter(({ name }) => !this.#pools.has(name)).map(({ name }) => `pool ${name}`),
    ];
  }

  /** Why a frontend is left out, as `warnings` says it; empty: it is not. */
  unserved(frontend: string): string[] {
    const what = `frontend ${frontend}`;
    return this.leftOut.includes(what) ? this.#problems.filter((line) => line.startsWith(`${what}: `)) : [];
  }

  #isKnown(line: string): boolean {
    return this.#problems.some((known) => known.startsWith(line));
  }

  async #readFiles(config: Config): Promise<Reading> {
    const wanted = wantedOf(config);
    return isEmpty(wanted) ? NO_READING : this.#reader.read(wanted, inForceOf(this.#read));
  }

  /** One turn for each that is new: the authorities of a pool take milliseconds. @throws OperatorError `TLS` */
  async #poolsOf(
    config: Config,
    materials: Readonly<Record<string, PoolMaterial>>,
  ): Promise<Map<string, PoolTls>> {
    const pools = new Map<string, PoolTls>();
    for (const { name, tls } of config.pools) {
      const material = materials[name];
      if (tls === undefined || material === undefined) continue;
      const old = this.#pools.get(name);
      if (old?.version === material.version) {
        pools.set(name, old);
        continue;
      }
      await nextTurn();
      try {
        pools.set(name, new PoolTls(tls, material));
      } catch (error) {
        throw new OperatorError('TLS', `pool ${name}: ${messageOf(error)}`);
      }
    }
    return pools;
  }

  #follow(): void {
    const wanted = wantedOf(this.#config!);
    if (!isEmpty(wanted) || this.#reader.runs) this.#reader.watch(wanted);
  }

  /** One after the other. */
  async #changed(): Promise<void> {
    if (this.#rereading) {
      this.#changedAgain = true;
      return;
    }
    this.#rereading = true;
    do {
      this.#changedAgain = false;
      await this.#reread();
    } while (this.#changedAgain);
    this.#rereading = false;
  }

  async #reread(): Promise<void> {
    const config = this.#config!;
    try {
      const prepared = await this.prepare(config, true);
      // Meanwhile another config may have been taken, with the files as they are now.
      if (this.#config !== config) return;
      const before = versionsOf(this.#read);
      this.take(prepared);
      if (versionsOf(this.#read) === before) return;
      if (await this.#enforce()) this.#options.tell('info', 'certificates were read again and are in force');
    } catch (error) {
      // Whatever it is: what serves goes on.
      this.#options.tell('warn', messageOf(error));
    }
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

function isEmpty({ frontends, pools }: TlsWanted): boolean {
  return frontends.length === 0 && pools.length === 0;
}

/** Without what is known of each certificate: it is in the book. */
function inForceOf({ frontends, pools }: TlsRead): InForce {
  const parts = Object.entries(frontends).map(([name, { certificates, clientCa, version }]) => [
    name,
    { certificates, clientCa, version },
  ]);
  return { frontends: Object.fromEntries(parts), pools };
}

function versionsOf({ frontends, pools }: TlsRead): string {
  return JSON.stringify(
    [...Object.entries(frontends), ...Object.entries(pools)].map(([name, { version }]) => [name, version]),
  );
}
