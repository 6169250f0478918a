import t, { type Test } from 'tap';
import type { FaultName } from '../../scripts/lab/faults.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import type { PairConfigOptions } from '../../scripts/lab/pair-config.ts';
import { eachFault, startPair } from './fault-run.ts';

/** Those that go on wake up while they are watched: they must serve nothing then. */
const HANGS: readonly FaultName[] = ['agent-stop', 'lb-stop', 'node-stop'];
/** The kill of the agent after that of the guardian: the new one guards. */
const FENCING: readonly FaultName[] = ['guardian-kill', 'agent-kill', 'both-kill', 'ip-fails'];
/** The kernel gives a starved process some milliseconds a second: a node is to be dead before that. */
const STARVED_HEARTBEAT_MS = 200;
/** Shorter than in life; the other node has taken over before, however long that takes. */
const LASTS_MS = 800;

/** @param t with the faults as its subtests */
async function hang(t: Test, faults: readonly FaultName[], options: PairConfigOptions = {}): Promise<void> {
  const pair = await startPair(t, options);
  await eachFault(t, pair, faults, { lastsMs: LASTS_MS }, async (t, { from, to }) => {
    const other = await pair.status(to);
    t.equal(other.role, 'active', `${to} stays active`);
    t.not((await pair.status(from)).role, 'active', `${from} knows that it is not active`);
  });
}

t.test('processes hang and wake up', { skip: skipLab() }, (t) => hang(t, HANGS));

t.test('processes starve and recover', { skip: skipLab() }, (t) =>
  hang(t, ['starve'], { heartbeatMs: STARVED_HEARTBEAT_MS }),
);

t.test('what keeps the VIP on one node fails', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t);
  await eachFault(t, pair, FENCING);
});
