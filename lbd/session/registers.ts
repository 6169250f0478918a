import { TokenBucket } from '../../common/token-bucket.ts';

/** A few hundred backends with a state, a weight and a health each fit many times over. */
export const MAX_REGISTERS = 16384;
export const MAX_REGISTER_KEY = 256;
/** Of the value as JSON, in UTF-8. */
export const MAX_REGISTER_BYTES = 4096;
/** Beyond it a Lamport clock would not count exactly as a double. */
const MAX_REGISTER_VERSION = 2 ** 48;
/** Registers of the peer about what this config does not have: it may have reloaded first. */
export const MAX_FOREIGN_REGISTERS = 4096;
/**
 * How far the peer may move the clock: a version for each change. At its end a clock orders nothing any more; half of what
 * there is remains, whatever a peer does that has been taken over.
 */
const VERSION_JUMPS = { first: 2 ** 47, perSecond: 1000, burst: 2 ** 20 } as const;

/** Keys that the former release takes for a breach; they go only to a peer whose hello says that it takes them. */
export const ENGINE_PREFIX = 'engine/';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export interface Register {
  readonly key: string;
  readonly value: Json;
  /** Lamport clock. 1 to 2^48. */
  readonly version: number;
  /** Name of the node that set it. */
  readonly origin: string;
}

/** What a key is about: something of this config; of a config as it might be; nothing that any node would set. */
export type KeyStanding = 'ours' | 'foreign' | 'unknown';

export type RegisterListener = (key: string, value: Json, origin: string) => void;

/**
 * Small facts that both nodes share: admin states, learnt health. Last writer wins: higher version, then
 * higher origin, then higher text, so that both nodes end alike whatever the order. Nothing is ever deleted;
 * set `null` for "no longer".
 */
export class Registers {
  readonly #self: string;
  readonly #standing: (key: string) => KeyStanding;
  readonly #jumps = new TokenBucket(VERSION_JUMPS);
  /** Keys that came from the peer, and that this config did not have then. */
  readonly #foreign = new Set<string>();
  #leftOut = 0;
  readonly #map = new Map<string, Register>();
  readonly #listeners = new Set<RegisterListener>();
  #clock = 0;

  /** @param self name of this node @param standing of a key, as the config is now */
  constructor(self: string, standing: (key: string) => KeyStanding = () => 'ours') {
    this.#self = self;
    this.#standing = standing;
  }

  /** Registers of the peer for which there was no room, since the start. */
  get leftOut(): number {
    return this.#leftOut;
  }

  get(key: string): Json | undefined {
    return this.#map.get(key)?.value;
  }

  register(key: string): Register | undefined {
    return this.#map.get(key);
  }

  keys(): IterableIterator<string> {
    return this.#map.keys();
  }

  entries(): Register[] {
    return [...this.#map.values()];
  }

  /**
   * Sets a value here and, through session sync, on the peer.
   *
   * @throws RangeError where the key is longer than 256 characters, the value larger than 4 KiB as JSON, or
   *   16384 keys of this config are there already
   */
  set(key: string, value: Json): void {
    if (this.#map.size >= MAX_REGISTERS && !this.#map.has(key)) this.#makeRoom();
    const problem = this.#problem(key, value);
    if (problem)
      throw new RangeError(`register ${JSON.stringify(key.slice(0, MAX_REGISTER_KEY))}: ${problem}`);
    this.#apply({ key, value, version: this.#clock + 1, origin: this.#self });
  }

  /**
   * Whether a peer may say this at all. What it moves the clock by is counted.
   *
   * @returns the rule that it breaks; undefined: none
   */
  breachOf({ key, version }: Register, nowMs: number): string | undefined {
    if (this.#standing(key) === 'unknown') return `a register of an unknown kind: ${JSON.stringify(key)}`;
    const jump = version - this.#clock;
    if (version <= MAX_REGISTER_VERSION && this.#jumps.take(nowMs, jump)) return undefined;
    return `a register whose version is ${jump} ahead`;
  }

  /** Takes in a register of the peer. @returns whether it was newer and legal, and had room */
  merge(register: Register): boolean {
    const { key, value, version } = register;
    if (!this.#hasRoomFor(key)) {
      this.#leftOut++;
      return false;
    }
    if (!Number.isInteger(version) || version < 1 || version > MAX_REGISTER_VERSION) return false;
    if (this.#problem(key, value)) return false;
    const own = this.#map.get(key);
    if (own && !beats(register, own)) return false;
    this.#apply(register);
    return true;
  }

  /** Calls back at every change, this node's own included. @returns a function that stops it */
  onChange(listener: RegisterListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #hasRoomFor(key: string): boolean {
    if (this.#map.has(key) || this.#standing(key) === 'ours') return true;
    // A look at all of them costs a millisecond, so it does not follow each one that is left out.
    if (this.#foreign.size >= MAX_FOREIGN_REGISTERS && this.#leftOut % MAX_FOREIGN_REGISTERS === 0)
      for (const it of this.#foreign) if (this.#standing(it) === 'ours') this.#foreign.delete(it);
    if (this.#foreign.size >= MAX_FOREIGN_REGISTERS) return false;
    this.#foreign.add(key);
    return true;
  }

  /** What this config does not have, or not any more, goes first. */
  #makeRoom(): void {
    for (const key of this.#map.keys()) {
      if (this.#standing(key) === 'ours') continue;
      this.#map.delete(key);
      this.#foreign.delete(key);
      return;
    }
  }

  #apply(register: Register): void {
    this.#clock = Math.max(this.#clock, register.version);
    this.#map.set(register.key, register);
    for (const listener of this.#listeners) listener(register.key, register.value, register.origin);
  }

  #problem(key: string, value: Json): string | undefined {
    if (key.length === 0 || key.length > MAX_REGISTER_KEY)
      return `the key must have 1 to ${MAX_REGISTER_KEY} characters: it has ${key.length}`;
    const bytes = Buffer.byteLength(JSON.stringify(value) ?? '');
    if (bytes === 0 || bytes > MAX_REGISTER_BYTES)
      return `the value must be JSON of 1 to ${MAX_REGISTER_BYTES} bytes: it has ${bytes}`;
    if (!this.#map.has(key) && this.#map.size >= MAX_REGISTERS) return `there are ${MAX_REGISTERS} already`;
    return undefined;
  }
}

function beats(a: Register, b: Register): boolean {
  if (a.version !== b.version) return a.version > b.version;
  if (a.origin !== b.origin) return a.origin > b.origin;
  return JSON.stringify(a.value) > JSON.stringify(b.value);
}
