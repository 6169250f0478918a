import { hkdfSync } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { OperatorError } from './errors.ts';

/** Below this a secret can be guessed offline from one heartbeat. */
const MIN_BYTES = 32;
const MAX_BYTES = 4096;
const KEY_BYTES = 32;

/**
 * Reads the cluster's shared secret: all bytes of the file, as they are.
 *
 * @param anyOwner who owns it does not matter: root looks at it for a daemon that runs as somebody else
 * @throws OperatorError (`SECRET_*`) when it is missing, not a regular file, shorter than 32 or longer than
 *   4096 bytes, open to others, writable by its group, or owned by somebody else than root or this process
 */
export function readSecret(file: string, anyOwner = false): Buffer {
  let fd: number;
  try {
    // O_NONBLOCK: opening a FIFO must not hang.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT')
      throw refusal(
        'MISSING',
        file,
        // Made anew on one node of a pair, it would be a second secret.
        `does not exist, expected ${MIN_BYTES} to ${MAX_BYTES} random bytes: copy it from the other node; for a new pair make one and give it to both: head -c 32 /dev/urandom > ${file} && chmod 600 ${file}`,
      );
    if (code === 'EACCES')
      throw refusal('DENIED', file, `is not readable for user id ${process.geteuid?.()}`);
    throw refusal('UNREADABLE', file, `cannot be read: ${message}`);
  }
  try {
    // The open file is asked, not its name: what was checked is what is read.
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw refusal('UNREADABLE', file, 'is not a regular file');
    if ((stat.mode & 0o007) !== 0) {
      const mode = (stat.mode & 0o777).toString(8).padStart(4, '0');
      throw refusal(
        'EXPOSED',
        file,
        `is open to every user (mode ${mode}), expected 0600 or 0640: chmod o= ${file}`,
      );
    }
    if ((stat.mode & 0o020) !== 0)
      throw refusal('EXPOSED', file, `may be written by its group, expected 0600 or 0640: chmod g-w ${file}`);
    if (!anyOwner && stat.uid !== 0 && stat.uid !== process.geteuid?.())
      throw refusal(
        'OWNER',
        file,
        `belongs to user id ${stat.uid}, expected root or user id ${process.geteuid?.()}`,
      );
    const buffer = Buffer.alloc(MAX_BYTES + 1);
    const length = readSync(fd, buffer, 0, buffer.length, 0);
    if (length < MIN_BYTES || length > MAX_BYTES) {
      const found = length > MAX_BYTES ? `more than ${MAX_BYTES}` : String(length);
      throw refusal('LENGTH', file, `has ${found} bytes, expected ${MIN_BYTES} to ${MAX_BYTES} random bytes`);
    }
    return buffer.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}

/** A key for each secret that is accepted: the one that replaces, then the one that is replaced. */
export type Keys = readonly [Buffer, ...Buffer[]];

/**
 * The keys of a cluster for one purpose.
 *
 * @throws OperatorError (`SECRET_*`), see `readSecret`
 */
export function clusterKeys(
  { name, secretFile, previousSecretFile }: SecretFiles,
  purpose: Parameters<typeof deriveKey>[1],
): Keys {
  const keys: [Buffer, ...Buffer[]] = [deriveKey(readSecret(secretFile), purpose, name)];
  if (previousSecretFile !== undefined) keys.push(deriveKey(readSecret(previousSecretFile), purpose, name));
  return keys;
}

/**
 * What is wrong with the secrets of a cluster, for who checks a config and is not the daemon that reads them.
 *
 * @returns a line for each that the daemons would refuse; `denied`: those at which this user must not look
 */
export function secretProblems({ secretFile, previousSecretFile }: SecretFiles): {
  readonly problems: readonly {
    readonly key: 'secret_file' | 'previous_secret_file';
    readonly message: string;
  }[];
  readonly denied: readonly string[];
} {
  const problems: { key: 'secret_file' | 'previous_secret_file'; message: string }[] = [];
  const denied: string[] = [];
  for (const [key, file] of [
    ['secret_file', secretFile],
    ['previous_secret_file', previousSecretFile],
  ] as const) {
    if (file === undefined) continue;
    try {
      readSecret(file, process.geteuid?.() === 0);
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error;
      if (error.code === 'SECRET_DENIED') denied.push(error.message);
      else problems.push({ key, message: error.message });
    }
  }
  return { problems, denied };
}

/** Where a cluster has its secrets. */
export interface SecretFiles {
  /** Of the cluster. */
  readonly name: string;
  readonly secretFile: string;
  /** While the secret is replaced: the one from before. */
  readonly previousSecretFile?: string | undefined;
}

/**
 * Derives the key for one purpose with HKDF-SHA256 (RFC 5869), so that a key that leaks says nothing about
 * the other. Equal on both nodes.
 *
 * @param cluster the cluster's name: two clusters that share a secret by mistake still have different keys
 * @returns 32 bytes
 */
export function deriveKey(
  secret: Buffer,
  purpose: 'heartbeat' | 'sync' | 'witness',
  cluster: string,
): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, cluster, `tandem ${purpose} v1`, KEY_BYTES));
}

function refusal(kind: string, file: string, what: string): OperatorError {
  return new OperatorError(`SECRET_${kind}`, `the secret ${file} ${what}`);
}
