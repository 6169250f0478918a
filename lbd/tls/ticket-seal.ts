import { randomBytes } from 'node:crypto';
import type { SecureContext, Server } from 'node:tls';
import { TICKET_KEY_BYTES } from './ticket-keys.ts';

/**
 * The only file that knows how Node asks for the keys of session tickets. What it offers openly takes one key, so that
 * every ticket is lost when it changes; what Node itself is tested with takes any number. Where that is not to be had,
 * one key it is.
 */
interface NativeContext {
  setTicketKeys(keys: Buffer): void;
  enableTicketKeyCallback?(): void;
  onticketkeycallback?: (name: Buffer, iv: Buffer, seals: boolean) => Answer;
}
type Internals<T> = T & { readonly context: NativeContext };
type ServerInternals = Server & { readonly _sharedCreds?: Internals<SecureContext> };

/** What OpenSSL is told: 1: here are the keys; 2: and the client gets a new ticket; 0: nobody knows this ticket. */
type Answer =
  | readonly [result: 0 | 1 | 2, hmac: Buffer, aes: Buffer]
  | readonly [result: 1, hmac: Buffer, aes: Buffer, name: Buffer, iv: Buffer];

const PART_BYTES = TICKET_KEY_BYTES / 3;

interface TicketKey {
  readonly name: Buffer;
  readonly hmac: Buffer;
  readonly aes: Buffer;
}

/** Seals the session tickets of one frontend with the first of its keys, and opens those of all (RFC 5077 section 4). */
export class TicketSeal {
  /** Those that take one key only. */
  readonly #limited = new Set<NativeContext>();
  #keys: readonly TicketKey[] = [];
  #sealing: Buffer = Buffer.alloc(0);

  /** @param keys see `set` */
  constructor(keys: readonly Uint8Array[]) {
    this.set(keys);
  }

  /** The server seals with these keys from now on; all servers of a frontend share them. */
  adopt(server: Server): void {
    const native = nativeOf(server);
    if (native === undefined) return;
    native.onticketkeycallback = (name, _iv, seals) => (seals ? this.#seal() : this.#open(name));
    if (native.enableTicketKeyCallback !== undefined) {
      native.enableTicketKeyCallback();
      return;
    }
    this.#limited.add(native);
    native.setTicketKeys(this.#sealing);
  }

  /** The server gets no new connections any more. */
  forget(server: Server): void {
    const native = nativeOf(server);
    if (native !== undefined) this.#limited.delete(native);
  }

  /** @param keys `TICKET_KEY_BYTES` each; the first one seals. At least one */
  set(keys: readonly Uint8Array[]): void {
    this.#sealing = Buffer.from(keys[0]!);
    this.#keys = keys.map((key) => ({
      name: Buffer.from(key.subarray(0, PART_BYTES)),
      hmac: Buffer.from(key.subarray(PART_BYTES, 2 * PART_BYTES)),
      aes: Buffer.from(key.subarray(2 * PART_BYTES)),
    }));
    for (const native of this.#limited) native.setTicketKeys(this.#sealing);
  }

  #seal(): Answer {
    const { name, hmac, aes } = this.#keys[0]!;
    return [1, hmac, aes, name, randomBytes(PART_BYTES)];
  }

  #open(name: Buffer): Answer {
    const at = this.#keys.findIndex((key) => key.name.equals(name));
    const { hmac, aes } = this.#keys[Math.max(0, at)]!;
    return [at < 0 ? 0 : at === 0 ? 1 : 2, hmac, aes];
  }
}

function nativeOf(server: Server): NativeContext | undefined {
  return (server as ServerInternals)._sharedCreds?.context;
}
