import type { Test } from 'tap';
import { Clients, type ClientsOptions } from '../../scripts/lab/clients.ts';
import { timelineText } from '../../scripts/lab/demo-text.ts';
import { FAULTS, type FaultName } from '../../scripts/lab/faults.ts';
import { NODES } from '../../scripts/lab/hosts.ts';
import { Lab } from '../../scripts/lab/lab.ts';
import { startOrigins } from '../../scripts/lab/origins.ts';
import { type AgentHelpers, Pair, type PairOptions } from '../../scripts/lab/pair.ts';
import { type FailOptions, type FaultResult, fail, recover, regained } from '../../scripts/lab/scenario.ts';
import { STICKY_KINDS } from '../../scripts/lab/sticky.ts';
import { HEARTBEAT_MS, LOAD, PATIENT } from './calm.ts';

/**
 * A pair with its backends in a lab of its own, until the test ends.
 *
 * @param prepare called, and waited for, once the hosts are there, before the pair starts; may have programs for the agents
 */
export async function startPair(
  t: Test,
  options: PairOptions = {},
  prepare: (lab: Lab) => AgentHelpers | undefined | Promise<undefined> = () => undefined,
): Promise<Pair> {
  const lab = await Lab.up();
  t.teardown(() => lab.down());
  await startOrigins(lab);
  const helpers = await prepare(lab);
  const pair = await Pair.start(lab, { heartbeatMs: HEARTBEAT_MS, ...options }, helpers);
  t.teardown(() => pair.close());
  return pair;
}

/** A fault, what is watched of it and the recovery, without the time that it lasts: far more than it takes. */
const FAULT_TIMEOUT_MS = 300_000;
/**
 * Each fault once, with traffic; asserts what must never happen, whatever the fault. One that goes wrong is mended
 * like the others, so that the next one meets a pair that is well.
 */
export async function eachFault(
  t: Test,
  pair: Pair,
  faults: readonly FaultName[],
  options: FailOptions & { readonly load?: ClientsOptions } = {},
  more: (t: Test, result: FaultResult) => Promise<void> = async () => {},
): Promise<void> {
  const timeout = (options.lastsMs ?? 0) + FAULT_TIMEOUT_MS;
  for (const name of faults)
    await t.test(`${name}: ${FAULTS[name].title}`, { timeout }, async (t) => {
      const clients = await Clients.start(
        pair.lab,
        FAULTS[name].unnoticed ? PATIENT : (options.load ?? LOAD),
      );
      try {
        const result = await fail(pair, clients, name, options).finally(() => clients.stop());
        holds(t, result);
        await more(t, result).finally(() => recover(pair, result));
        t.equal(pair.active(), result.to, 'the role stays where it is (preempt: false)');
        if (!t.passing()) t.comment(timelineText({ ...result, events: await pair.events() }));
      } finally {
        for (const node of NODES) await pair.startNode(node);
      }
    });
}

function holds(t: Test, result: FaultResult): void {
  const { fault, from, to, probe, sticky, keptAlive, changes = [] } = result;
  const { vip, twoOwners, unnoticed } = FAULTS[fault];
  t.ok(probe.requests > 0, 'there was traffic');
  for (const kind of STICKY_KINDS) {
    t.equal(sticky[kind].kept, sticky[kind].total, `${kind}: all clients have their backend`);
    t.strictSame(sticky[kind].examples, [], `${kind}: none ever had another`);
  }
  t.strictSame(result.holders, [to], 'exactly one node holds the VIP');
  t.equal(result.neighbour, to, 'the client sends to that node');
  if (vip === 'stays') t.strictSame(changes, [], 'the VIP did not move');
  if (!twoOwners) t.equal(result.twoOwnersMs, 0, 'never two owners');
  t.notOk(regained(result), `${from} did not take the VIP again`);
  if (unnoticed) {
    t.strictSame(probe.causes, {}, 'every new connection got a 200');
    t.strictSame(keptAlive.causes, [], 'no open connection broke');
  }
}
