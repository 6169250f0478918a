import type { ElectionConfig } from './election-types.ts';

/** Ticks that came late count for so long. */
const MEMORY_MS = 30_000;
/** One alone is a pause, such as of a machine that was suspended, and says nothing about the next seconds. */
const PROVES = 2;
/** Late by this part of an interval; what is less is what timers do. */
const LATE = 0.5;
/** The dead time has room for so many intervals of lateness, as for a lost heartbeat; one of two intervals has none. */
const ROOM = 1;
const TIGHTEST_DEAD_AFTER = 2;
/**
 * The longest silence for which a node that is slow may go on: well below the lifetime of the VIPs, which it renews.
 */
const MAX_SILENCE_MS = 1_250;
/** Changes of what the peer was told that are remembered; of two older ones the smaller counts. */
const MAX_TOLD = 16;

/** What is known of how late this process gets the processor, and of what the peer knows about it. */
export interface Slowness {
  /** Ticks that came late, oldest first. */
  readonly late: readonly { readonly atMs: number; readonly byMs: number }[];
  /** What this node needs beyond the dead time of the config, in milliseconds; 0: it is not slow. */
  readonly extraMs: number;
  /** What the peer is told, from when on, oldest first. It is told of less only after this node goes by less. */
  readonly told: readonly { readonly sinceMs: number; readonly extraMs: number }[];
  /** The peer surely waits for so much more than the dead time of the config. */
  readonly grantedMs: number;
  /** When the latest heartbeat was sent that the peer is known to have heard. */
  readonly echoMs: number;
}

/** A node that gets its processor in time. */
export const NOT_SLOW: Slowness = {
  late: [],
  extraMs: 0,
  told: [],
  grantedMs: 0,
  echoMs: Number.NEGATIVE_INFINITY,
};

/**
 * Takes note of a tick.
 *
 * A machine that gets its processor late would be taken for dead again and again, and nobody would serve. So the
 * silence that counts as death grows by what the ticks of the last half minute were late beyond an interval, up to
 * 1.25 s: for its own ears at once, and for the peer, to which each heartbeat tells it. By it this node itself believes
 * that it is active, and so does its guardian, only as far as the peer has heard of it: an echo of a heartbeat shows that.
 *
 * @param gapMs since the tick before
 */
export function ticked(config: SlowConfig, slowness: Slowness, gapMs: number, now: number): Slowness {
  const byMs = gapMs - config.intervalMs;
  // A pause that no patience bridges, as of a machine that is suspended, would cost the peer time at the next one for nothing.
  const isLate = byMs > Math.max(LATE * config.intervalMs, roomMs(config)) && gapMs <= MAX_SILENCE_MS;
  // The usual case, ten times a second: nothing was late, and nothing is to be forgotten.
  const isCalm = slowness.late.length === 0 && slowness.extraMs === 0 && toldExtraMs(slowness) === 0;
  if (!isLate && isCalm) return slowness;
  const recent = slowness.late.filter(({ atMs }) => now - atMs < MEMORY_MS);
  const late = isLate ? [...recent, { atMs: now, byMs }] : recent;
  const extraMs = config.leaseMs === undefined ? neededMs(config, late) : 0;
  // A guardian that has missed the end of more patience still waits by it, from a beat of before.
  const tellMs = Math.max(extraMs, slowness.extraMs);
  const told =
    tellMs === toldExtraMs(slowness) ? slowness.told : [...slowness.told, { sinceMs: now, extraMs: tellMs }];
  return grant({ ...slowness, late, extraMs, told });
}

/** The peer has heard what was sent at `echoMs`, on the clock of this process; undefined: it does not say. */
export function echoed(slowness: Slowness, echoMs: number | undefined): Slowness {
  // Where nothing was told there is nothing to learn, as in each heartbeat of a pair that is well.
  if (slowness.told.length === 0 || echoMs === undefined || echoMs <= slowness.echoMs) return slowness;
  return grant({ ...slowness, echoMs });
}

/**
 * By how much more than the dead time of the config a peer surely waits that is not heard, in milliseconds: it may hear
 * this node all the same.
 *
 * @param sinceMs whoever has heard nothing since then counts this node as dead already
 */
export function unheardMs({ told, extraMs }: Slowness, sinceMs: number): number {
  return Math.min(extraMs, leastTold(told, sinceMs));
}

/** What the peer is told beyond the dead time of the config, in milliseconds. */
export function toldExtraMs({ told }: Slowness): number {
  return told.at(-1)?.extraMs ?? 0;
}

type SlowConfig = Pick<ElectionConfig, 'intervalMs' | 'deadAfter' | 'leaseMs'>;

/** Lateness of a tick for which the dead time of the config has room, in milliseconds. */
function roomMs({ intervalMs, deadAfter }: SlowConfig): number {
  return Math.min(ROOM, deadAfter - TIGHTEST_DEAD_AFTER) * intervalMs;
}

/** By how much the worst tick but one was later than there is room for, in halves of an interval. */
function neededMs(config: SlowConfig, late: Slowness['late']): number {
  const lateMs = late.map((tick) => tick.byMs).toSorted((a, b) => b - a)[PROVES - 1];
  if (lateMs === undefined) return 0;
  const byMs = lateMs - roomMs(config);
  const step = config.intervalMs / 2;
  return Math.min(Math.ceil(byMs / step) * step, mostExtraMs(config));
}

/** So much beyond the dead time of the config is granted at most, in milliseconds. */
export function mostExtraMs({ deadAfter, intervalMs }: Pick<SlowConfig, 'deadAfter' | 'intervalMs'>): number {
  return Math.max(0, MAX_SILENCE_MS - deadAfter * intervalMs);
}

/** The peer goes by something that it was told since the latest heartbeat that it is known to have heard. */
function grant(slowness: Slowness): Slowness {
  const { echoMs, extraMs } = slowness;
  const told = bounded(slowness.told.slice(Math.max(0, knownAt(slowness.told, echoMs))));
  const grantedMs = Math.min(extraMs, leastTold(told, echoMs));
  // It goes by the config again, and knows that it may.
  const isOver = told.length === 1 && told[0]!.extraMs === 0 && knownAt(told, echoMs) === 0;
  return { ...slowness, grantedMs, told: isOver ? [] : told };
}

/** The least of what was said from a time on, and of what was in force then; 0 where nothing was. */
function leastTold(told: Slowness['told'], sinceMs: number): number {
  const known = knownAt(told, sinceMs);
  return known < 0 ? 0 : Math.min(...told.slice(known).map(({ extraMs }) => extraMs));
}

/** Index of what was in force at a time; -1: nothing. */
function knownAt(told: Slowness['told'], atMs: number): number {
  return told.findLastIndex(({ sinceMs }) => sinceMs <= atMs);
}

function bounded(told: Slowness['told']): Slowness['told'] {
  if (told.length <= MAX_TOLD) return told;
  const [first, second, ...rest] = told;
  return [{ sinceMs: first!.sinceMs, extraMs: Math.min(first!.extraMs, second!.extraMs) }, ...rest];
}
