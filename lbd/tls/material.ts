import { hash } from 'node:crypto';
import type { CertificateStatus } from '../../common/control.ts';
import type { Config } from '../../common/model.ts';
import type { FrontendTlsConfig, PoolTlsConfig } from '../../common/tls-config.ts';
import type { Certificate, Lifetime } from './certificate.ts';
import { CertificateBook, writeBook } from './certificate-book.ts';
import type { FrontendFiles, Loaded, TlsFiles } from './files.ts';
import { ticketKeys } from './ticket-keys.ts';

/**
 * What the workers need to speak TLS beside the config: plain data and shared memory, posted to them with the plan. Holds
 * private keys: never logged, never in the status.
 */
export interface TlsMaterial {
  readonly frontends: Readonly<Record<string, FrontendMaterial>>;
  readonly pools: Readonly<Record<string, PoolMaterial>>;
}

export interface FrontendMaterial {
  /** See `CertificateBook`. */
  readonly certificates: SharedArrayBuffer;
  readonly clientCa: string | undefined;
  /** See `ticketKeys`; the first one seals. They change more often than the rest, and are no part of `version`. */
  readonly ticketKeys: readonly Uint8Array[];
  /** Sessions of another policy are not resumed; at most 32 bytes (RFC 5246 has no such field, OpenSSL does). */
  readonly sessionContext: string;
  /** Differs when anything does that all connections have in common, whatever their certificate. */
  readonly policy: string;
  /** Differs when anything else here does. */
  readonly version: string;
}

export interface PoolMaterial {
  readonly ca: string | undefined;
  readonly client: Certificate | undefined;
  /** Differs when anything here does. */
  readonly version: string;
}

/** What may be told about a certificate. */
export interface CertificateFacts extends Lifetime {
  readonly status: CertificateStatus;
}

interface FrontendParts extends Omit<FrontendMaterial, 'ticketKeys'> {
  /** What clients must show to enter. */
  readonly clients: string;
}

/** What a frontend has of its files. */
export interface FrontendRead extends FrontendParts {
  /** In the order of the list. */
  readonly shown: readonly CertificateFacts[];
}

/** The same beside what is in force: of ten thousand certificates, few are new. */
export interface FrontendNews extends FrontendParts {
  /** For each in the order of the list, its place in the list in force; -1: the next one of `news`. */
  readonly places: Int32Array;
  readonly news: readonly CertificateFacts[];
}

/** All that was read of the files of a config. */
export interface TlsRead {
  readonly frontends: Readonly<Record<string, FrontendRead>>;
  readonly pools: Readonly<Record<string, PoolMaterial>>;
}

export const NOTHING_READ: TlsRead = { frontends: {}, pools: {} };

/** What is in force, as far as it may take the place of files that cannot be used. */
export interface InForce {
  readonly frontends: Readonly<
    Record<string, Pick<FrontendRead, 'certificates' | 'clientCa' | 'version'> | undefined>
  >;
  readonly pools: Readonly<Record<string, PoolMaterial | undefined>>;
}

/** The files of a config beside what is in force. */
export interface Comparison {
  /** Why a frontend or pool cannot serve at all, a line each; then the rest is of no use. */
  readonly missing: readonly string[];
  /** What cannot be used, a line each. */
  readonly found: readonly string[];
  /** As `found`, in words for the status: whether the old one stays. */
  readonly problems: readonly string[];
  /** `same`: as it is in force. */
  readonly frontends: Readonly<Record<string, FrontendNews | 'same'>>;
  readonly pools: Readonly<Record<string, PoolMaterial>>;
}

/** Frontends and pools of a config that speak TLS, and no more of it: it is posted to another thread. */
export interface TlsWanted {
  /** Of the config: names of files are relative to it. */
  readonly file: string;
  readonly frontends: readonly { readonly name: string; readonly tls: FrontendTlsConfig | undefined }[];
  readonly pools: readonly { readonly name: string; readonly tls: PoolTlsConfig | undefined }[];
}

export function wantedOf({ file, frontends, pools }: Config): TlsWanted {
  const part = <T>({ name, tls }: { name: string; tls: T }) => ({ name, tls });
  const speaks = ({ tls }: { tls?: unknown }) => tls !== undefined;
  return {
    file,
    frontends: frontends.filter(speaks).map(({ name, tls }) => part({ name, tls })),
    pools: pools.filter(speaks).map(({ name, tls }) => part({ name, tls })),
  };
}

/**
 * What becomes of files that were read. Each certificate counts for itself: one that cannot be used leaves the old one of
 * the same file in its place.
 */
export function compareFiles(wanted: TlsWanted, read: TlsFiles, inForce: InForce): Comparison {
  const missing: string[] = [];
  const found: string[] = [];
  const problems: string[] = [];
  /** @returns whether it can serve */
  const judge = (loaded: Loaded<unknown>, hasOld: boolean, before: readonly Certificate[] = []) => {
    found.push(...loaded.problems);
    const without = loaded.files === undefined && !hasOld ? '; nothing is served there' : '';
    const files = new Set(before.map((old) => old.file));
    for (const line of loaded.problems) {
      const file = loaded.broken.get(line);
      const stays = file === undefined ? hasOld : files.has(file);
      problems.push(`${line}${stays ? '; the old one stays' : without}`);
    }
    if (loaded.files === undefined && !hasOld) missing.push(...loaded.problems);
    return loaded.files !== undefined || hasOld;
  };
  const frontends: Record<string, FrontendNews | 'same'> = {};
  for (const { name, tls } of wanted.frontends) {
    const loaded = read.frontends.get(name);
    const old = inForce.frontends[name];
    if (tls?.mode !== 'terminate' || loaded === undefined) continue;
    const before =
      old === undefined || loaded.problems.length === 0 ? [] : new CertificateBook(old.certificates).all();
    if (!judge(loaded, old !== undefined, before)) continue;
    const files = merge(loaded, old, before);
    const version = versionOf(tls, files);
    frontends[name] = version === old?.version ? 'same' : frontendNews(name, tls, files, version, old);
  }
  const pools: Record<string, PoolMaterial> = {};
  for (const { name, tls } of wanted.pools) {
    const loaded = read.pools.get(name);
    const old = inForce.pools[name];
    if (loaded === undefined || !judge(loaded, old !== undefined)) continue;
    const files = loaded.files ?? { ca: old!.ca, client: old!.client };
    pools[name] = { ...files, version: digest([tls, files]) };
  }
  return { missing, found, problems, frontends, pools };
}

/** What a frontend has now. @param old that the news were compared with */
export function withNews(
  { places, news, ...parts }: FrontendNews,
  old: FrontendRead | undefined,
): FrontendRead {
  let next = 0;
  return { ...parts, shown: Array.from(places, (place) => (place < 0 ? news[next++]! : old!.shown[place]!)) };
}

/** What the workers get. @param secrets of the session tickets, see `ticketKeys`; the one to seal with comes first */
export function tlsMaterial(read: TlsRead, secrets: readonly Uint8Array[]): TlsMaterial {
  const frontends = Object.entries(read.frontends).map(([name, { shown, clients, ...rest }]) => [
    name,
    { ...rest, ticketKeys: secrets.map((secret) => ticketKeys(secret, name, clients)) },
  ]);
  return { frontends: Object.fromEntries(frontends), pools: read.pools };
}

function merge(
  { files, problems, broken }: Loaded<FrontendFiles>,
  old: InForce['frontends'][string],
  before: readonly Certificate[],
): FrontendFiles {
  if (files !== undefined && (old === undefined || problems.length === 0)) return files;
  if (files === undefined) return { certificates: before, clientCa: old!.clientCa };
  return { clientCa: files.clientCa, certificates: inPlace(files.certificates, before, broken) };
}

/** Old certificates in the place of broken files: their order says which one is for everybody else. */
function inPlace(
  sound: readonly Certificate[],
  before: readonly Certificate[],
  broken: Loaded<unknown>['broken'],
): Certificate[] {
  const all = [...sound];
  const files = new Set(broken.values());
  for (const [i, old] of before.entries()) {
    if (!files.has(old.file)) continue;
    const earlier = new Set(before.slice(0, i).map(({ file }) => file));
    all.splice(all.findLastIndex(({ file }) => earlier.has(file)) + 1, 0, old);
  }
  return all;
}

type Termination = Extract<FrontendTlsConfig, { mode: 'terminate' }>;

function versionOf(tls: Termination, { certificates, clientCa }: FrontendFiles): string {
  return digest([tls, clientCa, certificates.map(({ id, file }) => [id, file])]);
}

function frontendNews(
  name: string,
  tls: Termination,
  { certificates, clientCa }: FrontendFiles,
  version: string,
  old: InForce['frontends'][string],
): FrontendNews {
  const clients = tls.client === undefined ? 'none' : `${tls.client.mode} ${digest(clientCa)}`;
  const { certificates: _, defaultName: __, ...common } = tls;
  const before = old === undefined ? [] : new CertificateBook(old.certificates).ids();
  const placeOf = new Map(before.map((id, place) => [id, place]));
  return {
    certificates: writeBook(certificates, tls.defaultName),
    clientCa,
    sessionContext: digest([name, clients]).slice(0, 32),
    policy: digest([common, clientCa]),
    version,
    clients,
    places: Int32Array.from(certificates, ({ id }) => placeOf.get(id) ?? -1),
    news: certificates.filter(({ id }) => !placeOf.has(id)).map(factsOf),
  };
}

function factsOf({
  file,
  names,
  keyType,
  fingerprint,
  notBeforeMs,
  notAfterMs,
}: Certificate): CertificateFacts {
  const not_after = new Date(notAfterMs).toISOString();
  const status = { file, names, key_type: keyType, sha256: fingerprint, not_after };
  return { file, names, notBeforeMs, notAfterMs, status };
}

function digest(value: unknown): string {
  return hash('sha256', JSON.stringify(value) ?? '');
}
