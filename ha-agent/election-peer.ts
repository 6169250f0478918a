import { obstacleOf } from './election-evidence.ts';
import { carries } from './election-link.ts';
import { jointIntervalMs, PROBE_ANSWER, patientUntil, probeAt } from './election-times.ts';
import type { Turn } from './election-turn.ts';
import type { ElectionEvent, PeerReport } from './election-types.ts';
import { announce, announceSooner, removeVips } from './election-vips.ts';
import { type Claim, compareActives } from './rank.ts';

/** A suspected peer is asked so often, in such steps, before silence means something. */
const ASK_COUNT = 3;
const ASK_SPACING_MS = 5;
/** An answer may take that many times as long as a refusal. */
const ROUND_TRIPS = 3;
/** After a suspicion that came to nothing: a port that is closed for other reasons must not cost questions for ever. */
const TRUST_MS = 10_000;

/** A fresh heartbeat of the peer. */
export function heartbeat(turn: Turn, report: PeerReport, restarted: boolean): void {
  const { s, now, config } = turn;
  const before = s.peer?.report;
  const { name } = config.peer;
  if (restarted && before !== undefined) turn.log('info', 'peer', `${name} restarted its agent`);
  if (restarted) s.operatorsChoice = undefined;
  // A live peer may just have been noticed, or asks whether this node is alive: both want an answer now.
  const asked = report.probe || report.ask === true;
  if (restarted || !s.peerAlive || asked || s.probingSinceMs !== undefined) turn.send(1);
  answered(turn);
  const healthySinceMs = report.healthy ? (s.peer?.healthySinceMs ?? now) : undefined;
  s.peer = { report, heardMs: now, healthySinceMs };
  s.hello = undefined;
  s.presence = undefined;
  s.heldOff = undefined;
  s.check = undefined;
  carries(turn);
  s.asking = false;
  s.probingSinceMs = undefined;
  if (!report.probe) s.probedUntilMs = undefined;
  else s.probedUntilMs ??= now + PROBE_ANSWER * jointIntervalMs(config, s);
  if (before !== undefined && before.role !== report.role)
    turn.log('info', 'peer', `${name} is now ${report.role} (epoch ${report.epoch})`);
  if (report.role === 'fault') s.operatorsChoice = undefined;
  if (report.role === 'active') {
    s.holdUntilMs = undefined;
    if (s.role === 'active') dualActive(turn, report);
  } else s.dualSinceMs = undefined;
  if (report.role !== 'active' && before?.role === 'active' && s.vip === 'held') {
    // While both had the VIPs, the neighbours may have learnt the other node's address.
    announce(turn);
  }
  if (s.role !== 'active') s.epoch = Math.max(s.epoch, report.epoch);
  else if (report.epoch > s.epoch) raiseEpoch(turn, report.epoch + 1);
}

/** A restarted node may have taken over without knowing how far the epochs had come. */
function raiseEpoch(turn: Turn, epoch: number): void {
  turn.s.epoch = epoch;
  turn.tellLbd();
  turn.send(1);
}

function dualActive(turn: Turn, report: PeerReport): void {
  const { s } = turn;
  const { peer } = turn.config;
  const leaving = report.priority === 0;
  const [mine, theirs] = [turn.ownClaim(report), turn.peerClaim(report)];
  const claims = [
    `epoch ${mine.epoch} here, ${theirs.epoch} there`,
    `served ${inSeconds(mine)} here, ${inSeconds(theirs)} there`,
    `priority ${mine.priority} here, ${theirs.priority} there`,
  ].join('; ');
  if (leaving) s.dualSinceMs = undefined;
  else if (compareActives(mine, theirs) > 0) {
    if (s.dualSinceMs !== undefined) return;
    s.dualSinceMs = turn.now;
    turn.log('warn', 'peer', `${peer.name} is active too; this node stays: ${claims}`);
    // The peer decides when it hears this: let it be now, not at the next interval.
    turn.send(1);
  } else {
    turn.become('standby', `${peer.name} is active too and stays: ${claims}`);
    removeVips(turn);
  }
}

function inSeconds({ servedMs }: Claim): string {
  return `${Math.round(servedMs / 1_000)} s`;
}

/** Notices when the peer appears and when it has died, and asks it before its silence is too long. */
export function watchPeer(turn: Turn): void {
  const { s, now, config } = turn;
  considerSuspicion(turn);
  const alive = turn.peerAlive;
  if (alive !== s.peerAlive) {
    s.peerAlive = alive;
    const { name } = config.peer;
    if (alive) turn.log('info', 'peer', `${name} is heard (${s.peer!.report.role})`);
    else {
      s.probedUntilMs = undefined;
      s.dualSinceMs = undefined;
      s.suspicion = undefined;
      s.operatorsChoice = undefined;
      announceSooner(turn);
      turn.log('warn', 'peer', deathOf(turn));
      checkWitness(turn);
    }
  }
  const candidate = (s.role === 'standby' || s.role === 'init') && !s.stopping;
  if (candidate && s.vip === 'none' && now >= probeAt(config, s)) probe(turn);
}

/** Why the peer counts as dead. */
export function deathOf({ s, now, config }: Turn): string {
  const { name } = config.peer;
  if (s.vacancy !== undefined) return `${name} is dead: ${s.vacancy.why}`;
  if (s.peer === undefined) return `${name} was never heard`;
  return `${name} is dead: silent for ${Math.round(now - s.peer.heardMs)} ms`;
}

/** Asks the silent peer for a sign; if it is active and hears this, but is not heard, it steps down. */
export function probe(turn: Turn): void {
  if (turn.s.probingSinceMs !== undefined || obstacleOf(turn) !== undefined) return;
  turn.s.probingSinceMs = turn.now;
  turn.send(1);
  checkWitness(turn);
}

function checkWitness(turn: Turn): void {
  if (turn.config.witnessWaitMs !== undefined) turn.act({ type: 'check-witness' });
}

/**
 * A sign that the peer's agent died starts a burst of questions. The agent is dead when its host refuses them, not
 * only the heartbeat before, and no path brings an answer. Silence alone is for the dead time to judge: an agent that
 * is stopped or busy is silent as well, and its VIPs are still there.
 */
export function suspect(turn: Turn, event: Extract<ElectionEvent, { type: 'suspect' }>): void {
  const { s, now } = turn;
  if (!turn.peerAlive) return;
  const refused = event.sign === 'refused';
  const roundTripMs = refused ? (event.roundTripMs ?? 0) : 0;
  const patienceMs = Math.max(ASK_COUNT * ASK_SPACING_MS, ROUND_TRIPS * roundTripMs);
  if (s.suspicion !== undefined) {
    const untilMs = Math.max(s.suspicion.untilMs, s.suspicion.sinceMs + patienceMs);
    if (refused) s.suspicion = { ...s.suspicion, why: event.why, refusedMs: now, untilMs };
    return;
  }
  if (now < s.trustUntilMs) return;
  s.suspicion = {
    why: event.why,
    sinceMs: now,
    asked: 1,
    nextMs: now + ASK_SPACING_MS,
    untilMs: now + patienceMs,
    refusedMs: refused ? now : undefined,
  };
  turn.log('info', 'peer', `is ${turn.config.peer.name} still there? ${event.why}`);
  turn.send(1);
}

function considerSuspicion(turn: Turn): void {
  const { s, now } = turn;
  const { suspicion } = s;
  if (suspicion === undefined) return;
  if (suspicion.asked < ASK_COUNT && now >= suspicion.nextMs) {
    s.suspicion = { ...suspicion, asked: suspicion.asked + 1, nextMs: now + ASK_SPACING_MS };
    turn.send(1);
    return;
  }
  if (now < suspicion.untilMs || suspicion.asked < ASK_COUNT || now < suspicion.nextMs) return;
  s.suspicion = undefined;
  const { why, sinceMs, refusedMs } = suspicion;
  // One refusal may come from an agent that opens its sockets again, as after a reload.
  if (refusedMs !== undefined && refusedMs - sinceMs >= ASK_SPACING_MS) {
    s.vacancy = { why, sinceMs };
    // Whatever it was about to do, it will not.
    s.probedUntilMs = undefined;
  } else s.trustUntilMs = now + TRUST_MS;
}

/** The peer was heard: no suspicion holds. */
function answered({ s, now }: Turn): void {
  s.vacancy = undefined;
  if (s.suspicion === undefined) return;
  s.suspicion = undefined;
  s.trustUntilMs = now + TRUST_MS;
}

/** Whether this node has to give up the role because the peer does not hear it. */
export function deafPeerCause({ s, now, config }: Turn): string | undefined {
  const { name } = config.peer;
  if (s.probedUntilMs !== undefined && now >= s.probedUntilMs)
    return `${name} does not hear this node and takes over`;
  if (s.dualSinceMs !== undefined && now >= patientUntil(config, s, now))
    return `${name} is active too and does not hear this node`;
  return undefined;
}
