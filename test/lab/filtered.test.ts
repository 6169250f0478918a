import t from 'tap';
import { NODES, VIP } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { mislead } from '../../scripts/lab/neighbour.ts';
import { signalPid } from '../../scripts/lab/signals.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';

/** Nobody hurries. */
const TIMES = { timeout: 90_000 };

t.test(
  'a firewall between the nodes, which reach all others',
  { skip: skipLab(), timeout: 200_000 },
  async (t) => {
    const pair = await startPair(t);
    const { lab, ownership } = pair;
    const from = pair.active();
    const to = NODES.find((name) => name !== from)!;
    const both = [
      [from, to],
      [to, from],
    ] as const;
    const mends = await Promise.all(both.map(([one, other]) => lab.partition(one, other, 'ether type ip')));
    const mend = () => Promise.all(mends.map((each) => each()));
    t.teardown(mend);

    await t.test('the standby takes over, sees that the other one lives, and yields', TIMES, async (t) => {
      await ownership.until(`${to} to take over`, () => ownership.holders().length === 2);
      await ownership.until(`${to} to yield`, () => ownership.holders().join() === from);
      let why = '';
      await until(`${to} to wait`, async () => {
        const status = await pair.status(to);
        why = status.why;
        return status.role === 'standby' && why.includes(`answers for ${VIP}`);
      });
      // First why it yields, then why it waits: both name the other node and who answers.
      t.match(why, new RegExp(`\\b${from}\\b`));
      t.equal((await pair.status(from)).role, 'active');
      await mislead(lab, to);
      await until('clients to find it again', async () => (await pair.neighbour()) === from);
    });

    await t.test(
      'the other one dies: nobody answers any more, so the role is taken over',
      TIMES,
      async () => {
        for (const pid of pair.pids(from, 'agent')) signalPid(pid, 'SIGKILL');
        await ownership.until(`${to} to take over`, () => ownership.holders().join() === to);
      },
    );

    await mend();
    await pair.startNode(from);
    await pair.whole();
    t.equal(pair.active(), to);
  },
);
