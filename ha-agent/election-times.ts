import type { ElectionConfig, ElectionState } from './election-types.ts';
import { unheardMs } from './slowness.ts';

/** Renewal of the VIPs' lifetime, a quarter of it. */
export const RENEW_MS = 500;
/** Without renewal the kernel keeps an address for so long at least: `LIFETIME_S` in `vip-lines.ts`. */
const LIFETIME_MS = 2_000;
/** Without renewal the kernel has removed an address of 2 s after 3 s at the latest (it sweeps once a second). */
export const VIP_GONE_MS = 3_500;
/** `lbd` must be without backends for so long before it matters, where no check of a backend takes longer. */
export const HEALTH_HOLD_MS = 1_000;
/** The active node must hear within this part of the longer interval that a probing peer hears it again. */
export const PROBE_ANSWER = 0.25;
/** Another active node that hears this one drops its VIPs within one interval; one that does not is deaf. */
const DUAL_PATIENCE_INTERVALS = 2;
/** Before the peer counts as dead by this part of an interval: it is probed, and its guardian drops the VIPs. */
const MARGIN = 0.5;
/**
 * A guardian that lives has removed the VIPs so long after the death of its agent: 14 ms at the median, 30 at worst, and
 * there is room for a busy machine. It says farewell as soon as it has, so this is waited for only where that got lost.
 */
const GUARDIAN_MS = 100;
/** The VIPs of an agent that died are looked for so long before the takeover: the answer takes 20 ms. */
const VACANCY_ANSWER_MS = 30;
/** Between two questions who answers for the VIPs, while that matters. */
const ASK_VIPS_MS = 250;
/** The answer is there within some milliseconds. A takeover waits no longer for it. */
export const ANSWER_MS = 100;
/** A question without an answer is asked again then; the host gives up before. */
const QUESTION_LOST_MS = 1_000;
/** A process of the peer that says hello proves within so many intervals that it lives. */
const SUCCESSOR_INTERVALS = 1.5;
/** Another machine that claims this node's name is believed to be there for so long at least. */
const TWIN_MS = 1_000;
/** Rounds sent when the peer should act on them: one lost datagram must not cost a dead time. */
export const URGENT_COPIES = 2;

/** Silence after which this node counts its peer as dead, by its own config: what its heartbeats say. */
export function ownDeadTimeMs(config: Pick<ElectionConfig, 'intervalMs' | 'deadAfter'>): number {
  return config.deadAfter * config.intervalMs;
}

/**
 * Silence of the peer after which it counts as dead. Both nodes compute the same: the more patient one of the two sets
 * the measure, so that neither takes over before the guardian of the other one has acted.
 */
export function deadTimeMs(config: ElectionConfig, state: ElectionState): number {
  return asPatientAsPeer(config, state, ownDeadTimeMs(config) + state.slowness.extraMs);
}

/**
 * For so long a node listens after a pause, or a start. That it is slow itself does not count: each late tick begins the
 * listening anew, so one whose pauses follow each other sooner than that would never take over.
 */
export function listenTimeMs(config: ElectionConfig, state: ElectionState): number {
  return asPatientAsPeer(config, state, ownDeadTimeMs(config));
}

function asPatientAsPeer(config: ElectionConfig, { peer }: ElectionState, ownMs: number): number {
  if (peer === undefined) return ownMs;
  const { deadTimeMs, intervalMs } = peer.report;
  return Math.max(ownMs, deadTimeMs ?? config.deadAfter * intervalMs);
}

/** The longer one of the two intervals: by it both measure how long the other one may take to react. */
export function jointIntervalMs(config: ElectionConfig, state: Pick<ElectionState, 'peer'>): number {
  return Math.max(config.intervalMs, state.peer?.report.intervalMs ?? 0);
}

/**
 * Longest gap between two ticks after which a node may still believe what it believed before. By its own config only: the
 * peer never waits for less.
 */
export function lateLimitMs(config: Pick<ElectionConfig, 'intervalMs' | 'deadAfter'>): number {
  return (config.deadAfter - MARGIN) * config.intervalMs;
}

/**
 * Longest gap after the latest tick for which an active node goes on believing that it is active, and its guardian that
 * the agent lives. A peer that was not heard at that tick either hears this node, and then has heard something of the
 * last dead time, or has to listen and to ask who answers for the VIPs before it takes over.
 */
export function activeLimitMs(config: ElectionConfig, state: ElectionState): number {
  const { slowness, lastTickMs, peer } = state;
  // One of the former release goes by its own dead time, whatever it is told.
  if (peer !== undefined && peer.report.deadTimeMs === undefined) return lateLimitMs(config);
  const isHeard = slowness.extraMs === 0 || isPeerAlive(config, state, lastTickMs);
  const extraMs = isHeard ? slowness.grantedMs : unheardMs(slowness, lastTickMs - ownDeadTimeMs(config));
  return lateLimitMs(config) + extraMs;
}

/** Heard within the dead time, on any path, and not known to be dead. */
export function isPeerAlive(config: ElectionConfig, state: ElectionState, now: number): boolean {
  return (
    state.peer !== undefined &&
    state.vacancy === undefined &&
    now - state.peer.heardMs < deadTimeMs(config, state)
  );
}

/** How long a lack of backends does not count: the checks of the two nodes are not in step. */
function healthHoldMs(config: ElectionConfig): number {
  return config.healthHoldMs ?? HEALTH_HOLD_MS;
}

/** Whether `lbd` has backends at this moment: what the peer is told. */
export function hasBackends({ trackLbd }: ElectionConfig, { lbd, unhealthySinceMs }: ElectionState): boolean {
  return !trackLbd || (lbd.alive && unhealthySinceMs === undefined);
}

/** Whether the peer has had backends for so long that its checks and this node's have seen the same. */
export function isPeerHealthy(config: ElectionConfig, { peer }: ElectionState, now: number): boolean {
  return peer?.healthySinceMs !== undefined && now - peer.healthySinceMs >= healthHoldMs(config);
}

/** Whether `lbd` has backends; a short lack of them does not count. */
export function isHealthy(config: ElectionConfig, state: ElectionState, now: number): boolean {
  if (!config.trackLbd) return true;
  if (!state.lbd.alive) return false;
  return state.unhealthySinceMs === undefined || now - state.unhealthySinceMs < healthHoldMs(config);
}

/** When the peer has been silent for so long that it should be probed. */
export function probeAt(config: ElectionConfig, state: ElectionState): number {
  const heardMs = Math.max(state.peer?.heardMs ?? 0, state.listenSinceMs);
  return heardMs + deadTimeMs(config, state) - MARGIN * jointIntervalMs(config, state);
}

/**
 * When the neighbours are to be asked who answers for the VIPs of a peer that may be dead. A node that is slow itself has
 * listened long enough after a pause sooner than its patience ends: it asks by then.
 */
export function askVipsAt(config: ElectionConfig, state: ElectionState, now: number): number {
  const silentMs = probeAt(config, state);
  // What its host says of it is looked at when the guardian has had its time.
  if (state.vacancy !== undefined || isPeerAlive(config, state, now)) return silentMs;
  return Math.min(silentMs, state.listenUntilMs - MARGIN * jointIntervalMs(config, state));
}

/** When a probe has been out for so long that the peer is either gone or has stepped down. */
export function probedAt(config: ElectionConfig, state: ElectionState, now: number): number {
  return (state.probingSinceMs ?? now) + MARGIN * jointIntervalMs(config, state);
}

/** Until when another active node may take to drop its VIPs. */
export function patientUntil(config: ElectionConfig, state: ElectionState, now: number): number {
  return (state.dualSinceMs ?? now) + DUAL_PATIENCE_INTERVALS * jointIntervalMs(config, state);
}

/** When the guardian of an active peer whose agent died has removed its VIPs; no later than silence alone would tell. */
export function vacatedAt(config: ElectionConfig, state: ElectionState, now: number): number {
  const { vacancy, peer } = state;
  if (vacancy === undefined || peer?.report.role !== 'active') return now;
  return Math.min(vacancy.sinceMs + GUARDIAN_MS, peer.heardMs + deadTimeMs(config, state));
}

/** When the word of the peer's host that its agent is dead counts no longer: by then silence has told as much. */
export function vacancyUntil(config: ElectionConfig, state: ElectionState): number | undefined {
  return state.vacancy && state.vacancy.sinceMs + GUARDIAN_MS + deadTimeMs(config, state);
}

/** Who answers for the VIPs after this does so although the guardian has had its time. */
export function vacancyAskedAt(config: ElectionConfig, state: ElectionState, now: number): number {
  return vacatedAt(config, state, now) - VACANCY_ANSWER_MS;
}

/** When the neighbours may be asked again who answers for the VIPs. */
export function nextQuestion({ answers: { askedMs, answeredMs } }: Pick<ElectionState, 'answers'>): number {
  if (askedMs !== undefined) return askedMs + QUESTION_LOST_MS;
  return answeredMs === undefined ? Number.NEGATIVE_INFINITY : answeredMs + ASK_VIPS_MS;
}

/**
 * Until when another process of the peer, which says that it is active, has time to prove that it lives: it answers
 * within an interval. Its hello may be played back, so it has that time only after the last word of the peer that is
 * proven.
 */
export function successorUntil(config: ElectionConfig, { peer, hello }: ElectionState): number | undefined {
  if (peer === undefined || hello?.role !== 'active' || hello.heardMs <= peer.heardMs) return undefined;
  return peer.heardMs + SUCCESSOR_INTERVALS * jointIntervalMs(config, { peer });
}

/** Until when a new link may not carry frames. */
export function settleUntil(config: ElectionConfig, { link }: Pick<ElectionState, 'link'>): number {
  return link.sinceMs + (config.settleMs ?? 0);
}

/** Until when the kernel surely keeps the VIPs that this node holds. */
export function lifetimeUntil({ renewal }: Pick<ElectionState, 'renewal'>): number {
  return renewal.goodMs + LIFETIME_MS;
}

/** Until when another process that claims this node's name counts without being heard again. */
export function twinUntil(config: ElectionConfig, state: ElectionState): number | undefined {
  return state.twin && state.twin.heardMs + Math.max(TWIN_MS, deadTimeMs(config, state));
}

/** The next time at which the state changes by time alone; always after `now`. */
export function wakeAt(config: ElectionConfig, s: ElectionState, now: number): number {
  let next = now + config.intervalMs;
  const add = (at: number | undefined) => {
    if (at !== undefined && at > now && at < next) next = at;
  };
  add(s.listenUntilMs);
  add(s.holdUntilMs);
  add(s.recoveredUntilMs);
  add(s.formerUntilMs);
  add(s.requestUntilMs);
  add(s.preemptAtMs);
  add(s.probedUntilMs);
  add(successorUntil(config, s));
  if (s.dualSinceMs !== undefined) add(patientUntil(config, s, now));
  add(s.vipFault?.untilMs);
  if (s.unhealthySinceMs !== undefined) add(s.unhealthySinceMs + healthHoldMs(config));
  if (s.peer !== undefined) add(s.peer.heardMs + deadTimeMs(config, s));
  add(s.probingSinceMs === undefined ? probeAt(config, s) : probedAt(config, s, now));
  add(askVipsAt(config, s, now));
  if (s.probingSinceMs !== undefined && config.witnessWaitMs !== undefined)
    add(s.probingSinceMs + config.witnessWaitMs);
  add(s.suspicion?.nextMs);
  add(s.suspicion?.untilMs);
  add(vacancyAskedAt(config, s, now));
  add(vacatedAt(config, s, now));
  add(vacancyUntil(config, s));
  if (s.hello !== undefined) add(s.hello.heardMs + deadTimeMs(config, s));
  if (s.vip !== 'none' && s.vip !== 'held') add(s.vipDeadlineMs);
  if (s.vip === 'held') add(lifetimeUntil(s));
  if (s.vip === 'held' || s.vip === 'removing' || s.finishing !== undefined) add(s.renewAtMs);
  add(nextQuestion(s));
  if (s.answers.askedMs !== undefined) add(s.answers.askedMs + ANSWER_MS);
  add(settleUntil(config, s));
  add(s.check?.atMs);
  add(s.forwardUntilMs);
  add(twinUntil(config, s));
  if (s.finishing !== undefined && s.vip === 'none') {
    add(s.finishing.untilMs);
    add(s.finishing.notBeforeMs);
  }
  if (s.vip === 'held') {
    add(s.announceAtMs);
    add(s.announceAgainMs);
  }
  return next;
}
