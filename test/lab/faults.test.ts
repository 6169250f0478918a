import t from 'tap';
import type { FaultName } from '../../scripts/lab/faults.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { eachFault, startPair } from './fault-run.ts';

/** Those that go on wake up while they are watched: they must serve nothing then. */
const HANGS: readonly FaultName[] = ['agent-stop', 'lb-stop', 'node-stop', 'starve'];
/** The kill of the agent after that of the guardian: the new one guards. */
const FENCING: readonly FaultName[] = ['guardian-kill', 'agent-kill', 'both-kill', 'ip-fails'];
/** Shorter than in life; the other node has taken over before, however long that takes. */
const LASTS_MS = 800;

t.test('processes hang, starve and wake up', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t);
  await eachFault(t, pair, HANGS, { lastsMs: LASTS_MS }, async (t, { from, to }) => {
    const other = await pair.status(to);
    t.equal(other.role, 'active', `${to} stays active`);
    t.not((await pair.status(from)).role, 'active', `${from} knows that it is not active`);
  });
});

t.test('what keeps the VIP on one node fails', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t);
  await eachFault(t, pair, FENCING);
});
