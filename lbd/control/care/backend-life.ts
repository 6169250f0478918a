import type { AdminState, BackendState, HealthState } from '../../../common/control.ts';
import { GATE_CLOSED, GATE_OPEN, GATE_STUCK, type Gate } from '../../shared/shared.ts';

/** All that decides what a backend is, at one moment. */
export interface BackendFacts {
  readonly nowMs: number;
  readonly admin: AdminState;
  readonly health: HealthState;
  /** Why the health is what it is, in words. */
  readonly healthWhy: string;
  /** The health check was answered with a status of `drain_status`. */
  readonly drainRequested: boolean;
  /** Why it is left out although it is healthy; undefined: it is not. */
  readonly ejected: string | undefined;
  /** Requests or connections in flight, over all workers. */
  readonly active: number;
  readonly weight: number;
  /** The pool sends clients back to the backend that they had, so new requests may come while it drains. */
  readonly sticky: boolean;
  readonly drainTimeoutMs: number;
}

/** What a backend is, and since when. A value: `nextLife` makes the next one. */
export interface BackendLife {
  readonly state: BackendState;
  /** Who may be sent to it. */
  readonly gate: Gate;
  readonly why: string;
  /** When it came into this state. */
  readonly sinceMs: number;
  /** When it began to drain; undefined while it does not. */
  readonly drainSinceMs: number | undefined;
}

/**
 * A worker reads the gate, then counts the request as in flight. The few instructions between the two are given
 * this long before "nothing in flight" is believed.
 */
export const DRAIN_SETTLE_MS = 50;

const BY_OPERATOR = 'set to drain by the operator';

/** Of a backend whose drain was over before this process began: stuck clients must not come back to it. */
export function drainedLife(nowMs: number): BackendLife {
  return { state: 'drained', gate: GATE_CLOSED, why: BY_OPERATOR, sinceMs: nowMs, drainSinceMs: nowMs };
}

/**
 * The state machine of a backend, without a clock or a socket.
 *
 * - `maint` closes the gate at once; what is open finishes.
 * - A drain, asked for by the operator or by the backend itself, lets in only stuck clients. It is over when
 *   `drain_timeout` has passed, or before that when nothing is in flight and the pool has no stuck clients that
 *   might come back.
 * - `drained` means a closed gate: a backend in this state may be stopped.
 * - A healthy backend that fails its clients is ejected for a while: nobody is sent to it, not even stuck clients.
 * - An unhealthy backend is not worth sending stuck clients to either. While the operator drains it, it shows as
 *   draining or drained all the same, because that is the news.
 *
 * @returns the new life, and whether connections that are still open must be cut now
 */
export function nextLife(
  before: BackendLife | undefined,
  facts: BackendFacts,
): { life: BackendLife; cut: boolean } {
  const drains = facts.admin === 'drain' || (facts.admin === 'ready' && facts.drainRequested);
  const drainSinceMs = drains ? (before?.drainSinceMs ?? facts.nowMs) : undefined;
  const { state, gate, why } =
    drainSinceMs === undefined ? settled(facts) : draining(before, facts, facts.nowMs - drainSinceMs);
  const same = before?.state === state;
  const overdue = drainSinceMs !== undefined && facts.nowMs - drainSinceMs >= facts.drainTimeoutMs;
  return {
    life: { state, gate, why, sinceMs: same ? before.sinceMs : facts.nowMs, drainSinceMs },
    cut: state === 'drained' && !same && overdue && facts.active > 0,
  };
}

type Verdict = Pick<BackendLife, 'state' | 'gate' | 'why'>;

function settled(facts: BackendFacts): Verdict {
  if (facts.admin === 'maint')
    return { state: 'maint', gate: GATE_CLOSED, why: 'set to maint by the operator' };
  switch (facts.health) {
    case 'unknown':
      return { state: 'starting', gate: GATE_CLOSED, why: 'waits for its first health check' };
    case 'unhealthy':
      return { state: 'down', gate: GATE_CLOSED, why: facts.healthWhy };
    case 'healthy':
      if (facts.ejected !== undefined) return { state: 'ejected', gate: GATE_CLOSED, why: facts.ejected };
      return {
        state: 'ready',
        gate: GATE_OPEN,
        why: facts.weight > 0 ? facts.healthWhy : `weight 0: no new clients; ${facts.healthWhy}`,
      };
  }
}

function draining(before: BackendLife | undefined, facts: BackendFacts, elapsedMs: number): Verdict {
  const cause = facts.admin === 'drain' ? BY_OPERATOR : 'its health check asked for a drain (drain_status)';
  // While it asks for the drain itself, it answers, so stuck clients may still go there.
  const answers = facts.health === 'healthy' || facts.drainRequested;
  const sick = facts.health === 'unhealthy' && !answers;
  const reason = sick ? `${cause}; unhealthy: ${facts.healthWhy}` : cause;
  // A drain that is over stays over: a late request of a stuck client must not reopen it.
  const over = before?.state === 'drained' && before.drainSinceMs !== undefined;
  const idle = facts.active === 0 && elapsedMs >= DRAIN_SETTLE_MS;
  if (over || elapsedMs >= facts.drainTimeoutMs || (idle && (!facts.sticky || sick)))
    return { state: 'drained', gate: GATE_CLOSED, why: reason };
  return { state: 'draining', gate: answers ? GATE_STUCK : GATE_CLOSED, why: reason };
}
