import { hkdfSync } from 'node:crypto';
import { type ProtectedKind, readProtected, refusal } from './protected-file.ts';

/** Below this a secret can be guessed offline from one heartbeat. */
const MIN_BYTES = 32;
const MAX_BYTES = 4096;
const KEY_BYTES = 32;
const SECRET: ProtectedKind = {
  what: 'the secret',
  code: 'SECRET',
  // Made anew on one node of a pair, it would be a second secret.
  missing: (file) =>
    `expected ${MIN_BYTES} to ${MAX_BYTES} random bytes: copy it from the other node; for a new pair make one and give it to both: head -c 32 /dev/urandom > ${file} && chmod 600 ${file}`,
  maxBytes: MAX_BYTES,
};

/**
 * Reads the cluster's shared secret: all bytes of the file, as they are.
 *
 * @param anyOwner who owns it does not matter: root looks at it for a daemon that runs as somebody else
 * @throws OperatorError (`SECRET_*`) when it is missing, not a regular file, shorter than 32 or longer than
 *   4096 bytes, open to others, writable by its group, or owned by somebody else than root or this process
 */
export function readSecret(file: string, anyOwner = false): Buffer {
  const bytes = readProtected(SECRET, file, anyOwner);
  if (bytes.length < MIN_BYTES || bytes.length > MAX_BYTES) {
    const found = bytes.length > MAX_BYTES ? `more than ${MAX_BYTES}` : String(bytes.length);
    const expected = `expected ${MIN_BYTES} to ${MAX_BYTES} random bytes`;
    throw refusal(SECRET, 'LENGTH', file, `has ${found} bytes, ${expected}`);
  }
  return bytes;
}

/** What a key is for. */
export type Purpose = 'heartbeat' | 'sync' | 'witness';

/** A key for each secret that is accepted: the one that replaces, then the one that is replaced. */
export type Keys = readonly [Buffer, ...Buffer[]];

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
 * @param purpose `origin`: no key, but what tells secrets from each other
 * @param cluster the cluster's name: two clusters that share a secret by mistake still have different keys
 * @returns 32 bytes
 */
export function deriveKey(secret: Buffer, purpose: Purpose | 'origin', cluster: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, cluster, `tandem ${purpose} v1`, KEY_BYTES));
}
