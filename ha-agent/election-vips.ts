import { endFinishing, GOODBYE_COPIES } from './election-finishing.ts';
import { jointIntervalMs, lifetimeUntil, RENEW_MS, URGENT_COPIES, VIP_GONE_MS } from './election-times.ts';
import type { Turn } from './election-turn.ts';
import type { StepTime } from './election-types.ts';

/** `lbd` has so long to prepare; a node that waited longer would lose more than it gains (fail static). */
export const PROMOTE_MS = 50;
/** Between the announcements of a burst: a switch that relearns its ports loses the first ones. */
const ANNOUNCE_SPACING_MS = 200;
/**
 * Between two announcements while the peer is not heard: if it lives, it may have announced itself and yielded since, and
 * nobody told this node.
 */
const ALONE_REFRESH_MS = 5_000;
/** A failed removal or renewal is tried again so often. */
const RETRY_MS = 100;
/** A node that takes over has its VIPs by then, or lets the other one try. The kernel may keep them as long. */
const ADD_MS = 3_000;
/** A step of a takeover that took less is not worth a word. */
const WORTH_A_WORD_MS = 50;
/** After a VIP could not be added, the node is in fault so long before it tries again. */
const VIP_RETRY_MS = 2_000;
/**
 * `lbd` has so long to bring its last sessions to the peer before the VIPs leave; it gives up sooner itself. A peer
 * that is about to take over without them does not wait.
 */
export const RETIRE_MS = 150;
/** After the VIPs have left, clients with an old neighbour entry still open connections here for so long. */
const LATECOMERS_MS = 1_000;

export function addVips(turn: Turn): void {
  const { s, now } = turn;
  s.vip = 'adding';
  s.promotedMs = now;
  s.vipDeadlineMs = now + ADD_MS;
  turn.act({ type: 'add-vips' });
}

/** @param steps what the host did, and how long each took */
export function added(turn: Turn, error: string | undefined, steps: readonly StepTime[] = []): void {
  const { s, now } = turn;
  if (s.vip !== 'adding') return;
  if (error !== undefined) {
    vipFailed(turn, `could not be added: ${error}`);
    return;
  }
  s.vip = 'held';
  s.heldSinceMs = now;
  s.renewAtMs = now + RENEW_MS;
  s.renewal = { askedMs: undefined, goodMs: s.promotedMs, trouble: undefined };
  turn.log('info', 'vip', `the VIPs are on this node${duration(turn, steps)}`);
  announce(turn);
  turn.act({ type: 'notify', role: 'active' });
}

/** How long the takeover took, and by what; empty where it was as fast as it should be. */
function duration({ s, now }: Turn, steps: readonly StepTime[]): string {
  const long = [{ step: 'lbd', ms: s.promotedMs - s.sinceMs }, ...steps].filter(
    ({ ms }) => ms >= WORTH_A_WORD_MS,
  );
  const totalMs = now - s.sinceMs;
  if (totalMs < WORTH_A_WORD_MS) return '';
  const named = long.map(({ step, ms }) => `${step} ${seconds(ms)}`).join(', ');
  return ` after ${seconds(totalMs)}${named === '' ? '' : `: ${named}`}`;
}

function seconds(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

/**
 * A renewal that fails or hangs costs nothing while the lifetime lasts.
 *
 * @param gone the host has looked, and the VIPs are not there
 */
export function renewed(turn: Turn, error: string | undefined, gone: boolean): void {
  const { s, now } = turn;
  const { askedMs, goodMs, trouble } = s.renewal;
  if (s.vip !== 'held') return;
  if (error === undefined) {
    if (trouble !== undefined) turn.log('info', 'vip', 'the lifetime of the VIPs is renewed again');
    s.renewal = { askedMs: undefined, goodMs: askedMs ?? goodMs, trouble: undefined };
  } else if (gone) vipFailed(turn, `lost: ${error}`);
  else {
    if (trouble === undefined)
      turn.log('warn', 'vip', `the lifetime of the VIPs was not renewed, trying again: ${error}`);
    s.renewal = { askedMs: undefined, goodMs, trouble: error };
    s.renewAtMs = now + RETRY_MS;
  }
}

/** @param what completes "the VIPs …" */
export function vipFailed(turn: Turn, what: string): void {
  turn.s.vipFault = { why: `the VIPs ${what}`, untilMs: turn.now + VIP_RETRY_MS };
}

export function removeVips(turn: Turn): void {
  const { s } = turn;
  if (s.vip === 'none' || s.vip === 'removing') return;
  if (s.vip === 'promoting') {
    s.vip = 'none';
    // What was parked here before the takeover goes too.
    turn.act({ type: 'unpark-vips' });
    return;
  }
  endFinishing(turn, 'the VIPs go at once');
  beginRemoval(turn);
  turn.act({ type: 'remove-vips' });
}

export function parkVips(turn: Turn): void {
  beginRemoval(turn);
  turn.act({ type: 'park-vips' });
}

function beginRemoval({ s, now }: Turn): void {
  s.vip = 'removing';
  s.vipDeadlineMs = now + VIP_GONE_MS;
  s.renewAtMs = now + RETRY_MS;
}

export function removed(turn: Turn, error: string | undefined): void {
  const { s } = turn;
  if (s.vip !== 'removing') return;
  if (error === undefined) gone(turn, 'the VIPs are gone from this node');
  else if (turn.now < s.vipDeadlineMs)
    turn.log('error', 'vip', `the VIPs could not be removed, trying again: ${error}`);
}

function gone(turn: Turn, text: string): void {
  const { s, now } = turn;
  s.vip = 'none';
  if (s.finishing !== undefined) {
    const untilMs = now + turn.config.drainMs;
    s.finishing = { ...s.finishing, untilMs, notBeforeMs: now + LATECOMERS_MS };
    s.renewAtMs = now + RENEW_MS;
  }
  // The peer hears of it before it ends: of two datagrams within a moment the later one may come first.
  if (s.vipFault !== undefined)
    s.vipFault = {
      ...s.vipFault,
      untilMs: Math.max(s.vipFault.untilMs, now + jointIntervalMs(turn.config, s)),
    };
  turn.log('info', 'vip', text);
  turn.send(s.stopping ? GOODBYE_COPIES : URGENT_COPIES);
}

/** Gives up the role in a planned way; where both nodes are able to, open connections finish here. */
export function leave(turn: Turn, why: string): void {
  const { s, now } = turn;
  const { secondChance, peer } = turn.config;
  // A peer that probes is about to take over: there is no time to retire.
  const inTime = turn.peerCanTakeOver && s.probedUntilMs === undefined;
  const able = s.vip === 'held' && secondChance && inTime && !turn.cannotServe;
  if (!able || !s.peer!.report.forwards) {
    if (able) turn.log('warn', 'vip', `${peer.name} cannot forward, so open connections break`);
    turn.become('standby', why);
    if (s.vip !== 'retiring') removeVips(turn);
    return;
  }
  s.finishing = { phase: 'retiring', untilMs: Number.POSITIVE_INFINITY, notBeforeMs: now };
  s.vip = 'retiring';
  s.vipDeadlineMs = now + RETIRE_MS;
  if (s.holdUntilMs !== undefined) s.holdUntilMs += RETIRE_MS;
  turn.become('standby', why);
  // The peer prepares to forward before it sees that the VIPs are gone.
  turn.send(URGENT_COPIES);
}

/** Begins a burst of announcements. */
export function announce(turn: Turn): void {
  turn.s.announceLeft = turn.config.announceCount;
  announceOne(turn);
}

/** The timer is the election's, so that a node that was paused looks at its role before it announces again. */
function announceOne(turn: Turn): void {
  const { s } = turn;
  const { announceRefreshMs } = turn.config;
  s.announceLeft = Math.max(0, s.announceLeft - 1);
  const longestMs = turn.peerAlive ? Number.POSITIVE_INFINITY : ALONE_REFRESH_MS;
  const refreshMs = Math.min(announceRefreshMs > 0 ? announceRefreshMs : longestMs, longestMs);
  s.announceAtMs = turn.now + (s.announceLeft > 0 ? ANNOUNCE_SPACING_MS : refreshMs);
  turn.act({ type: 'announce' });
}

/** The peer is not heard any more, see `ALONE_REFRESH_MS`. */
export function announceSooner({ s, now }: Turn): void {
  s.announceAtMs = Math.min(s.announceAtMs, now + ALONE_REFRESH_MS);
}

/** Steps of the VIPs that are due by time alone: overdue ones, renewals, announcements. */
export function tendVips(turn: Turn): void {
  const { s, now } = turn;
  if (s.vipFault !== undefined && now >= s.vipFault.untilMs && s.vip === 'none') s.vipFault = undefined;
  if (s.vip === 'promoting' && now >= s.vipDeadlineMs) {
    turn.log('warn', 'role', `lbd was not ready for the active role within ${PROMOTE_MS} ms; going on`);
    addVips(turn);
  }
  if (s.vip === 'retiring' && s.probedUntilMs !== undefined) parkVips(turn);
  else if (s.vip === 'retiring' && now >= s.vipDeadlineMs) {
    turn.log('warn', 'vip', `lbd did not retire within ${RETIRE_MS} ms; going on`);
    parkVips(turn);
  }
  if (s.vip === 'removing' && now >= s.vipDeadlineMs)
    gone(turn, 'the lifetime of the VIPs has run out, so they are gone from this node');
  else if (s.vip === 'removing' && now >= s.renewAtMs) {
    s.renewAtMs = now + RETRY_MS;
    turn.act({ type: s.finishing === undefined ? 'remove-vips' : 'park-vips' });
  }
  if (s.vip === 'adding' && now >= s.vipDeadlineMs)
    vipFailed(turn, `could not be added: the host did not answer within ${seconds(ADD_MS)}`);
  if (s.vip === 'held') tendLifetime(turn);
  // Not while it is open whether another node serves: its own announcement would be undone.
  const mayAnnounce = s.check === undefined || now < s.check.atMs;
  if (s.vip === 'held' && s.announceAgainMs !== undefined && now >= s.announceAgainMs && mayAnnounce) {
    s.announceAgainMs = undefined;
    announce(turn);
  } else if (s.vip === 'held' && now >= s.announceAtMs) announceOne(turn);
  if (s.vip === 'none' && s.finishing !== undefined && now >= s.renewAtMs) {
    s.renewAtMs = now + RENEW_MS;
    turn.act({ type: 'renew-parked' });
  }
}

/** One renewal at a time; before the lifetime may end, the VIPs count as lost. */
function tendLifetime(turn: Turn): void {
  const { s, now } = turn;
  const { askedMs, goodMs, trouble } = s.renewal;
  if (now >= lifetimeUntil(s)) {
    const why = trouble ?? `the host has not answered for ${seconds(now - (askedMs ?? goodMs))}`;
    vipFailed(turn, `could not be renewed before their lifetime ended: ${why}`);
  } else if (askedMs === undefined && now >= s.renewAtMs) {
    s.renewAtMs = now + RENEW_MS;
    s.renewal = { ...s.renewal, askedMs: now };
    turn.act({ type: 'renew-vips' });
  }
}
