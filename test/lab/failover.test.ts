import t from 'tap';
import type { FaultName } from '../../scripts/lab/faults.ts';
import { INTERFACE, VIP } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { eachFault, startPair } from './fault-run.ts';
import { quiet } from './quiet.ts';

const FAULTS: readonly FaultName[] = ['cut', 'power', 'agent-kill', 'lb-kill', 'switchover'];

t.test('the active node fails under traffic', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t);
  const { lab } = pair;
  await eachFault(t, pair, FAULTS, {}, async (t, { fault, from }) => {
    if (fault === 'power') return;
    const addresses = await lab.exec(from, ['ip', 'addr', 'show', 'dev', INTERFACE]);
    t.notMatch(addresses, `inet ${VIP}/`, 'the kernel of the faulty node does not have the VIP');
  });

  await t.test('a graceful stop leaves nothing behind', async (t) => {
    await pair.stop();
    for (const node of ['lb1', 'lb2'] as const) {
      await quiet(lab, node);
      t.notMatch(await lab.exec(node, ['ip', 'addr', 'show']), `inet ${VIP}/`, `${node}: no VIP`);
      t.equal((await lab.exec(node, ['nft', 'list', 'ruleset'])).trim(), '', `${node}: no rule`);
    }
  });
});
