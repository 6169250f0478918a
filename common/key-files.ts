import {
  chmodSync,
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type ProtectedKind, readProtected, refusal } from './protected-file.ts';
import { deriveKey, type Purpose } from './secret.ts';

/** What each key is for, and the group whose daemon may read it. */
const GROUP_OF: Readonly<Record<Purpose, string>> = {
  heartbeat: 'tandem-ha',
  witness: 'tandem-ha',
  sync: 'tandem-lb',
};
const PURPOSES = Object.keys(GROUP_OF) as readonly Purpose[];

/** What mends whatever is wrong with key files. */
export const CURE = 'as root: lbctl derive-keys';
const KIND: ProtectedKind = {
  what: 'the key',
  code: 'KEY',
  missing: () => CURE,
  denied: CURE,
  maxBytes: 256,
};
const FOLDER: ProtectedKind = { ...KIND, what: 'the folder of keys' };
const ORIGIN_BYTES = 16;
/** Purpose, cluster, key, and from which secret it was derived. */
const LINE =
  /^tandem-key v1 (heartbeat|sync|witness) ([A-Za-z0-9][A-Za-z0-9_.-]{0,63}) ([0-9a-f]{64}) ([0-9a-f]{32})\n$/;

/** A key that was derived from a secret by root, so that its reader needs no access to the secret. */
export interface DerivedKey {
  readonly key: Buffer;
  /** Equal for all keys of a cluster that were derived from one secret; says nothing of it. Hex. */
  readonly origin: string;
}

/** @returns where the keys of a secret are, if they are kept */
export function keyFolder(secretFile: string): string {
  return `${secretFile}.keys`;
}

/** @returns see `DerivedKey.origin` */
export function originOf(secret: Buffer, cluster: string): string {
  return deriveKey(secret, 'origin', cluster).toString('hex', 0, ORIGIN_BYTES);
}

/**
 * Whether keys are kept for a secret.
 *
 * @throws OperatorError (`KEY_*`) where they are, and others than root or this user could exchange them
 */
export function hasKeyFolder(secretFile: string): boolean {
  const folder = keyFolder(secretFile);
  let stat: Stats | undefined;
  try {
    stat = statSync(folder, { throwIfNoEntry: false });
  } catch (error) {
    throw refusal(FOLDER, 'UNREADABLE', folder, `cannot be looked at: ${(error as Error).message}`);
  }
  if (stat === undefined) return false;
  if (!stat.isDirectory()) throw refusal(FOLDER, 'UNREADABLE', folder, 'is not a folder');
  if ((stat.mode & 0o022) !== 0)
    throw refusal(FOLDER, 'EXPOSED', folder, `may be written by others than its owner: chmod 755 ${folder}`);
  if (stat.uid !== 0 && stat.uid !== process.geteuid?.())
    throw refusal(FOLDER, 'OWNER', folder, `belongs to user id ${stat.uid}, expected root`);
  return true;
}

/**
 * @throws OperatorError (`KEY_*`) where the file is missing, not safe, or no key of this cluster for this purpose
 */
export function readKeyFile(folder: string, purpose: Purpose, cluster: string): DerivedKey {
  const file = join(folder, `${purpose}.key`);
  const [, found, owner, key = '', origin = ''] =
    LINE.exec(readProtected(KIND, file).toString('latin1')) ?? [];
  if (found === undefined) throw refusal(KIND, 'FORMAT', file, `is not a key file of this release: ${CURE}`);
  if (found !== purpose)
    throw refusal(KIND, 'FORMAT', file, `has a key for ${found}, expected one for ${purpose}: ${CURE}`);
  if (owner !== cluster)
    throw refusal(KIND, 'FORMAT', file, `is of cluster "${owner}", expected "${cluster}": ${CURE}`);
  return { key: Buffer.from(key, 'hex'), origin };
}

/** @throws OperatorError (`KEY_*`) where a file is refused, or the files have keys of different secrets */
export function readKeyFiles<P extends Purpose>(
  folder: string,
  purposes: readonly P[],
  cluster: string,
): Record<P, DerivedKey> {
  const read = purposes.map((purpose) => [purpose, readKeyFile(folder, purpose, cluster)] as const);
  // They are replaced one after the other.
  if (new Set(read.map(([, { origin }]) => origin)).size > 1)
    throw refusal(FOLDER, 'FORMAT', folder, `has keys of two secrets: ${CURE}`);
  return Object.fromEntries(read) as Record<P, DerivedKey>;
}

/**
 * @returns what is wrong with the keys that are kept for a secret; undefined: nothing
 * @throws OperatorError (`KEY_*`), see `readKeyFiles`
 */
export function strangeKeys(secretFile: string, cluster: string, secret: Buffer): string | undefined {
  const folder = keyFolder(secretFile);
  const { sync } = readKeyFiles(folder, PURPOSES, cluster);
  return sync.origin === originOf(secret, cluster)
    ? undefined
    : `the folder of keys ${folder} has keys that were not derived from ${secretFile}: ${CURE}`;
}

/**
 * Derives the keys of a secret and puts each where only root and the daemon that needs it can read it. A key that is
 * there is replaced in one step.
 *
 * @param gidOf the number of a group
 * @throws Error of the file system
 */
export function writeKeyFiles(
  secretFile: string,
  cluster: string,
  secret: Buffer,
  gidOf: (group: string) => number,
): void {
  const folder = keyFolder(secretFile);
  const gids = PURPOSES.map((purpose) => gidOf(GROUP_OF[purpose]));
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o755);
  const origin = originOf(secret, cluster);
  for (const [i, purpose] of PURPOSES.entries()) {
    const key = deriveKey(secret, purpose, cluster).toString('hex');
    const line = `tandem-key v1 ${purpose} ${cluster} ${key} ${origin}\n`;
    replace(join(folder, `${purpose}.key`), line, gids[i]!);
  }
}

/** The file is never half there, and never open to more than it will be in the end. */
function replace(path: string, text: string, gid: number): void {
  const next = `${path}.new`;
  rmSync(next, { force: true });
  const fd = openSync(next, 'wx', 0o600);
  try {
    writeSync(fd, text);
    fchownSync(fd, 0, gid);
    fchmodSync(fd, 0o640);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(next, path);
}
