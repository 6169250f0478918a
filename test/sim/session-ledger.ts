import type { SyncMark } from '../../lbd/session/sync-protocol.ts';
import type { EntryState } from './session-node.ts';
import type { SessionPair } from './session-pair.ts';

/** A state of an entry, ordered as the tables order it: by version, then by backend. */
interface Claim {
  readonly version: number;
  readonly backend: number;
  /** It lives so long at least, in true time. */
  readonly untilMs: number;
}

interface Told extends Claim {
  /**
   * Losses of updates before it was written. What is lost of a life that began anew no comparison of tables finds: the
   * peer knows the former one until the next touch that is news.
   */
  readonly gaps: number;
  readonly isTouch: boolean;
}

/** What a node has told its peer, once that has acknowledged the mark. */
interface Batch {
  readonly mark: SyncMark;
  readonly claims: ReadonlyMap<number, Told>;
}

/** The peer hears of a touch once an eighth of a life is over. */
const TOLD_SHARE = 7 / 8;
/** What would have to take the place of another entry must live so much longer. */
const SLACK_MS = 1000;
/** Expiry counts ticks of 10 ms, and rounds. */
const TICKS_MS = 40;
/** In a moment without a fault a node knows what the other one wrote so long ago. */
const ALONE_MS = 500;

/**
 * What clients were given, and so what each node must know: what it was told itself, and what its peer has told and
 * seen acknowledged. A node may know better, if somebody wrote something that beats it; it may not know less, or
 * anything else.
 */
export class SessionLedger {
  readonly #pair: SessionPair;
  readonly #ttlMs: number;
  /** Most by which both clocks differ over a time, as a share. */
  readonly #drift: number;
  /** All states that were ever written. */
  readonly #written = new Map<number, Claim[]>();
  readonly #known: readonly [Map<number, Claim>, Map<number, Claim>] = [new Map(), new Map()];
  /** Of each node: what was not asked for yet, and what was not acknowledged. */
  readonly #untold: readonly [Map<number, Told>, Map<number, Told>] = [new Map(), new Map()];
  readonly #batches: readonly [Batch[], Batch[]] = [[], []];
  readonly #gaps: [number, number] = [0, 0];
  /** Losses before a node wrote a key itself. */
  readonly #gapsBefore: readonly [Map<number, number>, Map<number, number>] = [new Map(), new Map()];
  /** Key → when a client used it last. */
  readonly #usedMs = new Map<number, number>();
  /** Key → what a client was given last, since the latest disturbance. */
  readonly #last = new Map<number, Claim & { readonly by: 0 | 1; readonly atMs: number }>();
  /** Claims that the peer acknowledged, so far. */
  acknowledged = 0;

  constructor(pair: SessionPair, ttlMs: number, drift: number) {
    this.#pair = pair;
    this.#ttlMs = ttlMs;
    this.#drift = drift;
    pair.onRestart = (index) => {
      for (const map of [this.#known, this.#untold, this.#gapsBefore]) map[index].clear();
      this.#batches[index].length = 0;
      this.disturb();
      this.#gaps[index] = 0;
    };
  }

  get keys(): IterableIterator<number> {
    return this.#written.keys();
  }

  store(index: 0 | 1, key: number, backend: number): void {
    const node = this.#pair.nodes[index];
    if (!node.store(key, backend)) return;
    const state = node.state(key)!;
    // Also where a node that lost its clock writes what was written once before: no table can tell them apart.
    const isTouch = this.#written.get(key)?.some((it) => rank(it, state) === 0) === true;
    this.#note(index, key, state, isTouch);
    this.#usedMs.set(key, this.#pair.nowMs);
  }

  remove(index: 0 | 1, key: number): void {
    const node = this.#pair.nodes[index];
    const isGone = node.remove(key);
    const state = node.state(key);
    if (isGone && state !== undefined) this.#note(index, key, state, false);
  }

  lookup(index: 0 | 1, key: number): void {
    const node = this.#pair.nodes[index];
    if (node.lookup(key) === 0) return;
    this.#note(index, key, node.state(key)!, true);
    this.#usedMs.set(key, this.#pair.nowMs);
  }

  /** Takes in what was acknowledged, and asks for what was not. Call now and then. */
  look(): void {
    for (const index of [0, 1] as const) {
      if (this.#pair.paused[index]) continue;
      const { protocol } = this.#pair.nodes[index];
      const mark = protocol.mark(this.#pair.monotonicMs(index));
      const [untold, batches] = [this.#untold[index], this.#batches[index]];
      while (this.#pair.reaches(index) && batches[0] !== undefined && protocol.reached(batches[0].mark))
        this.#acknowledge(index === 0 ? 1 : 0, batches.shift()!, mark.gaps);
      if (untold.size > 0) batches.push({ mark, claims: new Map(untold) });
      untold.clear();
      this.#gaps[index] = mark.gaps;
    }
  }

  /** What a node lacks or has wrongly. */
  *problems(index: 0 | 1): Generator<string> {
    const { nowMs, nodes } = this.#pair;
    for (const [key, claim] of this.#known[index]) {
      const state = nodes[index].state(key);
      const name = `${nodes[index].name}: key ${key}`;
      const isBound = nowMs < claim.untilMs && !this.#wasBeaten(key, claim);
      if (state !== undefined && isBound && rank(state, claim) < 0)
        yield `${name} is ${text(state)}, after it was ${text(claim)}`;
      if (state !== undefined && !this.#written.get(key)!.some((it) => rank(it, state) === 0))
        yield `${name} is ${text(state)}, which nobody wrote`;
      if (state === undefined && isBound)
        yield `${name} is lost: ${text(claim)}, ${Math.round(claim.untilMs - nowMs)} ms before its end`;
    }
  }

  /** Entries that have outlived their last use. @param graceMs how much longer they may live */
  *outlived(graceMs: number): Generator<string> {
    const { nowMs, nodes } = this.#pair;
    for (const node of nodes)
      for (const key of this.#written.keys()) {
        const usedMs = this.#usedMs.get(key) ?? 0;
        const overMs = nowMs - usedMs - this.#ttlMs * (1 + this.#drift);
        const state = overMs > graceMs ? node.state(key) : undefined;
        if (state !== undefined && state.backend !== 0)
          yield `${node.name}: key ${key} lives ${Math.round(overMs)} ms longer than it may, ${state.lifeMs} ms more`;
      }
  }

  /**
   * What both nodes have otherwise, in a moment of peace. One may have forgotten already what is about to expire, and
   * where buckets overflow, what would have to take the place of others that live at least as long.
   */
  *differences(overflows: boolean): Generator<string> {
    const [a, b] = this.#pair.nodes;
    const { lostMs, longestTripMs } = this.#pair;
    const unsureMs = SLACK_MS + lostMs + 3 * longestTripMs + this.#ttlMs * this.#drift * 2 + TICKS_MS;
    for (const key of this.#written.keys()) {
      const [one, other] = [a.state(key), b.state(key)];
      const lone = one ?? other;
      if (lone === undefined) continue;
      if (one !== undefined && other !== undefined) {
        if (rank(one, other) !== 0) yield `key ${key} is ${text(one)} on a and ${text(other)} on b`;
        continue;
      }
      const leastMs = (one === undefined ? a : b).leastLifeMs(key);
      const isNeeded = overflows
        ? lone.backend !== 0 && lone.lifeMs > leastMs
        : lone.lifeMs > this.#ttlMs / 8;
      const overMs = overflows ? lone.lifeMs - leastMs : lone.lifeMs - this.#ttlMs / 8;
      if (isNeeded && overMs > unsureMs)
        yield `key ${key} is ${text(lone)} on ${one ? 'a' : 'b'} alone, for ${lone.lifeMs} ms, ${overMs} ms more than another`;
    }
  }

  #acknowledge(by: 0 | 1, { claims }: Batch, gapsNow: number): void {
    for (const [key, claim] of claims) {
      if (claim.isTouch && claim.gaps !== gapsNow) continue;
      this.acknowledged++;
      raise(this.#known[by], key, claim);
    }
  }

  #note(index: 0 | 1, key: number, state: EntryState, isTouch: boolean): void {
    const own = { ...state, untilMs: this.#pair.nowMs + state.lifeMs * (1 - this.#drift) - TICKS_MS };
    if (!isTouch) {
      this.#noteLast(index, key, own);
      this.#written.set(key, [...(this.#written.get(key) ?? []), own]);
      this.#gapsBefore[index].set(key, this.#gaps[index]);
    }
    this.#known[index].set(key, own);
    const gaps = this.#gapsBefore[index].get(key) ?? Number.NaN;
    const told = { ...own, untilMs: this.#shared(state.lifeMs), gaps, isTouch };
    const before = this.#untold[index].get(key);
    // The write itself must arrive in any case.
    if (isTouch && before?.isTouch === false) this.#untold[index].set(key, before);
    else this.#untold[index].set(key, told);
  }

  /** Nodes may not hear of each other at once, or may forget. */
  disturb(): void {
    this.#last.clear();
  }

  #noteLast(index: 0 | 1, key: number, own: Claim): void {
    const { nowMs, nodes, linked, cut } = this.#pair;
    const before = this.#last.get(key);
    const inStep = linked && !cut && nodes.every(({ protocol }) => protocol.status(nowMs).state === 'synced');
    // Of two that write at about the same time, either one may be the last.
    const isAlone = before === undefined || before.by === index || nowMs - before.atMs > ALONE_MS;
    // What was removed keeps the life that it had, and another copy may have a little more.
    if (inStep && isAlone && own.backend !== 0) this.#last.set(key, { ...own, by: index, atMs: nowMs });
    else this.#last.delete(key);
  }

  /** Where an older write has beaten a younger one, in a moment of peace. Within a second the clock may say the same. */
  *reversals(): Generator<string> {
    for (const node of this.#pair.nodes)
      for (const [key, last] of this.#last) {
        const state = node.state(key);
        if (state !== undefined && rank(state, last) !== 0 && state.version !== last.version)
          yield `${node.name}: key ${key} is ${text(state)}, and the last write was ${text(last)}`;
      }
  }

  /**
   * Until when the peer keeps what lives so long here. Where a clock stood still, the other one went on; and what this
   * node has of the peer lives longer here by its time on the way, so that a touch seems to be no news.
   */
  #shared(lifeMs: number): number {
    const { nowMs, lostMs, longestTripMs } = this.#pair;
    return nowMs + lifeMs * TOLD_SHARE * (1 - 2 * this.#drift) - TICKS_MS - lostMs - longestTripMs;
  }

  /** Something that beats it may have taken its place, and ended since. */
  #wasBeaten(key: number, claim: Claim): boolean {
    return this.#written
      .get(key)!
      .some((it) => rank(it, claim) > 0 && it.untilMs - this.#ttlMs / 8 < this.#pair.nowMs);
  }
}

function raise(known: Map<number, Claim>, key: number, claim: Claim): void {
  const before = known.get(key);
  const order = before === undefined ? 1 : rank(claim, before);
  if (order > 0 || (order === 0 && claim.untilMs > before!.untilMs)) known.set(key, claim);
}

type Ranked = Pick<EntryState, 'version' | 'backend'>;

function rank(a: Ranked, b: Ranked): number {
  return a.version - b.version || (a.backend >>> 0) - (b.backend >>> 0);
}

function text({ backend, version }: Ranked): string {
  return `${backend === 0 ? 'removed' : `backend ${backend}`} of version ${version}`;
}
