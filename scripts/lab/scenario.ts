import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '../../common/events.ts';
import type { Clients } from './clients.ts';
import { FAULTS, type FaultName } from './faults.ts';
import { NODES, type NodeName } from './hosts.ts';
import { twoOwnersMs } from './ownership.ts';
import type { Pair, TimelineEvent } from './pair.ts';
import type { TrafficReport } from './traffic.ts';

export interface FaultResult extends TrafficReport {
  readonly fault: FaultName;
  readonly from: NodeName;
  readonly to: NodeName;
  /** When the fault began, monotonic milliseconds. */
  readonly faultAtMs: number;
  /** From the fault until the other node held the VIP. */
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
}

/**
 * Lets the active node fail under traffic and waits until the other one has taken over. Mends nothing.
 *
 * @param lingerMs watch the traffic for so long after the takeover, for figures that show what comes late
 */
export async function fail(
  pair: Pair,
  clients: Clients,
  fault: FaultName,
  lingerMs = 0,
): Promise<FaultResult> {
  const from = pair.active();
  const to = NODES.find((node) => node !== from)!;
  await pair.events();
  await clients.report();
  // Sync is asynchronous: what a client got in the last millisecond may die with the node.
  await pair.whole();
  const first = pair.ownership.changes.length;
  const faultAtMs = monotonicMs();
  await FAULTS[fault].inflict(pair, from);
  await pair.ownership.until(`${to} alone holds the VIP`, () => pair.ownership.holders().join() === to);
  await sleep(lingerMs);
  const report = await clients.report();
  const changes = pair.ownership.changes.slice(first);
  const gone = changes.find((change) => change.node === from && !change.held);
  const taken = changes.find((change) => change.node === to && change.held);
  return {
    ...report,
    fault,
    from,
    to,
    faultAtMs,
    takeoverMs: (taken?.atMs ?? Number.NaN) - faultAtMs,
    vipGoneMs: fault === 'power' || gone === undefined ? undefined : gone.atMs - faultAtMs,
    twoOwnersMs: twoOwnersMs([{ atMs: faultAtMs, node: from, held: true }, ...changes], monotonicMs()),
    holders: pair.ownership.holders(),
    neighbour: await pair.neighbour(),
    events: (await pair.events()).filter((event) => event.mono_ms >= faultAtMs),
  };
}

/** Mends what the fault broke and waits until the pair is whole again. */
export async function recover(pair: Pair, result: FaultResult): Promise<void> {
  await FAULTS[result.fault].recover(pair, result.from);
  await pair.whole();
}
