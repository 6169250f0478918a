import { type Heartbeat, NO_NONCE } from './heartbeat.ts';

/** Rounds by which a slow path may lag behind the fastest one. More would let hoarded datagrams count late. */
const WINDOW_ROUNDS = 16;
/** Processes of the peer that are remembered. A peer that restarts more often than that has other troubles. */
const MAX_SESSIONS = 1024;

/**
 * - `fresh`: sent by a live process of the peer that has heard this very process;
 * - `hello`: authentic, but it proves nothing about now, because it does not echo this process's nonce;
 * - `late`: fresh or hello, but a newer one came already by another path: it only shows that the path works;
 * - `replay`: seen before, too old, or from a process of the peer that is known to be gone.
 */
export type Freshness = 'fresh' | 'hello' | 'late' | 'replay';

/** Leading hexadecimal digits of a boot nonce that stay the same for the life of a process; the rest counts renewals. */
const PROCESS_DIGITS = 12;

/**
 * The boot nonce of the same process after a pause. It tells which of two is the newer one, so that a datagram that
 * was overtaken does not bring the older one back.
 *
 * @param nonce 16 hexadecimal digits
 */
export function renewedNonce(nonce: string): string {
  const renewal = (Number.parseInt(nonce.slice(PROCESS_DIGITS), 16) + 1) & 0xffff;
  return nonce.slice(0, PROCESS_DIGITS) + renewal.toString(16).padStart(4, '0');
}

/** What tells heartbeats of one sender apart, and what they say about the receiver. */
export type Stamp = Pick<Heartbeat, 'nonce' | 'counter' | 'path' | 'echo' | 'helloEcho'>;

interface Session {
  readonly lastOnPath: Map<number, number>;
  max: number;
  retired: boolean;
}

/**
 * Defence against replay without a clock and without a disk. Every process draws a random boot nonce and
 * echoes the peer's. A heartbeat is `fresh` only if it echoes the nonce of this process, so nothing that was
 * recorded before this process started can ever be. Within the life of this process the counter must grow on
 * each path, and once a newer process of the peer has proved itself, the older one's nonce is retired.
 *
 * There are two echoes: one for the peer's process that proved itself, one for the latest hello. A flood of
 * replayed hellos can therefore delay that a restarted peer is recognised, but never silence a peer that is.
 *
 * What remains: an attacker who can hold datagrams back (not just record them) can deliver each of them late
 * once, as any network may.
 */
export class PeerSession {
  #ownNonce: string;
  readonly #sessions = new Map<string, Session>();
  #current = NO_NONCE;
  #hello = NO_NONCE;
  /** Where the counter also grows with datagrams about other things, a round is so many steps of it. At least 1. */
  stepsPerRound = 1;

  /** @param ownNonce boot nonce of this process */
  constructor(ownNonce: string) {
    this.#ownNonce = ownNonce;
  }

  /** Nonce of the peer's process that proved to be alive. */
  get echo(): string {
    return this.#current;
  }

  /** Nonce of the latest hello. */
  get helloEcho(): string {
    return this.#hello;
  }

  /** After a pause: only what answers to the new nonce is fresh, not what waited in the socket meanwhile. */
  renewOwnNonce(nonce: string): void {
    this.#ownNonce = nonce;
  }

  /** Judges an authentic heartbeat, and remembers it. */
  accept(heartbeat: Stamp): Freshness {
    const { nonce, counter, path } = heartbeat;
    const session = this.#sessions.get(nonce) ?? this.#add(nonce);
    if (session.retired || this.#isSuperseded(nonce)) return 'replay';
    if (counter <= (session.lastOnPath.get(path) ?? 0)) return 'replay';
    if (counter <= session.max - WINDOW_ROUNDS * this.stepsPerRound) return 'replay';
    session.lastOnPath.set(path, counter);
    const late = counter <= session.max;
    session.max = Math.max(session.max, counter);
    if (heartbeat.echo !== this.#ownNonce && heartbeat.helloEcho !== this.#ownNonce) {
      this.#hello = nonce;
      return late ? 'late' : 'hello';
    }
    if (this.#current !== nonce) this.#confirm(nonce);
    return late ? 'late' : 'fresh';
  }

  /** An older nonce of the process that is known to be alive. The count may wrap (RFC 1982). */
  #isSuperseded(nonce: string): boolean {
    const current = this.#current;
    if (nonce === current || !current.startsWith(nonce.slice(0, PROCESS_DIGITS))) return false;
    const renewal = (of: string) => Number.parseInt(of.slice(PROCESS_DIGITS), 16);
    return ((renewal(nonce) - renewal(current)) & 0xffff) >= 0x8000;
  }

  #confirm(nonce: string): void {
    const before = this.#sessions.get(this.#current);
    if (before !== undefined) before.retired = true;
    this.#current = nonce;
    if (this.#hello === nonce) this.#hello = NO_NONCE;
  }

  #add(nonce: string): Session {
    if (this.#sessions.size >= MAX_SESSIONS) this.#forgetOldest();
    const session: Session = { lastOnPath: new Map(), max: 0, retired: false };
    this.#sessions.set(nonce, session);
    return session;
  }

  #forgetOldest(): void {
    for (const nonce of this.#sessions.keys()) {
      if (nonce === this.#current) continue;
      this.#sessions.delete(nonce);
      return;
    }
  }
}
