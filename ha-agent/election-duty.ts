import { checkLater, isHeldOff, unvacated } from './election-evidence.ts';
import { leaseObstacle, mayOverrule, prevails, takeoverObstacle } from './election-lease.ts';
import { deafPeerCause, deathOf, probe } from './election-peer.ts';
import {
  deadTimeMs,
  isPeerHealthy,
  jointIntervalMs,
  ownDeadTimeMs,
  probedAt,
  successorUntil,
  URGENT_COPIES,
  VIP_GONE_MS,
  vacatedAt,
} from './election-times.ts';
import type { Turn } from './election-turn.ts';
import { twinCause } from './election-twin.ts';
import type { PeerReport } from './election-types.ts';
import { addVips, leave, PROMOTE_MS, removeVips } from './election-vips.ts';
import { compareCandidates } from './rank.ts';
import { mostExtraMs } from './slowness.ts';

/** What forbids this node the active role; undefined: nothing does. */
export function faultCause(turn: Turn): string | undefined {
  const { s, config, peerAlive } = turn;
  for (const why of s.downInterfaces.values()) return why;
  const twin = twinCause(turn);
  if (twin !== undefined) return twin;
  if (s.vipFault !== undefined) return s.vipFault.why;
  // The peer's host that refuses heartbeats is a witness, too.
  const alone = !peerAlive && s.vacancy === undefined;
  if (config.witnessWaitMs !== undefined && alone && s.witness?.reachable === false)
    return `isolated: ${s.witness.why}, and ${config.peer.name} is not heard`;
  if (!config.trackLbd) return undefined;
  if (!s.lbd.alive) return `lbd is dead: ${s.lbd.why}`;
  // A worker that is replaced must not cost the active node its role; a node that starts must be ready.
  if (!s.lbd.ready && s.role !== 'active') return `lbd is not ready: ${s.lbd.why}`;
  return undefined;
}

/** The peer's last word may be older than its knowledge of this node's fault: ask again before deciding. */
export function recover(turn: Turn): void {
  if (turn.peerAlive) turn.listen();
  // What the peer does about the fault of a moment ago is heard by then.
  turn.s.recoveredUntilMs = turn.now + jointIntervalMs(turn.config, turn.s);
  // A probe would take the role from a peer whose answer is late by a few milliseconds, though it was heard just now.
  turn.s.asking = turn.peerAlive;
  turn.become('init', 'the fault is gone');
  // A peer that could not be heard until now gets its time, too.
  if (!turn.peerAlive && turn.now >= turn.s.listenUntilMs) probe(turn);
}

/** A standby: whether it is its turn. */
export function considerTakeover(turn: Turn): void {
  const { s } = turn;
  const { self, peer } = turn.config;
  const report = s.peer?.report;
  if (report === undefined || !turn.peerAlive) {
    s.preemptAtMs = undefined;
    considerSucceeding(turn);
    return;
  }
  if (report.role === 'active') {
    turn.because(`${peer.name} is active${considerPreempting(turn, report)}`);
    return;
  }
  s.preemptAtMs = undefined;
  if (turn.now < s.formerUntilMs)
    turn.because(
      `${peer.name} restarted its agent, or two machines have its name: waiting for the silence of the one that served`,
    );
  else if (turn.now < (successorUntil(turn.config, s) ?? 0))
    turn.because(`another process of ${peer.name} says that it is active`);
  else if (report.role === 'fault') takeOver(turn, `${peer.name} is in fault`);
  else if (report.probe && mayOverrule(turn))
    takeOver(turn, `${peer.name} does not hear this node, which has the lease`);
  else if (report.probe) turn.because(`${peer.name} does not hear this node and will take over`);
  else if (s.holdUntilMs !== undefined) return;
  else if (turn.now < s.recoveredUntilMs)
    turn.because(`the fault is gone; ${peer.name} may be about to take over`);
  else if (report.priority === 0) takeOver(turn, `${peer.name} stepped down`);
  else if (compareCandidates(turn.ownClaim(report), turn.peerClaim(report)) > 0)
    takeOver(turn, `nobody is active and ${self.name} goes before ${peer.name}`);
  else turn.because(`nobody is active and ${peer.name} goes before ${self.name}`);
}

/** The peer is dead, as far as this node can tell. */
function considerSucceeding(turn: Turn): void {
  const { s, now, config } = turn;
  const { name } = config.peer;
  const answerer = unvacated(turn);
  if (s.vacancy?.isSpent === false) {
    if (now < vacatedAt(config, s, now))
      turn.because(`the agent of ${name} is dead; its guardian removes the VIPs`);
    else if (answerer !== undefined && now < s.peer!.heardMs + deadTimeMs(config, s))
      turn.because(`${name} refuses heartbeats, but ${answerer}; waiting for its silence`);
    else takeOver(turn, deathOf(turn));
  } else if (!isHeldOff(turn)) {
    probe(turn);
    if (now >= probedAt(config, s, now) && isWitnessed(turn)) takeOver(turn, deathOf(turn));
  }
  if (s.role !== 'active') return;
  checkLater(turn);
  // Where nobody has seen the VIPs go, they may be there until their lifetime ends, and answer for themselves.
  if (s.peer?.report.role === 'active') s.announceAgainMs = now + VIP_GONE_MS;
}

/** Whether it is the peer that is cut off: a witness answered after the peer was missed. Not waited for at any price. */
function isWitnessed(turn: Turn): boolean {
  const { s, now, config } = turn;
  if (config.witnessWaitMs === undefined) return true;
  const sinceMs = s.probingSinceMs ?? now;
  if (s.witness !== undefined && (s.witness.reachable === undefined || s.witness.sinceMs >= sinceMs))
    return true;
  if (now >= sinceMs + config.witnessWaitMs) {
    turn.log('warn', 'peer', `no result of the witness check within ${config.witnessWaitMs} ms; going on`);
    return true;
  }
  turn.because(`${config.peer.name} is silent; waiting for the result of the witness check`);
  return false;
}

/** @returns why a better node leaves the role where it is, to follow a reason; empty where there is nothing to say */
function considerPreempting(turn: Turn, report: PeerReport): string {
  const { s, now } = turn;
  const { preemptDelayMs, self, trackLbd } = turn.config;
  if (preemptDelayMs === undefined || report.priority === 0 || self.priority <= report.priority) {
    s.preemptAtMs = undefined;
    return '';
  }
  const unready = !turn.healthy
    ? 'lbd has no healthy backend'
    : trackLbd && !s.lbd.synced && 'sessions are not in step';
  const late = s.slowness.extraMs > 0 && 'this node gets its processor late';
  const obstacle = s.operatorsChoice ?? (unready || late || undefined);
  if (obstacle !== undefined) {
    s.preemptAtMs = undefined;
    return `; not preempting: ${obstacle}`;
  }
  s.preemptAtMs ??= now + preemptDelayMs;
  if (now < s.preemptAtMs) return '; preempting when the delay is over';
  if (s.requestUntilMs !== undefined) return '; preempting';
  s.requestUntilMs = now + 2 * deadTimeMs(turn.config, s);
  turn.log('info', 'switchover', `preempting: priority ${self.priority} is above ${report.priority}`);
  turn.send(URGENT_COPIES);
  return '; preempting';
}

/** An active node: whether the peer should have the role. */
export function considerStepDown(turn: Turn): void {
  const { s, now, config } = turn;
  const { peer, self } = config;
  const deaf = s.dualSinceMs === undefined && prevails(turn) ? undefined : deafPeerCause(turn);
  if (deaf !== undefined) {
    if (s.probedUntilMs !== undefined) hold(turn);
    turn.become('standby', deaf);
    removeVips(turn);
    return;
  }
  const obstacle = leaseObstacle(turn);
  if (obstacle !== undefined) {
    turn.become('standby', obstacle);
    removeVips(turn);
    return;
  }
  if (s.vip !== 'held' || !turn.peerCanTakeOver) return;
  const { request, priority } = s.peer!.report;
  if (s.lbd.stopping) handOver(turn, 'lbd is stopping');
  else if (starves(turn)) handOver(turn, `this node gets its processor late, and ${peer.name} in time`);
  else if (request) {
    handOver(turn, `${peer.name} asked for the role`);
    // A worse node does not ask by itself.
    if (priority < self.priority) s.operatorsChoice = operatorsChoice(peer.name);
  } else if (!turn.healthy && isPeerHealthy(config, s, now))
    handOver(turn, `lbd has no healthy backend and ${peer.name} has (${s.lbd.why})`);
}

/**
 * Whether this node misses its processor for whole dead times, again just now, and the peer, as far as it says, for none.
 * A starved node is patient with itself and makes its peer patient, and clients would wait for as long as it starves.
 */
function starves({ s, now, config }: Turn): boolean {
  const ownMs = ownDeadTimeMs(config);
  const { deadTimeMs: peersMs } = s.peer!.report;
  const { late, extraMs } = s.slowness;
  const isNow = late.length > 0 && now - late.at(-1)!.atMs <= ownMs;
  // A long dead time leaves no room for as much again.
  const isMuch = extraMs > 0 && extraMs >= Math.min(ownMs, mostExtraMs(config));
  return isNow && isMuch && peersMs !== undefined && peersMs <= ownMs && isPeerHealthy(config, s, now);
}

function operatorsChoice(name: string): string {
  return `an operator made ${name} active`;
}

/** An operator wants another active node. */
export function switchover(turn: Turn, to: 'self' | 'peer' | undefined): void {
  const { s } = turn;
  const { self, peer } = turn.config;
  const alive = turn.peerAlive;
  const report = s.peer?.report;
  const answer = (ok: boolean, text: string) => turn.act({ type: 'answer', ok, text });
  if (s.role === 'active') {
    if (to === 'self') answer(true, `${self.name} is active already`);
    else if (!alive) answer(false, `${peer.name} is not heard, so it cannot take over`);
    else if (s.vip !== 'held') answer(false, `${self.name} is just taking over; try again`);
    else if (!turn.peerCanTakeOver) answer(false, `${peer.name} is ${report?.role} and cannot take over now`);
    else {
      handOver(turn, 'an operator asked for a switchover');
      s.operatorsChoice = operatorsChoice(peer.name);
      answer(true, `${self.name} hands over to ${peer.name}`);
    }
  } else if (to === 'peer' && alive && report?.role === 'active') {
    answer(true, `${peer.name} is active already`);
  } else if (to === 'peer' || !alive || report?.role !== 'active') {
    answer(false, `${self.name} is ${s.role} and no active peer is heard, so there is nothing to switch`);
  } else if (s.role !== 'standby' || s.vip !== 'none') {
    answer(false, `${self.name} is ${s.role} (${s.why}), so it cannot take over`);
  } else {
    s.requestUntilMs = turn.now + 2 * deadTimeMs(turn.config, s);
    turn.log('info', 'switchover', `an operator asked for a switchover: asking ${peer.name} for the role`);
    turn.send(URGENT_COPIES);
    answer(true, `${self.name} asks ${peer.name} for the role`);
  }
}

function takeOver(turn: Turn, why: string): void {
  const { s } = turn;
  const obstacle = takeoverObstacle(turn);
  if (obstacle !== undefined) {
    turn.because(obstacle);
    return;
  }
  s.epoch = Math.max(s.epoch, s.peer?.report.epoch ?? 0, s.lease.view.epoch) + 1;
  s.vip = 'promoting';
  // They are this node's connections again like all others; adding the VIPs takes their parked place.
  s.finishing = undefined;
  s.vipDeadlineMs = turn.now + PROMOTE_MS;
  s.announceAgainMs = undefined;
  // An active node that still offers the role would be taken for one that leaves.
  s.holdUntilMs = undefined;
  s.doubtSinceMs = undefined;
  if (s.vacancy !== undefined) s.vacancy = { ...s.vacancy, isSpent: true };
  turn.become('active', why);
  if (!s.lbd.alive) addVips(turn);
}

/** Planned: what is open finishes here, if both nodes can do it. */
function handOver(turn: Turn, why: string): void {
  hold(turn);
  leave(turn, why);
}

function hold(turn: Turn): void {
  // Two dead times: the peer may miss a heartbeat, and `lbd` there has its time to prepare.
  turn.s.holdUntilMs = turn.now + 2 * deadTimeMs(turn.config, turn.s) + PROMOTE_MS;
}
