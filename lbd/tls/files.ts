import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { dirname, join, parse, resolve } from 'node:path';
import { messageOf } from '../../common/errors.ts';
import type { CertificateFiles, TerminationConfig } from '../../common/tls-config.ts';
import { type Certificate, parseAuthorities, parseCertificate } from './certificate.ts';
import { CertificateCache } from './certificate-cache.ts';
import type { TlsWanted } from './material.ts';

/** A bundle of every authority of the world has 200 KiB. */
const MAX_BYTES = 1024 * 1024;
const MAX_IN_DIRECTORY = 10_000;

/** What a frontend needs to speak TLS, as far as it comes from files. */
export interface FrontendFiles {
  readonly certificates: readonly Certificate[];
  /** PEM of the authorities that sign clients. */
  readonly clientCa: string | undefined;
}

/** What a pool needs to speak TLS, as far as it comes from files. */
export interface PoolFiles {
  /** PEM of the authorities that sign backends. */
  readonly ca: string | undefined;
  readonly client: Certificate | undefined;
}

/** One frontend or pool, read. */
export interface Loaded<T> {
  /** undefined: it cannot serve with what is there. */
  readonly files: T | undefined;
  /** What could not be used, a line each. */
  readonly problems: readonly string[];
  /** Files of certificates that should be there and could not be used, by their lines in `problems`. */
  readonly broken: ReadonlyMap<string, string>;
}

/** Everything that TLS of a config needs. */
export interface TlsFiles {
  readonly frontends: ReadonlyMap<string, Loaded<FrontendFiles>>;
  readonly pools: ReadonlyMap<string, Loaded<PoolFiles>>;
}

/**
 * Reads everything that TLS of a config needs. Never throws.
 *
 * @param cache of an earlier call
 * @param looking told each file or directory before it is looked at
 */
export function readTlsFiles(
  config: TlsWanted,
  cache = new CertificateCache(),
  looking: (path: string) => void = () => {},
): TlsFiles {
  const from: Origin = { base: dirname(config.file), cache, looking };
  const frontends = new Map<string, Loaded<FrontendFiles>>();
  for (const { name, tls } of config.frontends)
    if (tls?.mode === 'terminate') frontends.set(name, readFrontend(`frontend ${name}`, tls, from));
  const pools = new Map<string, Loaded<PoolFiles>>();
  for (const { name, tls } of config.pools) {
    if (tls === undefined) continue;
    const problems: string[] = [];
    const attempt = attemptFor(`pool ${name}`, problems);
    const ca = tls.ca === undefined ? undefined : attempt(() => readAuthorities(from, tls.ca!));
    const client = tls.client === undefined ? undefined : attempt(() => readPair(from, tls.client!));
    pools.set(name, { files: problems.length > 0 ? undefined : { ca, client }, problems, broken: new Map() });
  }
  cache.sweep();
  return { frontends, pools };
}

/** Where files are looked for, and what is known of them. */
interface Origin {
  readonly base: string;
  readonly cache: CertificateCache;
  looking(path: string): void;
}

/** Files and directories whose change may change what `readTlsFiles` returns. */
export function tlsPaths(config: TlsWanted): string[] {
  const base = dirname(config.file);
  const paths = new Set<string>();
  const add = (path: string | undefined) => path !== undefined && paths.add(resolve(base, path));
  for (const { tls } of config.frontends) {
    if (tls?.mode !== 'terminate') continue;
    add(tls.client?.ca);
    if (typeof tls.certificates === 'string') {
      add(tls.certificates);
      const directory = resolve(base, tls.certificates);
      for (const name of entriesOf(directory)) add(join(directory, name));
    } else
      for (const { cert, key } of tls.certificates) {
        add(cert);
        add(key);
      }
  }
  for (const { tls } of config.pools) {
    add(tls?.ca);
    add(tls?.client?.cert);
    add(tls?.client?.key);
  }
  return [...paths];
}

function readFrontend(what: string, tls: TerminationConfig, from: Origin): Loaded<FrontendFiles> {
  const { base } = from;
  const problems: string[] = [];
  const attempt = attemptFor(what, problems);
  const pairs =
    typeof tls.certificates === 'string'
      ? (attempt(() => pairsIn(from, tls.certificates as string)) ?? [])
      : tls.certificates;
  const certificates: Certificate[] = [];
  const broken = new Map<string, string>();
  for (const pair of pairs) {
    const certificate = attempt(() => readPair(from, pair));
    if (certificate === undefined) broken.set(problems.at(-1)!, resolve(base, pair.cert));
    else certificates.push(certificate);
  }
  if (certificates.length === 0 && problems.length === 0)
    problems.push(`${what}: found no certificate in ${resolve(base, String(tls.certificates))}`);
  const before = problems.length;
  const clientCa = tls.client && attempt(() => readAuthorities(from, tls.client!.ca));
  // Without its authorities a frontend would let in nobody, or everybody.
  const usable = certificates.length > 0 && problems.length === before;
  return { files: usable ? { certificates, clientCa } : undefined, problems, broken };
}

function attemptFor(what: string, problems: string[]): <T>(read: () => T) => T | undefined {
  return (read) => {
    try {
      return read();
    } catch (error) {
      problems.push(`${what}: ${messageOf(error)}`);
      return undefined;
    }
  };
}

/** `NAME.crt` or `NAME.pem` with `NAME.key`, or with the key in the same file; anything else is not ours. */
function pairsIn({ base, looking }: Origin, path: string): CertificateFiles[] {
  const directory = resolve(base, path);
  looking(directory);
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory())
    throw new Error(`${directory}: no such directory`);
  const names = readdirSync(directory).toSorted();
  const known = new Set(names);
  const certificates = names.filter((name) => /^[^.].*\.(crt|pem)$/.test(name));
  if (certificates.length > MAX_IN_DIRECTORY)
    throw new Error(
      `${directory}: found ${certificates.length} certificates, expected ${MAX_IN_DIRECTORY} at most`,
    );
  return certificates.map((name) => {
    const key = `${parse(name).name}.key`;
    return { cert: join(directory, name), key: join(directory, known.has(key) ? key : name) };
  });
}

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory).filter((name) => /^[^.].*\.(crt|pem|key)$/.test(name));
  } catch {
    // It is watched all the same, and reading it says what is wrong.
    return [];
  }
}

function readPair({ base, cache, looking }: Origin, { cert, key }: CertificateFiles): Certificate {
  const [certFile, keyFile] = [resolve(base, cert), resolve(base, key)];
  looking(certFile);
  return cache.get(certFile, keyFile, () => {
    const certPem = readText(certFile);
    if (keyFile === certFile) return parseCertificate(certPem, certPem, certFile, keyFile);
    looking(keyFile);
    return parseCertificate(certPem, readText(keyFile), certFile, keyFile);
  });
}

function readAuthorities({ base, looking }: Origin, path: string): string {
  const file = resolve(base, path);
  looking(file);
  return parseAuthorities(readText(file), file);
}

/** @throws Error in words for an operator */
function readText(file: string): string {
  let fd: number;
  try {
    // O_NONBLOCK: opening a FIFO must not hang.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw new Error(`${file}: ${openFailure(file, error as NodeJS.ErrnoException)}`);
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error(`${file}: expected a regular file`);
    const buffer = Buffer.alloc(Math.min(stat.size, MAX_BYTES) + 1);
    let length = 0;
    for (let n = 1; n > 0 && length < buffer.length; length += n)
      n = readSync(fd, buffer, length, buffer.length - length, null);
    if (length > MAX_BYTES) throw new Error(`${file}: larger than ${MAX_BYTES} bytes`);
    return buffer.latin1Slice(0, length);
  } finally {
    closeSync(fd);
  }
}

function openFailure(file: string, { code, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return 'no such file';
  if (code !== 'EACCES') return message;
  const who = `not readable for user id ${process.geteuid?.()}`;
  try {
    const { mode, uid, gid } = statSync(file);
    return `${who} (mode ${(mode & 0o777).toString(8).padStart(4, '0')}, owner ${uid}, group ${gid}); lbd does not run as root: chown root:tandem-lb ${file} && chmod 0640 ${file}`;
  } catch {
    return `${who}, nor is its directory`;
  }
}
