import { createHmac } from 'node:crypto';
import type { LeaseAnswer, LeaseQuestion, LeaseVerdict } from './lease-message.ts';

/** The witness keeps a lease for longer than its holder believes in it: see `HOLDER_SHARE` in `lease.ts`. */
const WITNESS_SHARE = 1.01;
const WITNESS_EXTRA_MS = 1;
/** A cluster has two nodes; there is room for new names of them, none for a fault that makes up names. */
export const MAX_NODES = 8;
/** More than a config may have. */
export const MAX_LEASES = 64;

/** The process of a node that has proved to be alive. */
interface Session {
  readonly process: string;
  readonly token: string;
  /** By group: questions about different groups may overtake each other. */
  readonly counters: ReadonlyMap<string, number>;
  readonly heardMs: number;
  /** Grows with each process that proves itself, so that the token of no former one is good again. */
  readonly generation: number;
}

interface Lease {
  readonly node: string;
  readonly process: string;
  readonly untilMs: number;
  readonly epoch: number;
}

/** What a witness knows of one cluster. All times are of one monotonic clock. */
export interface WitnessState {
  /** Random for each start of the witness: a token of an earlier one is worth nothing. */
  readonly seed: Buffer;
  readonly startedMs: number;
  /** It never grants more at a time. */
  readonly longestMs: number;
  readonly sessions: ReadonlyMap<string, Session>;
  /** By group. */
  readonly leases: ReadonlyMap<string, Lease>;
}

export interface WitnessOutcome {
  readonly state: WitnessState;
  /** undefined: the question is a repeated one, or there is no room for its sender. */
  readonly answer: LeaseAnswer | undefined;
}

/** @param seed 32 random bytes */
export function witnessState(seed: Buffer, longestMs: number, now: number): WitnessState {
  return { seed, startedMs: now, longestMs, sessions: new Map(), leases: new Map() };
}

/** When a witness that has just started may grant: what it granted before is over by then. */
export function grantsFromMs({ startedMs, longestMs }: WitnessState): number {
  return startedMs + keptMs(longestMs);
}

/**
 * One authentic question. Pure: time is an argument.
 *
 * A group's lease belongs to one process of one node at a time, until it releases it or its time is over. The time
 * counts from when the question came, which is later than it was sent, and is longer than the holder counts; see
 * `lease.ts` for why nobody else can hold it before the holder has stopped to believe in it. A process and not a node
 * holds it, so that two machines with one name cannot share it.
 *
 * Replay: a question counts only with the token that the sender got from this witness for this process, and with a
 * counter above that of the one before about that group. A recorded question of a process that is gone, or for a witness that has
 * started anew, has another token; it gets the answer `prove`, changes nothing, and its answer is as long as itself. A
 * question that was overtaken by a later one of the same process and group is dropped: a `release` that comes late must not end
 * a lease that was taken after it.
 */
export function witnessStep(state: WitnessState, question: LeaseQuestion, now: number): WitnessOutcome {
  const session = state.sessions.get(question.node);
  const isKnown = session?.process === question.process;
  const counters = isKnown ? session.counters : new Map<string, number>();
  const { process, counter, group } = question;
  if (counter <= (counters.get(group) ?? 0)) return { state, answer: undefined };
  const token = isKnown && question.token === session.token ? session.token : nextToken(state, question);
  if (question.token !== token)
    return { state, answer: answerTo(state, question, now, 'prove', { token, timeMs: 0 }) };
  const isFull = session === undefined && state.sessions.size >= MAX_NODES;
  if (isFull || (!counters.has(group) && counters.size >= MAX_LEASES)) return { state, answer: undefined };
  const generation = (session?.generation ?? 0) + (token === session?.token ? 0 : 1);
  const heard: WitnessState = {
    ...state,
    sessions: new Map(state.sessions).set(question.node, {
      process,
      token,
      counters: new Map(counters).set(group, counter),
      heardMs: now,
      generation,
    }),
  };
  return decide(heard, question, now);
}

function decide(state: WitnessState, question: LeaseQuestion, now: number): WitnessOutcome {
  const { token, operation, node, group, process, timeMs } = question;
  const say = (to: WitnessState, verdict: LeaseVerdict, forMs = 0): WitnessOutcome => ({
    state: to,
    answer: answerTo(to, question, now, verdict, { token, timeMs: forMs }),
  });
  if (operation === 'release') return say(release(state, question, now), 'vacant');
  if (now < grantsFromMs(state)) return say(state, 'starting', grantsFromMs(state) - now);
  const lease = state.leases.get(group);
  const isLive = lease !== undefined && now < lease.untilMs;
  if (isLive && (lease.node !== node || lease.process !== process))
    return say(state, 'denied', lease.untilMs - now);
  if (operation === 'look') return say(state, 'vacant');
  if (timeMs > state.longestMs) return say(state, 'too-long', state.longestMs);
  // What it cannot learn of is of no use to it, and would be withheld from the other one.
  if (question.silenceMs > timeMs) return say(state, 'unheard');
  const room = lease === undefined ? makeRoom(state.leases, now) : state.leases;
  if (room === undefined) return { state, answer: undefined };
  // A shorter time than before does not end sooner what its holder may still count on.
  const untilMs = Math.max(now + keptMs(timeMs), isLive ? lease.untilMs : 0);
  const epoch = Math.max(question.epoch, lease?.epoch ?? 0);
  const leases = new Map(room).set(group, { node, process, untilMs, epoch });
  return say({ ...state, leases }, 'granted', timeMs);
}

/** One that is over only remembers an epoch. @returns undefined when all are held */
function makeRoom(leases: WitnessState['leases'], now: number): WitnessState['leases'] | undefined {
  if (leases.size < MAX_LEASES) return leases;
  const over = [...leases].find(([, { untilMs }]) => untilMs <= now);
  return over && new Map([...leases].filter(([group]) => group !== over[0]));
}

function release(state: WitnessState, { node, group, process }: LeaseQuestion, now: number): WitnessState {
  const lease = state.leases.get(group);
  if (lease === undefined || lease.node !== node || lease.process !== process) return state;
  const over = { ...lease, untilMs: Math.min(lease.untilMs, now) };
  return { ...state, leases: new Map(state.leases).set(group, over) };
}

function answerTo(
  state: WitnessState,
  { node, group, process, counter }: LeaseQuestion,
  now: number,
  verdict: LeaseVerdict,
  rest: Pick<LeaseAnswer, 'token' | 'timeMs'>,
): LeaseAnswer {
  const others = [...state.sessions].filter(([name]) => name !== node).map(([, { heardMs }]) => heardMs);
  const silenceMs = now - Math.max(state.startedMs, ...others);
  const epoch = state.leases.get(group)?.epoch ?? 0;
  return { verdict, node, group, process, counter, epoch, silenceMs, ...rest };
}

function keptMs(timeMs: number): number {
  return timeMs * WITNESS_SHARE + WITNESS_EXTRA_MS;
}

/** What a process must show that is not known yet. It needs no memory, so a flood of old questions fills none. */
function nextToken({ seed, sessions }: WitnessState, { node, process }: LeaseQuestion): string {
  const generation = sessions.get(node)?.generation ?? 0;
  return createHmac('sha256', seed).update(`${node} ${process} ${generation}`).digest('hex').slice(0, 16);
}
