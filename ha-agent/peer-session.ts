import type { Role } from '../common/control.ts';
import type { Echo, Heartbeat } from './heartbeat.ts';

/** Rounds by which a slow path may lag behind the fastest one. */
const WINDOW_ROUNDS = 16;
/** Processes of the peer that are remembered. One that is forgotten proves nothing by what it said before. */
const MAX_PROCESSES = 64;
/** Processes that have not proved anything and are echoed in one heartbeat. */
const MAX_PENDING = 3;
/** Two processes that take turns so often are both alive; a turn and back may come from a datagram that was overtaken. */
const TWIN_TURNS = 4;
/** The next turn follows within so many lifetimes. */
const TWIN_LIFETIMES = 2;

/**
 * - `fresh`: sent by a live process of the peer within the last `lifetimeMs`;
 * - `hello`: authentic, but it proves nothing about now: it may have been recorded;
 * - `late`: fresh or hello, but a newer one came already by another path: it only shows that the path works;
 * - `replay`: seen before, too old, or from a process of the peer that is known to be gone;
 * - `twin`: fresh, of a second process that lives beside the one that counts.
 */
export type Freshness = 'fresh' | 'hello' | 'late' | 'replay' | 'twin';

/** Leading hexadecimal digits of a boot nonce of the last release stay the same for the life of a process; the rest counts renewals. */
const PROCESS_DIGITS = 12;

/** What tells heartbeats of one sender apart, and what they say about the receiver. */
export type Stamp = Pick<
  Heartbeat,
  'version' | 'nonce' | 'counter' | 'path' | 'sentMs' | 'ahead' | 'echoes' | 'role'
>;

export interface SessionOptions {
  /** Boot nonce of this process. */
  readonly nonce: string;
  /**
   * For the format of the last release, in which nonces stand for times.
   *
   * @returns when the nonce was drawn, if it is this process's latest one; `NaN` for an earlier one of this process
   */
  drawnMs(nonce: string): number | undefined;
}

interface Process {
  readonly lastOnPath: Map<number, number>;
  max: number;
  /** It is known to have been alive then, on this node's clock. */
  provenMs: number;
  /** Add the process's clock: a time of this node that is no later than the one when it was sent. */
  sinceMs: number;
  /** Its clock in the newest of its heartbeats: what is echoed. */
  sentMs: number;
  heardMs: number;
  /** So many heartbeats have echoed it without an answer. */
  echoed: number;
  version: 2 | 3;
  role: Role;
  /** When it last became the current process; undefined: never. */
  confirmedMs: number | undefined;
}

/**
 * Defence against replay without a wall clock and without a disk. Every heartbeat has the time of its sender's monotonic
 * clock, and echoes the latest time of the receiver that the sender has heard, like the timestamps of TCP (RFC 7323
 * section 3). So the receiver knows from an echo of its own process that the sender was alive at that time at least, and
 * dates what comes after it by the sender's clock. What is older than `lifetimeMs` is evidence of nothing, each datagram
 * counts once, and of two processes of the peer the one that was alive later is the current one: a process that is gone
 * can never show that.
 *
 * A process that has proved nothing is echoed until it answers. There may be several, such as recorded ones; the one
 * that was echoed least comes first, so that those never keep a living one waiting.
 *
 * What remains: who holds datagrams back that this node has not received can have each of them count once, late by
 * `lifetimeMs` at most.
 */
export class PeerSession {
  readonly #options: SessionOptions;
  readonly #processes = new Map<string, Process>();
  #current: string | undefined;
  #floorMs = Number.NEGATIVE_INFINITY;
  #twins: { readonly turns: number; readonly lastMs: number } | undefined;
  /** Where the counter also grows with datagrams about other things, a round is so many steps of it. At least 1. */
  stepsPerRound = 1;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** Nonce of the peer's process that proved to be alive; undefined before the first one. */
  get current(): string | undefined {
    return this.#current;
  }

  /** The format in which that process speaks. */
  get version(): 2 | 3 | undefined {
    return this.#processOf(this.#current)?.version;
  }

  /** Whether a process was heard before. */
  knows(nonce: string): boolean {
    return this.#processes.has(nonce);
  }

  /** Whether the process that proved to be alive has proved it lately. What only shows that it speaks does not count. */
  isProven(now: number, lifetimeMs: number): boolean {
    const provenMs = this.#processOf(this.#current)?.provenMs;
    return provenMs !== undefined && now - provenMs < lifetimeMs;
  }

  /** After a pause: what waited in the socket meanwhile proves nothing. */
  forgetBefore(now: number): void {
    this.#floorMs = now;
  }

  /** Whether a heartbeat with this mark came before, or one that is far ahead of it. */
  isOld(nonce: string, counter: number, path: number): boolean {
    const process = this.#processes.get(nonce);
    if (process === undefined) return false;
    return (
      counter <= (process.lastOnPath.get(path) ?? 0) ||
      counter <= process.max - WINDOW_ROUNDS * this.stepsPerRound
    );
  }

  /**
   * Judges an authentic heartbeat, and remembers it.
   *
   * @param now of this process's monotonic clock, the one whose times it sends
   * @param lifetimeMs a proof of life is one for so long
   */
  accept(stamp: Stamp, now: number, lifetimeMs: number): Freshness {
    const { nonce, counter, path } = stamp;
    if (this.#isSuperseded(nonce)) return 'replay';
    const process = this.#processes.get(nonce) ?? this.#add(nonce, stamp.version);
    if (this.isOld(nonce, counter, path)) return 'replay';
    const provenMs = Math.min(now, this.#proof(process, stamp, now, lifetimeMs));
    // A time that was still to come when it was written does not show that it was sent after a pause of this process.
    const sinceMs = stamp.ahead ? this.#echoMs(stamp, now) : provenMs;
    const current = this.#processOf(this.#current);
    const isCurrent = this.#current === nonce;
    const isOfNow = sinceMs >= this.#floorMs && now - provenMs <= lifetimeMs;
    const isEarlier = !isCurrent && current !== undefined && !isLater(stamp, provenMs, current);
    if (isOfNow && isEarlier && process.confirmedMs !== undefined) return 'replay';
    // One that has just started may have heard no more than what somebody has played back to it: it is asked to answer.
    const proves = isOfNow && !isEarlier;
    process.lastOnPath.set(path, counter);
    const late = counter <= process.max;
    process.max = Math.max(process.max, counter);
    if (!stamp.ahead) process.sentMs = Math.max(process.sentMs, stamp.sentMs);
    process.heardMs = now;
    process.role = stamp.role;
    if (!proves) return late ? 'late' : 'hello';
    process.provenMs = Math.max(process.provenMs, provenMs);
    if (!isCurrent) {
      if (this.#standsAside(nonce, process, now, lifetimeMs)) return 'twin';
      this.#confirm(nonce, process, now, lifetimeMs);
    }
    return late ? 'late' : 'fresh';
  }

  /** What to echo to whom: the current process, then those that have yet to answer. */
  echoes(now: number, lifetimeMs: number): Echo[] {
    const current = this.#processOf(this.#current);
    const own = current === undefined ? [] : [{ nonce: this.#current!, sentMs: current.sentMs }];
    // As it mostly is: nobody else was ever heard.
    if (this.#processes.size === own.length) return own;
    const pending = [...this.#processes]
      .filter(([nonce, { heardMs }]) => nonce !== this.#current && now - heardMs < lifetimeMs)
      .sort(([, a], [, b]) => a.echoed - b.echoed || b.heardMs - a.heardMs)
      .slice(0, MAX_PENDING);
    for (const [, process] of pending) process.echoed++;
    return [...own, ...pending.map(([nonce, { sentMs }]) => ({ nonce, sentMs }))];
  }

  /** Formats in which somebody may be waiting to be answered. */
  versionsHeard(now: number, lifetimeMs: number): ReadonlySet<2 | 3> {
    const heard = new Set<2 | 3>();
    for (const [nonce, { version, heardMs }] of this.#processes)
      if (nonce === this.#current || now - heardMs < lifetimeMs) heard.add(version);
    return heard;
  }

  /** Whether two processes of the peer were alive side by side lately. */
  hasTwins(now: number, lifetimeMs: number): boolean {
    const { turns, lastMs } = this.#twins ?? { turns: 0, lastMs: 0 };
    return turns >= TWIN_TURNS && now - lastMs < TWIN_LIFETIMES * lifetimeMs;
  }

  /** When this process sent the latest heartbeat that the sender had heard; undefined where it does not say so. */
  heardOfUs(stamp: Stamp, now: number): number | undefined {
    const echoMs = stamp.version === 2 ? Number.NEGATIVE_INFINITY : this.#echoMs(stamp, now);
    return Number.isFinite(echoMs) ? echoMs : undefined;
  }

  /**
   * Whether a process of the last release that was never the current one has heard the latest nonce of this process. A late
   * word of the former one looks later than that: only the answer to another nonce shows which of the two is.
   */
  isUndecided({ version, nonce, echoes }: Stamp): boolean {
    if (version !== 2 || this.version !== 2 || isSameProcess(nonce, this.#current!)) return false;
    if (this.#processOf(nonce)?.confirmedMs !== undefined) return false;
    return echoes.some((echo) => Number.isFinite(this.#options.drawnMs(echo.nonce)));
  }

  /** A time at which the sender was alive, as late as it can be shown; -Infinity: nothing shows it. */
  #proof(process: Process, stamp: Stamp, now: number, lifetimeMs: number): number {
    if (stamp.version === 2) return this.#proofByNonce(stamp, now, lifetimeMs);
    const echoMs = this.#echoMs(stamp, now);
    if (stamp.ahead) return Math.max(echoMs, process.sinceMs + stamp.sentMs);
    process.sinceMs = Math.max(process.sinceMs, echoMs - stamp.sentMs);
    // Nothing comes before it was sent, however two clocks have drifted apart.
    process.sinceMs = Math.min(process.sinceMs, now - stamp.sentMs);
    return Math.max(echoMs, process.sinceMs + stamp.sentMs);
  }

  /**
   * What the sender has heard of this process: a time of this node's clock. A time that is still to come is nobody's to
   * echo.
   */
  #echoMs({ echoes }: Stamp, now: number): number {
    const echo = echoes.find(({ nonce }) => nonce === this.#options.nonce);
    return echo === undefined || echo.sentMs > now ? Number.NEGATIVE_INFINITY : echo.sentMs;
  }

  /**
   * In the format of the last release. A nonce stands for the time at which it was drawn; the process that is known to be
   * alive stays so while each proof follows the one before without a gap, whichever nonce of this process it echoes.
   */
  #proofByNonce(stamp: Stamp, now: number, lifetimeMs: number): number {
    const times = stamp.echoes.flatMap(({ nonce }) => this.#options.drawnMs(nonce) ?? []);
    if (times.length === 0) return Number.NEGATIVE_INFINITY;
    const provenMs = this.#processOf(this.#current)?.provenMs ?? Number.NEGATIVE_INFINITY;
    const isKnown = this.#current !== undefined && isSameProcess(this.#current, stamp.nonce);
    if (isKnown && now - provenMs <= lifetimeMs && provenMs >= this.#floorMs) return now;
    return Math.max(...times.map((ms) => (Number.isNaN(ms) ? Number.NEGATIVE_INFINITY : ms)));
  }

  /** An older nonce, in the format of the last release, of the process that is known to be alive. The count may wrap (RFC 1982). */
  #isSuperseded(nonce: string): boolean {
    const current = this.#current;
    if (current === undefined || nonce === current || !isSameProcess(nonce, current)) return false;
    return ((renewalOf(nonce) - renewalOf(current)) & 0xffff) >= 0x8000;
  }

  /** A second live process: the one that is active counts, else the one with the greater nonce. */
  #standsAside(nonce: string, process: Process, now: number, lifetimeMs: number): boolean {
    const current = this.#processOf(this.#current);
    if (current === undefined || isSameProcess(nonce, this.#current!)) return false;
    if (now - current.heardMs > lifetimeMs || !this.hasTwins(now, lifetimeMs)) return false;
    this.#twins = { turns: TWIN_TURNS, lastMs: now };
    const ahead = Number(process.role === 'active') - Number(current.role === 'active');
    return ahead < 0 || (ahead === 0 && nonce < this.#current!);
  }

  #confirm(nonce: string, process: Process, now: number, lifetimeMs: number): void {
    // It was the current one before, and has shown that it lives after the one that took its place.
    if (process.confirmedMs !== undefined) {
      const { turns, lastMs } = this.#twins ?? { turns: 0, lastMs: now };
      this.#twins = { turns: now - lastMs < TWIN_LIFETIMES * lifetimeMs ? turns + 1 : 1, lastMs: now };
    }
    process.confirmedMs = now;
    process.echoed = 0;
    this.#current = nonce;
  }

  #processOf(nonce: string | undefined): Process | undefined {
    return nonce === undefined ? undefined : this.#processes.get(nonce);
  }

  #add(nonce: string, version: 2 | 3): Process {
    if (this.#processes.size >= MAX_PROCESSES) this.#forgetOne();
    const process: Process = {
      lastOnPath: new Map(),
      max: 0,
      provenMs: Number.NEGATIVE_INFINITY,
      sinceMs: Number.NEGATIVE_INFINITY,
      sentMs: 0,
      heardMs: Number.NEGATIVE_INFINITY,
      echoed: 0,
      version,
      role: 'init',
      confirmedMs: undefined,
    };
    this.#processes.set(nonce, process);
    return process;
  }

  /** The one that has been echoed most, or heard least lately. */
  #forgetOne(): void {
    let worst: string | undefined;
    for (const [nonce, process] of this.#processes) {
      if (nonce === this.#current) continue;
      const before = this.#processOf(worst);
      if (
        before === undefined ||
        process.echoed > before.echoed ||
        (process.echoed === before.echoed && process.heardMs < before.heardMs)
      )
        worst = nonce;
    }
    if (worst !== undefined) this.#processes.delete(worst);
  }
}

/** Whether a process was alive after another one. A nonce of the last release stands for a time that both may have heard. */
function isLater({ version }: Stamp, provenMs: number, current: Process): boolean {
  return version === 2 ? provenMs > current.provenMs : provenMs >= current.provenMs;
}

/** Whether two boot nonces are of one process, of this release or of the last one. */
export function isSameProcess(a: string, b: string): boolean {
  return a.slice(0, PROCESS_DIGITS) === b.slice(0, PROCESS_DIGITS);
}

/**
 * The boot nonce of the same process after a pause, in the format of the last release. It tells which of two is the newer
 * one, so that a datagram that was overtaken does not bring the older one back.
 *
 * @param nonce 16 hexadecimal digits
 */
export function renewedNonce(nonce: string): string {
  const renewal = (renewalOf(nonce) + 1) & 0xffff;
  return nonce.slice(0, PROCESS_DIGITS) + renewal.toString(16).padStart(4, '0');
}

function renewalOf(nonce: string): number {
  return Number.parseInt(nonce.slice(PROCESS_DIGITS), 16);
}
