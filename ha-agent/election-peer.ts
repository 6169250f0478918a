import { obstacleOf } from './election-evidence.ts';
import { carries } from './election-link.ts';
import { answered, considerSuspicion, considerVacancy } from './election-suspicion.ts';
import { deadTimeMs, jointIntervalMs, PROBE_ANSWER, patientUntil, probeAt } from './election-times.ts';
import type { Turn } from './election-turn.ts';
import type { PeerReport } from './election-types.ts';
import { announce, announceSooner, removeVips } from './election-vips.ts';
import { type Claim, compareActives } from './rank.ts';

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
  if (report.role === 'active') s.formerUntilMs = now;
  // Two machines with the peer's name take turns, and a process that starts says nothing of the one that serves.
  else if (restarted && before?.role === 'active' && turn.peerAlive)
    s.formerUntilMs = s.peer!.heardMs + deadTimeMs(config, s);
  answered(turn, report, restarted);
  const healthySinceMs = report.healthy ? (s.peer?.healthySinceMs ?? now) : undefined;
  s.peer = { report, heardMs: now, healthySinceMs };
  s.hello = undefined;
  s.presence = undefined;
  s.heldOff = undefined;
  s.doubtSinceMs = undefined;
  if (report.role !== 'active') s.check = undefined;
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
  considerVacancy(turn);
  const alive = turn.peerAlive;
  if (alive !== s.peerAlive) {
    s.peerAlive = alive;
    const { name } = config.peer;
    if (alive) turn.log('info', 'peer', `${name} is heard (${s.peer!.report.role})`);
    else {
      s.probedUntilMs = undefined;
      // What its host says is believed for a moment: a peer that is heard again has not had its time anew.
      if (s.vacancy === undefined) s.dualSinceMs = undefined;
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

/** Whether this node has to give up the role because the peer does not hear it. */
export function deafPeerCause(turn: Turn): string | undefined {
  const { s, now, config } = turn;
  const { name } = config.peer;
  if (s.probedUntilMs !== undefined && now >= s.probedUntilMs)
    return `${name} does not hear this node and takes over`;
  if (s.dualSinceMs !== undefined && turn.peerAlive && now >= patientUntil(config, s, now))
    return `${name} is active too and does not hear this node`;
  return undefined;
}
