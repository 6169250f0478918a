import { unvacated } from './election-evidence.ts';
import { carries } from './election-link.ts';
import { disprove } from './election-suspicion.ts';
import { deadTimeMs, vacancyUntil } from './election-times.ts';
import type { Turn } from './election-turn.ts';
import type {
  ElectionConfig,
  ElectionState,
  LeaseReport,
  LeaseStanding,
  LeaseView,
} from './election-types.ts';
import { HOLDER_SHARE } from './lease.ts';

/** So often an interval, consent that is about to end is asked for. */
const ASKS = 4;
/** Both this node and the witness have not heard the peer for so long: then it is not there. */
export const ALONE_MS = 10_000;

export function initialStanding({ leaseMs }: ElectionConfig): LeaseStanding {
  const view = { reachesWitness: true, heardMs: 0, heldUntilMs: 0, takenUntilMs: 0, epoch: 0, silenceMs: 0 };
  const isFree = leaseMs === undefined;
  return {
    view,
    isFree,
    isRival: false,
    consentedUntilMs: 0,
    wordUntilMs: 0,
    askAgainMs: 0,
    isWanted: undefined,
    wantedEpoch: 0,
    wasHeld: false,
  };
}

/**
 * The lease of a witness in the election (`lease.ts` says why two nodes never hold it at once).
 *
 * Where a witness is configured, a node serves only while one of these holds, and takes over only if one does:
 *
 * 1. **It holds the lease.** Then the peer does not.
 * 2. **The peer consents.** The peer takes over by silence only one dead time after it last heard this node. Each of its
 *    heartbeats sends back the time of this node's latest heartbeat that it heard; until a dead time after that time,
 *    which came before the hearing, it does not take over. So while the nodes hear each other, no witness is needed, and
 *    one that goes away, or that only one of them reaches, changes nothing.
 * 3. **The peer has given its word**, or its host has: it is in fault, has stepped down, its guardian has said farewell,
 *    or its host refuses heartbeats. Then the VIPs are gone there, and this node has nearly a dead time to get the lease,
 *    which is longer than the lease that the peer may have had. A filter may refuse as well: this counts once, and only
 *    while the witness does not say that the peer has renewed its lease since, and nobody answers for the VIPs.
 * 4. **Both are free of it**: both missed the witness while they heard each other, or one of them has none configured,
 *    or the peer has been gone for `ALONE_MS`, as the witness says, too. Then silence is death, as without a witness,
 *    unless the witness says that the peer holds the lease. They are bound again once they hear of each other that one of
 *    them reaches the witness, and a node that is alone once it holds the lease. So a config that gets a witness is free first.
 *
 * Two nodes that are bound and do not hear each other can only have 1, and only one of them has. A node that starts is
 * bound; one that hears neither peer nor witness then does not serve. What remains, as without a witness: both became
 * free, and were parted before one could tell the other that it reaches the witness again; the witness went away and the
 * pair was parted after that; the node that is alone is cut off from everything while the other one comes back.
 *
 * @returns why this node must not serve now; undefined: it may
 */
export function leaseObstacle(turn: Turn): string | undefined {
  const { s, now, config } = turn;
  if (config.leaseMs === undefined) return undefined;
  const { view, isFree, wordUntilMs } = s.lease;
  if (now < view.heldUntilMs || now < consentUntil(config, s) || now < wordUntilMs) return undefined;
  const { name } = config.peer;
  if (now < view.takenUntilMs) return `${name} is not heard, and holds the lease of the witness`;
  if (isFree) return undefined;
  return view.reachesWitness
    ? `${name} is not heard, and the witness has not granted the lease yet`
    : `neither ${name} nor the witness is heard, so ${name} may have the lease`;
}

/** This node holds the lease, and the peer, which is heard but does not hear, takes over by silence only with it. */
export function prevails({ s, now, config }: Turn): boolean {
  const isHeld = config.leaseMs !== undefined && now < s.lease.view.heldUntilMs;
  return isHeld && s.peer?.report.lease?.isBound === true;
}

/** It prevails, and the peer cannot count on its consent any more. */
export function mayOverrule(turn: Turn): boolean {
  return prevails(turn) && turn.s.lease.isRival && turn.now >= turn.s.lease.consentedUntilMs;
}

/** The same for a node that takes over: the peer's word of now counts. */
export function takeoverObstacle(turn: Turn): string | undefined {
  const { s, now, config } = turn;
  if (config.leaseMs === undefined) return undefined;
  if (hasWord(turn)) {
    const wordUntilMs = now + HOLDER_SHARE * deadTimeMs(config, s);
    s.lease = { ...s.lease, wordUntilMs };
  } else if (s.vacancy?.isSpent === false && unvacated(turn) === undefined) {
    // One word of its host is one word, however often this node tries.
    const wordUntilMs = vacancyUntil(config, s)! - (1 - HOLDER_SHARE) * deadTimeMs(config, s);
    s.lease = { ...s.lease, wordUntilMs };
  }
  return leaseObstacle(turn);
}

/** What the witness said. */
export function leaseHeard(turn: Turn, view: LeaseView): void {
  const { s } = turn;
  const before = s.lease.view.reachesWitness;
  s.lease = { ...s.lease, view };
  if (view.heardMs > s.link.sinceMs) carries(turn);
  // An agent that has renewed its lease since lives, whatever its host says.
  if (s.vacancy !== undefined && view.takenUntilMs - (turn.config.leaseMs ?? 0) > s.vacancy.sinceMs) {
    s.lease = { ...s.lease, wordUntilMs: 0 };
    disprove(turn, 'has renewed its lease at the witness');
  }
  if (before === view.reachesWitness) return;
  if (view.reachesWitness) turn.log('info', 'witness', 'the witness answers, and grants leases');
  else turn.log('warn', 'witness', 'the witness does not answer, or does not grant leases yet');
}

/** Whether the witness counts, before anything is decided. A config that gets one later begins free of it. */
export function considerLease(turn: Turn): void {
  const { s, config } = turn;
  if (config.leaseMs === undefined) {
    s.lease = initialStanding(config);
    return;
  }
  const isFree = isFreeNow(turn);
  if (isFree === s.lease.isFree) return;
  s.lease = { ...s.lease, isFree };
  if (isFree) turn.log('warn', 'witness', 'silence of the other node is its death, as without a witness');
  else
    turn.log(
      'info',
      'witness',
      'a node that does not hear the other one serves only with the lease of the witness',
    );
}

/** What to ask of the witness, once the role is known. */
export function tendLease(turn: Turn): void {
  const { s, now, config } = turn;
  if (config.leaseMs === undefined) return;
  const { view, isWanted: before, wantedEpoch, wasHeld } = s.lease;
  askForConsent(turn);
  const isHeld = now < view.heldUntilMs;
  if (isHeld !== wasHeld) turn.log('info', 'witness', `${isHeld ? 'holds' : 'does not hold'} the lease`);
  const isRival = isRivalNow(turn);
  const probes = s.probingSinceMs !== undefined && (s.role === 'standby' || s.role === 'init');
  const isWanted = s.role === 'active' || s.vip !== 'none' || isRival || (probes && !s.stopping);
  const { epoch } = s;
  if (isWanted !== before || (isWanted && epoch !== wantedEpoch))
    turn.act({ type: 'want-lease', isWanted, epoch });
  const heardMs = s.peer?.heardMs ?? 0;
  const consentedUntilMs = isRival ? s.lease.consentedUntilMs : heardMs + deadTimeMs(config, s);
  s.lease = { ...s.lease, isRival, consentedUntilMs, isWanted, wantedEpoch: epoch, wasHeld: isHeld };
}

/** A node that serves by the peer's consent alone asks for it before that is over: one lost heartbeat must not end it. */
function askForConsent(turn: Turn): void {
  const { s, now, config } = turn;
  if (s.role !== 'active' || s.lease.isFree || now < s.lease.view.heldUntilMs) return;
  const untilMs = consentUntil(config, s);
  if (now >= untilMs || now < untilMs - config.intervalMs || now < s.lease.askAgainMs) return;
  s.lease = { ...s.lease, askAgainMs: now + config.intervalMs / ASKS };
  s.asking = true;
  turn.send(1);
}

/** Nobody serves, and the peer, which is heard, does not hear this node, which has not just given the role away. */
function isRivalNow({ s, peerAlive }: Turn): boolean {
  if (s.role !== 'standby' || s.stopping || s.holdUntilMs !== undefined || !peerAlive) return false;
  const { probe, role } = s.peer!.report;
  return probe && role !== 'active';
}

/** When the above changes by time alone. */
export function leaseWakeAt(config: ElectionConfig, s: ElectionState, now: number): number {
  if (config.leaseMs === undefined) return Number.POSITIVE_INFINITY;
  const { view, wordUntilMs, consentedUntilMs, askAgainMs } = s.lease;
  const consentMs = consentUntil(config, s);
  const own = [wordUntilMs, consentMs, consentedUntilMs, askAgainMs, consentMs - config.intervalMs];
  const times = [view.heldUntilMs, view.takenUntilMs, ...own];
  return Math.min(...times.map((at) => (at > now ? at : Number.POSITIVE_INFINITY)));
}

/** What this node's heartbeat says of it; undefined: there is no such witness. */
export function leaseReport(config: ElectionConfig, s: ElectionState, now: number): LeaseReport | undefined {
  if (config.leaseMs === undefined) return undefined;
  const { view, isFree, isRival } = s.lease;
  const consents = s.role !== 'active' && !isRival;
  return {
    held: now < view.heldUntilMs,
    reachesWitness: view.reachesWitness,
    isBound: !isFree,
    sentMs: Math.floor(now),
    heardSentMs: consents ? (s.peer?.report.lease?.sentMs ?? 0) : 0,
  };
}

/** What a guardian says for a node that died: it consents to nothing, and its word is that it stepped down. */
export function lastLeaseReport(config: ElectionConfig, s: ElectionState): LeaseReport | undefined {
  if (config.leaseMs === undefined) return undefined;
  const { view, isFree } = s.lease;
  return { held: false, reachesWitness: view.reachesWitness, isBound: !isFree, sentMs: 0, heardSentMs: 0 };
}

/** The peer does not take over by silence before then. */
function consentUntil(config: ElectionConfig, s: ElectionState): number {
  const sentMs = s.peer?.report.lease?.heardSentMs ?? 0;
  return sentMs === 0 ? 0 : sentMs + HOLDER_SHARE * deadTimeMs(config, s);
}

/** The peer or its guardian says that its VIPs are gone, and it does not take over now. */
function hasWord({ s, peerAlive }: Turn): boolean {
  const report = s.peer?.report;
  return (
    peerAlive &&
    report !== undefined &&
    (report.role === 'fault' || (report.role !== 'active' && report.priority === 0))
  );
}

function isFreeNow({ s, now, peerAlive }: Turn): boolean {
  const { view, isFree } = s.lease;
  const { peer } = s;
  if (peer !== undefined && peerAlive) {
    const { lease } = peer.report;
    return lease === undefined || !(view.reachesWitness || lease.reachesWitness);
  }
  // What the witness says of the peer counts with the lease; without, it has not decided yet, or is away.
  if (now >= view.heldUntilMs) return isFree;
  const silentMs = now - (peer?.heardMs ?? s.listenSinceMs);
  return Math.min(silentMs, view.silenceMs) >= ALONE_MS;
}
