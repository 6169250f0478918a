import {
  type LeaseAnswer,
  type LeaseOperation,
  type LeaseQuestion,
  type LeaseVerdict,
  NO_TOKEN,
} from './lease-message.ts';

/**
 * A holder believes in its lease for this part of its time, counted from when it sent the question. The witness keeps
 * it for 101 %, counted from when the question came. So clocks may differ in speed by 1 % and there is still a
 * twentieth of the time left to take the VIPs off the node.
 */
export const HOLDER_SHARE = 0.95;
/** Questions without an answer that are remembered; an answer to an older one comes too late to be of use. */
const MAX_OPEN = 64;
/** Between two questions, where an answer is wanted sooner than with the next heartbeat. */
const MIN_RETRY_MS = 5;

export interface LeaseConfig {
  /** This node and this process as datagrams name them. */
  readonly node: string;
  readonly process: string;
  /** 10 to 60000: a question goes out with every heartbeat. */
  readonly intervalMs: number;
  /** Wanted at a time. */
  readonly timeMs: number;
  /** Without an answer for so long, the witness is away. */
  readonly awayMs: number;
}

interface OpenQuestion {
  readonly operation: LeaseOperation;
  readonly group: string;
  readonly sentMs: number;
}

/** One group's lease, as this process knows it. */
interface GroupLease {
  readonly isWanted: boolean;
  /** Of this node's leadership. */
  readonly epoch: number;
  /** This process holds the lease until then; 0: it does not. */
  readonly heldUntilMs: number;
  /** Another one holds it, until about then; 0: nobody does, as far as is known. */
  readonly takenUntilMs: number;
  /** The highest one that the witness has seen. */
  readonly highestEpoch: number;
  /** When the next question is due, if no heartbeat comes first. */
  readonly askAtMs: number;
}

/** What a process knows of the witness. All times are of its own monotonic clock. */
export interface LeaseState {
  readonly token: string;
  readonly counter: number;
  readonly open: ReadonlyMap<number, OpenQuestion>;
  readonly groups: ReadonlyMap<string, GroupLease>;
  readonly startedMs: number;
  /** When the latest question was sent that got an answer of any kind. */
  readonly heardMs: number | undefined;
  /** When the latest question was sent that the witness answered, and that it could have granted. */
  readonly answeredMs: number | undefined;
  /** The latest answer. */
  readonly verdict: LeaseVerdict | undefined;
  /** Of the latest answer: so long no other node has asked the witness. */
  readonly silenceMs: number;
}

export interface LeaseOutcome {
  readonly state: LeaseState;
  readonly questions: readonly LeaseQuestion[];
}

const NOT_HELD: GroupLease = {
  isWanted: false,
  epoch: 0,
  heldUntilMs: 0,
  takenUntilMs: 0,
  highestEpoch: 0,
  askAtMs: Number.POSITIVE_INFINITY,
};

export function leaseState(now: number): LeaseState {
  return {
    startedMs: now,
    token: NO_TOKEN,
    counter: 0,
    open: new Map(),
    groups: new Map(),
    heardMs: undefined,
    answeredMs: undefined,
    verdict: undefined,
    silenceMs: 0,
  };
}

/**
 * The holder's side of a lease (Gray and Cheriton, "Leases: an efficient fault-tolerant mechanism for distributed file
 * cache consistency", 1989); `lease-witness.ts` has the other one. Both are pure: time is an argument.
 *
 * Why two processes never believe to hold one group's lease at the same moment: let a question for T be sent at s,
 * come to the witness at r, and be answered. In real time s ≤ r, whatever the network does, and however often it
 * repeats it. The holder believes until 0.95 T after s by its clock, the witness grants it to nobody else until 1.01 T
 * after r by its own. As long as one clock is not 6 % faster than the other one, the first is over before the second,
 * and only then can another process be granted it. A renewal only moves both further. An answer that comes late still
 * counts from s, so it is worth less, or nothing. A release ends the belief before it is sent, and answers to questions from before
 * it do not count any more, while the witness drops such questions when they come after it. A witness that has
 * started anew grants nothing until what an earlier one may have granted is over, so it needs no disk. A process that
 * was paused finds its belief over, since its clock went on. None of this speaks of keys: a lease that was asked for with the
 * key of a former secret is the same one for the witness and for its holder, so it counts on when the key is replaced.
 *
 * Not covered: a clock that stands still while the world goes on, as that of a suspended virtual machine does. Such a
 * node believes for what was left of its lease, at most T, after it goes on.
 *
 * T is the time after which a guardian removes the VIPs of a silent agent, half an interval less than the dead time. Each
 * heartbeat renews it, so a node that dies has no lease any more when its silence has become death: the takeover waits
 * for nothing. Each group has an election of its own, and a lease of its own.
 *
 * A question goes out for each group with every heartbeat (`beat`).
 */
export function beat(state: LeaseState, config: LeaseConfig, now: number): LeaseOutcome {
  return askAbout(state, config, [...state.groups.keys()], now);
}

/** Questions that are due between two heartbeats; see `askAtMs`. */
export function due(state: LeaseState, config: LeaseConfig, now: number): LeaseOutcome {
  const groups = [...state.groups].filter(([, { askAtMs }]) => now >= askAtMs).map(([name]) => name);
  return askAbout(state, config, groups, now);
}

/** When `due` has something to ask; infinite: not before the next heartbeat. */
export function askAtMs({ groups }: LeaseState): number {
  return Math.min(Number.POSITIVE_INFINITY, ...[...groups.values()].map((lease) => lease.askAtMs));
}

/**
 * A group is there (again), and this node wants its lease, or not any more. It must not want it less before its VIPs
 * are gone.
 *
 * @param epoch of this node's leadership
 */
export function want(
  state: LeaseState,
  config: LeaseConfig,
  group: string,
  isWanted: boolean,
  epoch: number,
  now: number,
): LeaseOutcome {
  const before = state.groups.get(group);
  const next = withGroup(state, group, { ...(before ?? NOT_HELD), isWanted, epoch });
  if (before?.isWanted === isWanted) return { state: next, questions: [] };
  if (isWanted || before === undefined) return askAbout(next, config, [group], now);
  return ask(forget(next, group), config, group, 'release', now);
}

/** A group that this node does not have any more. */
export function drop(state: LeaseState, config: LeaseConfig, group: string, now: number): LeaseOutcome {
  if (!state.groups.has(group)) return { state, questions: [] };
  const { state: released, questions } = want(state, config, group, false, 0, now);
  const groups = new Map(released.groups);
  groups.delete(group);
  return { state: { ...released, groups }, questions };
}

/** An authentic answer. */
export function receive(
  state: LeaseState,
  config: LeaseConfig,
  answer: LeaseAnswer,
  now: number,
): LeaseOutcome {
  const question = state.open.get(answer.counter);
  const isOurs = answer.node === config.node && answer.process === config.process;
  if (question === undefined || !isOurs || answer.group !== question.group) return { state, questions: [] };
  const open = new Map(state.open);
  open.delete(answer.counter);
  const { verdict, silenceMs } = answer;
  const heardMs = Math.max(state.heardMs ?? 0, question.sentMs);
  const heard: LeaseState = { ...state, open, verdict, silenceMs, heardMs };
  if (verdict === 'prove') return prove(heard, config, answer.token, now);
  const could = verdict === 'granted' || verdict === 'denied' || verdict === 'vacant';
  const answeredMs = could ? Math.max(state.answeredMs ?? 0, question.sentMs) : state.answeredMs;
  const lease = state.groups.get(question.group);
  if (lease === undefined) return { state: { ...heard, answeredMs }, questions: [] };
  const next = judged(lease, config, question, answer, now);
  return { state: withGroup({ ...heard, answeredMs }, question.group, next), questions: [] };
}

/** Whether a witness that can grant has answered lately. One that has just been asked for the first time may. */
export function reachesWitness(
  { answeredMs, startedMs }: LeaseState,
  { awayMs }: Pick<LeaseConfig, 'awayMs'>,
  now: number,
): boolean {
  return now - (answeredMs ?? startedMs) < awayMs;
}

function judged(
  lease: GroupLease,
  config: LeaseConfig,
  { operation, sentMs }: OpenQuestion,
  { verdict, timeMs, epoch }: LeaseAnswer,
  now: number,
): GroupLease {
  const highestEpoch = Math.max(lease.highestEpoch, epoch);
  if (verdict === 'granted' && operation === 'take' && lease.isWanted) {
    const heldUntilMs = Math.max(lease.heldUntilMs, sentMs + timeMs * HOLDER_SHARE);
    return { ...lease, highestEpoch, heldUntilMs, takenUntilMs: 0, askAtMs: Number.POSITIVE_INFINITY };
  }
  if (verdict !== 'denied') return { ...lease, highestEpoch, takenUntilMs: 0 };
  const again = now + Math.min(Math.max(timeMs + 1, MIN_RETRY_MS), config.intervalMs);
  // Granted before that question and denied now: this clock stood still, as when a virtual machine was suspended.
  const isLost = sentMs > lease.heldUntilMs - config.timeMs * HOLDER_SHARE;
  return {
    ...lease,
    highestEpoch,
    heldUntilMs: isLost ? 0 : lease.heldUntilMs,
    takenUntilMs: now + timeMs,
    askAtMs: lease.isWanted ? again : lease.askAtMs,
  };
}

/** The witness does not know this process, or not any more, so it has no lease; a release need not be told again. */
function prove(state: LeaseState, config: LeaseConfig, token: string, now: number): LeaseOutcome {
  // It may have come to several questions; the others need not be asked again.
  if (token === state.token) return { state, questions: [] };
  return askAbout({ ...state, token }, config, [...state.groups.keys()], now);
}

function askAbout(
  state: LeaseState,
  config: LeaseConfig,
  groups: readonly string[],
  now: number,
): LeaseOutcome {
  const questions: LeaseQuestion[] = [];
  let next = state;
  for (const group of groups) {
    const { isWanted } = state.groups.get(group)!;
    const asked = ask(next, config, group, isWanted ? 'take' : 'look', now);
    next = asked.state;
    questions.push(...asked.questions);
  }
  return { state: next, questions };
}

function ask(
  state: LeaseState,
  { node, process, timeMs, intervalMs }: LeaseConfig,
  group: string,
  operation: LeaseOperation,
  now: number,
): LeaseOutcome {
  const counter = state.counter + 1;
  const open = new Map(state.open).set(counter, { operation, group, sentMs: now });
  for (const old of open.keys()) if (old <= counter - MAX_OPEN) open.delete(old);
  const lease = state.groups.get(group) ?? NOT_HELD;
  const again =
    operation === 'take' ? now + Math.max(intervalMs / 2, MIN_RETRY_MS) : Number.POSITIVE_INFINITY;
  const { token, heardMs } = state;
  // Of a process that has heard nothing, nothing is believed anyway.
  const silenceMs = now - (heardMs ?? now);
  return {
    state: withGroup({ ...state, counter, open }, group, { ...lease, askAtMs: again }),
    questions: [{ operation, node, group, process, token, counter, timeMs, epoch: lease.epoch, silenceMs }],
  };
}

/** What was granted before a release does not count any more, nor what was asked before it. */
function forget(state: LeaseState, group: string): LeaseState {
  const open = new Map([...state.open].filter(([, question]) => question.group !== group));
  return withGroup({ ...state, open }, group, { ...state.groups.get(group)!, heldUntilMs: 0 });
}

function withGroup(state: LeaseState, group: string, lease: GroupLease): LeaseState {
  return { ...state, groups: new Map(state.groups).set(group, lease) };
}
