import { endFinishing, GOODBYE_COPIES } from './election-finishing.ts';
import { LEASE_GONE_MS, RENEW_MS, URGENT_COPIES } from './election-times.ts';
import type { Turn } from './election-turn.ts';

/** `lbd` has so long to prepare; a node that waited longer would lose more than it gains (fail static). */
export const PROMOTE_MS = 50;
/** Between the announcements of a burst: a switch that relearns its ports loses the first ones. */
const ANNOUNCE_SPACING_MS = 200;
/** A failed removal is tried again so often. */
const REMOVE_RETRY_MS = 100;
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
  turn.s.vip = 'adding';
  turn.act({ type: 'add-vips' });
}

export function added(turn: Turn, error: string | undefined): void {
  const { s } = turn;
  if (s.vip !== 'adding') return;
  if (error !== undefined) {
    vipFailed(turn, `could not be added: ${error}`);
    return;
  }
  s.vip = 'held';
  s.renewAtMs = turn.now + RENEW_MS;
  turn.log('info', 'vip', 'the VIPs are on this node');
  announce(turn);
  turn.act({ type: 'notify', role: 'active' });
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
  s.vipDeadlineMs = now + LEASE_GONE_MS;
  s.renewAtMs = now + REMOVE_RETRY_MS;
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
  const refreshMs = announceRefreshMs > 0 ? announceRefreshMs : Number.POSITIVE_INFINITY;
  s.announceAtMs = turn.now + (s.announceLeft > 0 ? ANNOUNCE_SPACING_MS : refreshMs);
  turn.act({ type: 'announce' });
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
    gone(turn, 'the lease of the VIPs has run out, so they are gone from this node');
  else if (s.vip === 'removing' && now >= s.renewAtMs) {
    s.renewAtMs = now + REMOVE_RETRY_MS;
    turn.act({ type: s.finishing === undefined ? 'remove-vips' : 'park-vips' });
  }
  if (s.vip === 'held' && now >= s.renewAtMs) {
    s.renewAtMs = now + RENEW_MS;
    turn.act({ type: 'renew-vips' });
  }
  if (s.vip === 'held' && s.announceAgainMs !== undefined && now >= s.announceAgainMs) {
    s.announceAgainMs = undefined;
    announce(turn);
  } else if (s.vip === 'held' && now >= s.announceAtMs) announceOne(turn);
  if (s.vip === 'none' && s.finishing !== undefined && now >= s.renewAtMs) {
    s.renewAtMs = now + RENEW_MS;
    turn.act({ type: 'renew-parked' });
  }
}
