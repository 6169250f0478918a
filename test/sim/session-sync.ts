import { FRAME } from '../../lbd/session/sync-frame.ts';
import { DriftingClock } from './drifting-clock.ts';
import type { Outcome } from './series.ts';
import { SessionLedger } from './session-ledger.ts';
import { lies } from './session-liar.ts';
import { crowdedKeys } from './session-node.ts';
import { SessionPair } from './session-pair.ts';
import { randomFrom } from './simulation.ts';

/** Shares by which a clock may be wrong: a good one, and that of an emulated machine. */
const [GOOD_DRIFT, BAD_DRIFT] = [0.0005, 0.02];
const TRIPS_MS = [1, 1, 15, 80];
const TTLS_MS = [1_500, 3_000, 3_600_000];
const SHORT_TTL_MS = 3_000;
/** What a monotonic clock shows at first; shortly before a count of ticks of 10 ms wraps in 31 and in 32 bits, too. */
const OFFSETS_MS = [0, 1e6, 2 ** 31 * 10 - 4_000, 2 ** 32 * 10 - 4_000];
const BACKENDS = 5;
const REGISTERS = 8;
const EVENTS = 40;
const EVENT_MS = 200;
/** Bounds on what a fault lasts: a short one, and one that both notice. */
const CUTS_MS = [500, 5_000];
const PAUSE_MS = 3_000;
const SHORT_GRACE_MS = 1_000;
/** Silence, another connection, and a comparison of all. */
const SETTLED_MS = 30_000;
/** A comparison that finds a difference again and again comes after a minute at last. */
const LAST_COMPARISON_MS = 66_000;
const PEACE_MS = 10_000;

const CROWD = crowdedKeys(300);
const ROOMY = Array.from({ length: 200 }, (_, i) => i * 37);

/**
 * Two nodes share their sessions while clocks drift, entries expire, tables are full, the link breaks anywhere, and nodes
 * restart, stand still and change their roles. What was acknowledged is known to both, the last write counts, what has
 * expired stays away, and both have the same in the end.
 */
export function sessionSync(seed: number): Outcome {
  return new Story(seed).play();
}

class Story {
  readonly lines: string[] = [];
  readonly problems: string[] = [];
  readonly #random: () => number;
  /** No bucket overflows. */
  readonly #isRoomy: boolean;
  /** Somebody else has the cluster's secret. */
  readonly #hasLiar: boolean;
  readonly #ttlMs: number;
  readonly #drift: number;
  readonly #pair: SessionPair;
  readonly #ledger: SessionLedger;
  /** Who serves. */
  #active: 0 | 1 = 0;
  /** Both serve, since they do not hear each other. */
  #isSplit = false;
  /** When faults end, and how. */
  readonly #ends = new Map<number, () => void>();

  constructor(seed: number) {
    const random = randomFrom(seed);
    this.#random = random;
    this.#isRoomy = random() < 0.6;
    this.#hasLiar = random() < 0.2;
    this.#ttlMs = this.#pick(TTLS_MS);
    this.#drift = random() < 0.7 ? GOOD_DRIFT : BAD_DRIFT;
    const clock = () =>
      new DriftingClock((random() * 2 - 1) * this.#drift, this.#pick(OFFSETS_MS) + random() * 1_000);
    const plan = {
      capacities: random() < 0.8 ? ([1024, 1024] as const) : ([2048, 1024] as const),
      ttlMs: this.#ttlMs,
      tripMs: this.#pick(TRIPS_MS),
    };
    this.#pair = new SessionPair({
      ...plan,
      random,
      clocks: [clock(), clock()],
      log: (line) => this.#log(line),
    });
    this.#ledger = new SessionLedger(this.#pair, this.#ttlMs, this.#drift);
    this.#log(JSON.stringify({ ...plan, drift: this.#drift, isRoomy: this.#isRoomy }));
  }

  play(): Outcome {
    for (let event = 0; event < EVENTS && this.problems.length === 0; event++) {
      this.#run(this.#random() * 2 * EVENT_MS);
      this.#happen();
      this.#ledger.look();
      if (event % 5 === 0) this.#judge();
    }
    this.#makeWell();
    this.#settle();
    this.#outlive();
    const [a, b] = this.#pair.nodes;
    if (a.registerLines().join() !== b.registerLines().join())
      this.#problem('the registers differ in the end');
    for (const breach of this.#pair.breaches) this.#problem(breach);
    return this;
  }

  #happen(): void {
    const what = this.#random();
    if (what < 0.24) this.#ledger.disturb();
    const index = this.#random() < 0.5 ? 0 : 1;
    const { name } = this.#pair.nodes[index];
    if (what < 0.05) {
      this.#log(`${name} restarts`);
      this.#pair.restart(index);
    } else if (what < 0.12) {
      this.#log('the link is reset');
      this.#pair.reset();
    } else if (what < 0.2) this.#cut();
    else if (what < 0.24) this.#pause(index);
    else if (what < 0.32) {
      this.#active = this.#active === 0 ? 1 : 0;
      this.#log(`${this.#pair.nodes[this.#active].name} takes over`);
    } else if (what < 0.34) {
      if (this.#hasLiar && !this.#pair.paused[0] && !this.#pair.paused[1]) this.#lie(index);
    } else if (what < 0.4) {
      this.#pair.nodes[index].registers.set(`admin/web/s${this.#below(REGISTERS)}`, this.#random());
      this.#pair.wake(index);
    } else this.#use();
  }

  #lie(index: 0 | 1): void {
    const { name, table } = this.#pair.nodes[index];
    const hello = {
      ...{ cluster: 'sim', node: name === 'a' ? 'b' : 'a', boot: 'ffffffffffffffff', known: null },
      ...{ capacity: 1024, keyFingerprint: table.keyFingerprint, clock: table.clock },
    };
    this.#pair.listenTo(index, lies(this.#random, hello));
  }

  #cut(): void {
    const pair = this.#pair;
    if (pair.cut) return;
    const lastsMs = this.#random() * this.#pick(CUTS_MS);
    pair.cut = true;
    this.#isSplit = this.#random() < 0.4;
    this.#log(`the network is cut for ${lastsMs.toFixed(0)} ms${this.#isSplit ? ', and both serve' : ''}`);
    this.#ends.set(pair.nowMs + lastsMs, () => {
      this.#log('the network is whole again');
      pair.cut = this.#isSplit = false;
    });
  }

  #pause(index: 0 | 1): void {
    const pair = this.#pair;
    if (pair.paused[index]) return;
    const { name } = pair.nodes[index];
    const lastsMs = this.#random() * PAUSE_MS;
    const clockStops = this.#random() < 0.3;
    this.#log(`${name} stands still for ${lastsMs.toFixed(0)} ms${clockStops ? ', and its clock' : ''}`);
    pair.pause(index, clockStops);
    this.#ends.set(pair.nowMs + lastsMs, () => {
      this.#log(`${name} goes on`);
      pair.resume(index);
    });
  }

  /** Clients come. */
  #use(): void {
    const other = this.#active === 0 ? 1 : 0;
    const index = this.#isSplit && this.#random() < 0.5 ? other : this.#active;
    if (this.#pair.paused[index]) return;
    const keys = this.#isRoomy ? ROOMY : CROWD;
    // Now and then more than a worker's ring holds.
    const most = this.#random() < 0.05 ? 100 : 15;
    for (let left = this.#below(most); left >= 0; left--) {
      const kind = this.#random();
      const key = this.#pick(keys);
      if (kind < 0.1) this.#ledger.remove(index, key);
      else if (kind < 0.4) this.#ledger.lookup(index, key);
      else this.#ledger.store(index, key, 1 + this.#below(BACKENDS));
    }
    this.#pair.wake(index);
  }

  #makeWell(): void {
    this.#log('-- all is made well');
    for (const index of [0, 1] as const) if (this.#pair.paused[index]) this.#pair.resume(index);
    this.#pair.cut = false;
    this.#ends.clear();
  }

  /** Both have the same, soon, and there is peace. */
  #settle(): void {
    const pair = this.#pair;
    const sinceMs = pair.nowMs;
    const isDone = () => pair.isSettled && (!this.#isRoomy || pair.isEqual);
    do this.#run(100);
    while (!isDone() && pair.nowMs < sinceMs + SETTLED_MS);
    this.#log(`in step after ${(pair.nowMs - sinceMs).toFixed(0)} ms`);
    if (!isDone()) this.#problem('not in step in the end');
    this.#judge();
    for (const it of this.#ledger.reversals()) this.#problem(it);
    const evictions = () => pair.nodes[0].table.evictions + pair.nodes[1].table.evictions;
    if (this.#isRoomy) {
      for (const it of this.#ledger.differences(false)) this.#problem(it);
      if (evictions() > 0) this.#problem('an eviction, and there was room');
    } else if (this.#ttlMs > SHORT_TTL_MS) {
      this.#run(LAST_COMPARISON_MS);
      const before = [evictions(), pair.frames(FRAME.entries)] as const;
      this.#run(PEACE_MS);
      const [more, sent] = [evictions() - before[0], pair.frames(FRAME.entries) - before[1]];
      // With a bad clock, lives on both sides go on to differ.
      if (this.#drift !== GOOD_DRIFT) return;
      if (more > 0 || sent > 4) this.#problem(`no peace: ${more} evictions, ${sent} frames of entries`);
      for (const it of this.#ledger.differences(true)) this.#problem(it);
    }
  }

  /** Nobody comes any more. Where bytes were long on their way, it would take long. */
  #outlive(): void {
    if (this.#ttlMs > SHORT_TTL_MS || this.#pair.graceMs > SHORT_GRACE_MS) return;
    this.#run(this.#ttlMs * (1 + this.#drift) + this.#pair.graceMs);
    this.#judge();
    // A liar tells of lives that last.
    if (this.#hasLiar) return;
    for (const { table, name } of this.#pair.nodes) {
      table.sweep(table.memory.buckets);
      if (table.size > 0) this.#problem(`${name} counts ${table.size} entries after all have expired`);
    }
  }

  #judge(): void {
    this.#ledger.look();
    if (this.#isRoomy)
      for (const index of [0, 1] as const) for (const it of this.#ledger.problems(index)) this.#problem(it);
    for (const it of this.#ledger.outlived(this.#pair.graceMs)) this.#problem(it);
  }

  #run(ms: number): void {
    const endMs = this.#pair.nowMs + ms;
    for (;;) {
      const dueMs = Math.min(...this.#ends.keys(), endMs);
      this.#pair.runUntil(dueMs);
      this.#ends.get(dueMs)?.();
      this.#ends.delete(dueMs);
      if (dueMs >= endMs) return;
    }
  }

  #below(count: number): number {
    return Math.floor(this.#random() * count);
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)]!;
  }

  #log(line: string): void {
    this.lines.push(`${this.#pair.nowMs.toFixed(0).padStart(7)} ${line}`);
  }

  #problem(text: string): void {
    this.problems.push(text);
    this.#log(`!! ${text}`);
  }
}
