import { createHash } from 'node:crypto';
import type { Keys } from '../../common/secret.ts';

/** What a connection to the sync port is for. */
export type SyncPurpose = 'sessions' | 'heartbeats';
const PURPOSES: readonly SyncPurpose[] = ['sessions', 'heartbeats'];

/** The two ends of a sync link, named as on the dialling side. */
export interface TlsEnds {
  readonly cluster: string;
  readonly dialer: string;
  readonly listener: string;
}

/** One attempt to connect. */
export interface Call {
  /** The PSK identity (RFC 4279 section 2); at most 128 bytes, and no secret. */
  readonly identity: string;
  readonly key: Buffer;
  /** The peer has accepted it: the next one begins with the same. */
  worked(): void;
}

/**
 * The keys with which a link is made, and what they are called there: while a secret is replaced, the nodes have two. A
 * dialling node tries them one after the other, in the end without a name for the key, as the last release does.
 */
export class KeyRing {
  readonly #names: ReadonlyMap<string, SyncPurpose>;
  readonly #ends: TlsEnds;
  #keys: Keys;
  /** Which way worked last, or is to be tried next, for each purpose. */
  readonly #at = new Map<SyncPurpose, number>();

  constructor(ends: TlsEnds, keys: Keys) {
    this.#ends = ends;
    this.#keys = keys;
    this.#names = new Map(PURPOSES.map((purpose) => [nameOf(ends, purpose), purpose]));
  }

  replace(keys: Keys): void {
    this.#keys = keys;
    this.#at.clear();
  }

  /** Another way than the one before, unless that one worked. */
  nextCall(purpose: SyncPurpose): Call {
    const name = nameOf(this.#ends, purpose);
    const oldest = this.#keys.at(-1)!;
    const ways = [
      ...this.#keys.map((key) => ({ key, identity: `${name}.${keyName(key)}` })),
      { key: oldest, identity: name },
    ];
    const at = this.#at.get(purpose) ?? 0;
    this.#at.set(purpose, at + 1);
    return { ...ways[at % ways.length]!, worked: () => this.#at.set(purpose, at) };
  }

  /**
   * What a dialling node means. The key that it names, where it is one of ours; where it is not, one with which it will not
   * get through, so that both ends learn that their secrets differ. Without a name it is of the last release, which a
   * secret that is replaced has not reached.
   */
  called(identity: string): { readonly purpose: SyncPurpose; readonly key: Buffer } | undefined {
    const [name = '', keyId] = identity.split('.');
    const purpose = this.#names.get(name);
    if (purpose === undefined) return undefined;
    const named = this.#keys.find((key) => keyName(key) === keyId) ?? this.#keys[0];
    return { purpose, key: keyId === undefined ? this.#keys.at(-1)! : named };
  }
}

/**
 * Names in a fixed length, because an identity has at most 128 bytes. That of sessions is the one of former releases,
 * which know no other purpose.
 */
function nameOf(ends: TlsEnds, purpose: SyncPurpose): string {
  const names = [ends.cluster, ends.dialer, ends.listener];
  return createHash('sha256')
    .update(JSON.stringify(purpose === 'sessions' ? names : [...names, purpose]))
    .digest('hex');
}

/** Tells nothing about the key. */
function keyName(key: Buffer): string {
  return createHash('sha256').update('psk name\0').update(key).digest('hex').slice(0, 8);
}
