import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '../../common/events.ts';
import type { Clients } from './clients.ts';
import { FAULTS, type FaultName, type Mend } from './faults.ts';
import { NODES, type NodeName } from './hosts.ts';
import { type OwnerChange, twoOwnersMs } from './ownership.ts';
import type { TestedPair, TimelineEvent } from './tested-pair.ts';
import type { TrafficReport } from './traffic.ts';
import { PATIENCE_MS, until } from './wait.ts';

export interface FaultResult extends TrafficReport {
  readonly fault: FaultName;
  readonly from: NodeName;
  /** Who has to hold the VIP at the end; `from` where the fault must not move it. */
  readonly to: NodeName;
  /** When the fault began, monotonic milliseconds. */
  readonly faultAtMs: number;
  /** From the fault until the other node held the VIP; NaN: it never did. */
  readonly takeoverMs: number;
  /** From the fault until the VIP was gone from the faulty node; undefined: a dead machine cannot remove it. */
  readonly vipGoneMs: number | undefined;
  /** How long both nodes held the VIP at the same time. */
  readonly twoOwnersMs: number;
  /** Who holds the VIP at the end. */
  readonly holders: readonly NodeName[];
  /** Where the client's ARP entry of the VIP points to at the end. */
  readonly neighbour: NodeName | undefined;
  /** From the fault on. */
  readonly events: readonly TimelineEvent[];
  /** Who got and lost the VIP since the fault. */
  readonly changes?: readonly OwnerChange[];
  /** When a fault that ends while it is watched ended. */
  readonly endedAtMs?: number | undefined;
  /** Ends the fault, where it lasts. */
  readonly mend?: Mend | undefined;
}

export interface FailOptions {
  /** Watch the traffic for so long after the takeover, for figures that show what comes late; default 0. */
  readonly lingerMs?: number;
  /** In place of the fault's own, where the fault ends while it is watched. */
  readonly lastsMs?: number;
  /** The right node must be the only holder within this time, or it is left at that; default PATIENCE_MS. */
  readonly watchMs?: number;
}

/** The last announcement of a burst, and the client's own doubts, are over by then, on a slow machine too. */
const NEIGHBOUR_MS = 15_000;

/**
 * Lets the active node fail under traffic and waits until the right node alone holds the VIP. Judges nothing, and
 * mends only what ends by itself.
 *
 * @throws Error where the pair, the clients or the lab cannot be asked; the fault is mended then
 */
export async function fail(
  pair: TestedPair,
  clients: Clients,
  name: FaultName,
  options: FailOptions = {},
): Promise<FaultResult> {
  await pair.events();
  await clients.report();
  // Sync is asynchronous: what a client got in the last millisecond may die with the node.
  await pair.whole();
  const from = pair.active();
  const first = pair.ownership.changes.length;
  const faultAtMs = monotonicMs();
  const inflicted = await FAULTS[name].inflict(pair, from);
  let isMended = false;
  const mend = () => {
    isMended = true;
    return inflicted();
  };
  try {
    return await watch(pair, clients, name, { from, first, faultAtMs, mend }, options);
  } catch (error) {
    if (!isMended) await mend().catch(() => {});
    throw error;
  }
}

/** A fault that has begun. */
interface Begun {
  readonly from: NodeName;
  /** Place of the first change of owner that comes after it. */
  readonly first: number;
  readonly faultAtMs: number;
  readonly mend: Mend;
}

async function watch(
  pair: TestedPair,
  clients: Clients,
  name: FaultName,
  { from, first, faultAtMs, mend }: Begun,
  options: FailOptions,
): Promise<FaultResult> {
  const { lingerMs = 0, watchMs = PATIENCE_MS } = options;
  const fault = FAULTS[name];
  const lastsMs = fault.lastsMs === undefined ? undefined : (options.lastsMs ?? fault.lastsMs);
  const to = fault.vip === 'stays' ? from : NODES.find((node) => node !== from)!;
  const { ownership } = pair;
  let endedAtMs: number | undefined;
  if (lastsMs !== undefined) {
    await ownership.within(watchMs, () => ownership.holders().includes(to));
    await sleep(Math.max(faultAtMs + lastsMs - monotonicMs(), 0));
    endedAtMs = await mend();
  }
  await ownership.within(watchMs, () => ownership.holders().join() === to);
  const neighbour = await until(
    `the client sends to ${to}`,
    async () => ((await pair.neighbour()) === to ? to : undefined),
    Math.min(NEIGHBOUR_MS, watchMs),
  ).catch(() => pair.neighbour());
  await sleep(lingerMs);
  const report = await clients.report();
  const changes = ownership.changes.slice(first);
  const gone = changes.find((change) => change.node === from && !change.held);
  const taken = changes.find((change) => change.node !== from && change.held);
  return {
    ...report,
    fault: name,
    from,
    to,
    faultAtMs,
    takeoverMs: (taken?.atMs ?? Number.NaN) - faultAtMs,
    vipGoneMs: name === 'power' || gone === undefined ? undefined : gone.atMs - faultAtMs,
    twoOwnersMs: twoOwnersMs([{ atMs: faultAtMs, node: from, held: true }, ...changes], monotonicMs()),
    holders: ownership.holders(),
    neighbour,
    events: (await pair.events()).filter((event) => event.mono_ms >= faultAtMs),
    changes,
    endedAtMs,
    mend: endedAtMs === undefined ? mend : undefined,
  };
}

/** Mends what the fault broke and waits until the pair is whole again. */
export async function recover(pair: TestedPair, result: FaultResult): Promise<void> {
  await result.mend?.();
  await pair.whole();
}

/**
 * From the end of a fault that ended while it was watched until one node alone held the VIP, in milliseconds; 0: one
 * did already. undefined: the fault did not end, or both still hold it.
 */
export function resolvedMs({ endedAtMs, changes = [], holders }: FaultResult): number | undefined {
  if (endedAtMs === undefined || holders.length !== 1) return undefined;
  return Math.max((changes.at(-1)?.atMs ?? endedAtMs) - endedAtMs, 0);
}

/** Whether the node that failed got the VIP again after the other one had taken over. */
export function regained({ changes = [], from, to }: FaultResult): boolean {
  const taken = changes.findIndex(({ node, held }) => node === to && held);
  return from !== to && changes.slice(taken + 1).some(({ node, held }) => node === from && held);
}
