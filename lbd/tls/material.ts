import { createHash } from 'node:crypto';
import type { Config } from '../../common/model.ts';
import type { Certificate } from './certificate.ts';
import type { FrontendFiles, Loaded, PoolFiles, TlsFiles } from './files.ts';
import { ticketKeys } from './ticket-keys.ts';

/**
 * What the workers need to speak TLS beside the config: plain data, posted to them with the plan. Holds private keys:
 * never logged, never in the status.
 */
export interface TlsMaterial {
  readonly frontends: Readonly<Record<string, FrontendMaterial>>;
  readonly pools: Readonly<Record<string, PoolMaterial>>;
}

export interface FrontendMaterial {
  readonly certificates: readonly Certificate[];
  readonly clientCa: string | undefined;
  /** See `ticketKeys`; the first one seals. They change more often than the rest, and are no part of `version`. */
  readonly ticketKeys: readonly Uint8Array[];
  /** Sessions of another policy are not resumed; at most 32 bytes (RFC 5246 has no such field, OpenSSL does). */
  readonly sessionContext: string;
  /** Differs when anything else here does. */
  readonly version: string;
}

export interface PoolMaterial {
  readonly ca: string | undefined;
  readonly client: Certificate | undefined;
  /** Differs when anything here does. */
  readonly version: string;
}

/** The latest files of a frontend or pool that could be used, and what is wrong with newer ones. */
interface Kept<T> {
  readonly files: T;
  readonly problems: readonly string[];
}

/**
 * Keeps the TLS files that are in force. Of newer ones each certificate counts for itself: one that cannot be used
 * leaves the old one of the same file in its place, and the status says so.
 */
export class TlsStore {
  #frontends = new Map<string, Kept<FrontendFiles>>();
  #pools = new Map<string, Kept<PoolFiles>>();

  /**
   * @param read as the files are now
   * @returns why a frontend or pool cannot serve at all, a line each; then nothing has changed
   */
  take(read: TlsFiles): string[] {
    const frontends = keep(this.#frontends, read.frontends, (old, now, broken) => ({
      clientCa: now.clientCa,
      certificates: [...now.certificates, ...old.certificates.filter(({ file }) => broken.includes(file))],
    }));
    const pools = keep(this.#pools, read.pools, (_, now) => now);
    const missing = [...frontends.missing, ...pools.missing];
    if (missing.length > 0) return missing;
    this.#frontends = frontends.kept;
    this.#pools = pools.kept;
    return [];
  }

  /** What the workers get. @param secrets of the session tickets, see `ticketKeys`; the one to seal with comes first */
  material(config: Config, secrets: readonly Uint8Array[]): TlsMaterial {
    const frontends: Record<string, FrontendMaterial> = {};
    for (const { name, tls } of config.frontends) {
      const files = this.#frontends.get(name)?.files;
      if (tls?.mode !== 'terminate' || files === undefined) continue;
      const policy = tls.client === undefined ? 'none' : `${tls.client.mode} ${digest(files.clientCa)}`;
      frontends[name] = {
        ...files,
        ticketKeys: secrets.map((secret) => ticketKeys(secret, name, policy)),
        sessionContext: digest([name, policy]).slice(0, 32),
        version: digest([tls, files]),
      };
    }
    const pools: Record<string, PoolMaterial> = {};
    for (const { name, tls } of config.pools) {
      const files = this.#pools.get(name)?.files;
      if (tls !== undefined && files !== undefined) pools[name] = { ...files, version: digest([tls, files]) };
    }
    return { frontends, pools };
  }

  /** What could not be used of the newest files, a line each. */
  problems(): string[] {
    return [...this.#frontends.values(), ...this.#pools.values()].flatMap(({ problems }) => problems);
  }

  /** Every certificate in force, by frontend. */
  certificates(frontend: string): readonly Certificate[] {
    return this.#frontends.get(frontend)?.files.certificates ?? [];
  }

  /** Every certificate in force, also those that backends are shown. */
  all(): Certificate[] {
    const clients = [...this.#pools.values()].flatMap(({ files }) => files.client ?? []);
    return [...[...this.#frontends.values()].flatMap(({ files }) => files.certificates), ...clients];
  }
}

function keep<T>(
  before: ReadonlyMap<string, Kept<T>>,
  read: ReadonlyMap<string, Loaded<T>>,
  merge: (old: T, now: T, broken: readonly string[]) => T,
): { kept: Map<string, Kept<T>>; missing: string[] } {
  const kept = new Map<string, Kept<T>>();
  const missing: string[] = [];
  for (const [name, { files, problems, broken }] of read) {
    const old = before.get(name)?.files;
    const oldStays = problems.map((line) => (old === undefined ? line : `${line}; the old one stays`));
    if (files === undefined && old === undefined) missing.push(...problems);
    else if (files === undefined) kept.set(name, { files: old!, problems: oldStays });
    else if (problems.length === 0 || old === undefined) kept.set(name, { files, problems });
    else kept.set(name, { files: merge(old, files, broken), problems: oldStays });
  }
  return { kept, missing };
}

function digest(value: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(value) ?? '')
    .digest('hex');
}
