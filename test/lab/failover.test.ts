import t from 'tap';
import { Clients } from '../../scripts/lab/clients.ts';
import { FAULT_NAMES, FAULTS } from '../../scripts/lab/faults.ts';
import { INTERFACE, VIP } from '../../scripts/lab/hosts.ts';
import { Lab } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { startOrigins } from '../../scripts/lab/origins.ts';
import { Pair } from '../../scripts/lab/pair.ts';
import { fail, recover } from '../../scripts/lab/scenario.ts';
import { STICKY_KINDS } from '../../scripts/lab/sticky.ts';
import { quiet } from './quiet.ts';

t.test('the active node fails under traffic', { skip: skipLab() }, async (t) => {
  const lab = await Lab.up();
  t.teardown(() => lab.down());
  await startOrigins(lab);
  const pair = await Pair.start(lab);
  t.teardown(() => pair.close());

  for (const fault of FAULT_NAMES)
    await t.test(`${fault}: ${FAULTS[fault].title}`, async (t) => {
      const clients = await Clients.start(lab);
      const result = await fail(pair, clients, fault);
      await clients.stop();

      t.ok(result.probe.requests > 0, 'there was traffic');
      for (const kind of STICKY_KINDS) {
        t.equal(
          result.sticky[kind].kept,
          result.sticky[kind].total,
          `${kind}: all clients have their backend`,
        );
        t.strictSame(result.sticky[kind].examples, [], `${kind}: none ever had another`);
      }
      t.strictSame(result.holders, [result.to], 'exactly one node holds the VIP');
      t.equal(result.neighbour, result.to, 'the client sends to that node');
      t.equal(result.twoOwnersMs, 0, 'never two owners');
      if (fault !== 'power')
        t.notMatch(
          await lab.exec(result.from, ['ip', 'addr', 'show', 'dev', INTERFACE]),
          `inet ${VIP}/`,
          'the kernel of the faulty node does not have the VIP',
        );

      await recover(pair, result);
      t.equal(pair.active(), result.to, 'the role stays where it is (preempt: false)');
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
