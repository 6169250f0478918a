import { vacancyUntil } from './election-times.ts';
import type { Turn } from './election-turn.ts';
import type { ElectionEvent, PeerReport } from './election-types.ts';

/** A suspected peer is asked so often, in such steps, before silence means something. */
const ASK_COUNT = 3;
const ASK_SPACING_MS = 5;
/** An answer may take that many times as long as a refusal. */
const ROUND_TRIPS = 3;
/** After a suspicion that came to nothing: a port that is closed for other reasons must not cost questions for ever. */
const TRUST_MS = 10_000;
/** Each time that this happens again, it is believed for twice as long, up to this. */
const LONGEST_TRUST_MS = 640_000;
/** Suspicions that lie further apart have nothing to do with each other. */
const TRUST_FORGOTTEN_MS = 60_000;

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

/** Whether the questions have shown that the agent is dead. */
export function considerSuspicion(turn: Turn): void {
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
    s.vacancy = { why, sinceMs, isSpent: false };
    // Whatever it was about to do, it will not.
    s.probedUntilMs = undefined;
  } else trust(turn);
}

/** The word of its host counts for a short time; then the peer is silent like any other. */
export function considerVacancy({ s, now, config }: Turn): void {
  if (now < (vacancyUntil(config, s) ?? Number.POSITIVE_INFINITY)) return;
  s.vacancy = undefined;
  s.dualSinceMs = undefined;
}

/** @param why the agent of the peer lives, whatever its host says; its silence decides */
export function disprove(turn: Turn, why: string): void {
  turn.s.vacancy = undefined;
  turn.log('warn', 'peer', `${turn.config.peer.name} refuses heartbeats, but ${why}`);
  trust(turn);
}

/** Signs are ignored for a while: a filter that refuses heartbeats does so again and again. */
function trust({ s, now }: Turn): void {
  const isFirst = s.trustMs === 0 || now - s.trustUntilMs > TRUST_FORGOTTEN_MS;
  s.trustMs = isFirst ? TRUST_MS : Math.min(2 * s.trustMs, LONGEST_TRUST_MS);
  s.trustUntilMs = now + s.trustMs;
}

/** The peer was heard: no suspicion holds, and none that comes soon. A farewell, or another process, proves it right. */
export function answered(turn: Turn, { role }: PeerReport, restarted: boolean): void {
  const { s, now } = turn;
  const wasSuspected = s.suspicion !== undefined || s.vacancy !== undefined;
  s.vacancy = undefined;
  s.suspicion = undefined;
  if (restarted) {
    s.trustUntilMs = now;
    s.trustMs = 0;
  } else if (wasSuspected && role !== 'init') trust(turn);
}
