import { once } from 'node:events';
import t from 'tap';
import { Clients } from '../../scripts/lab/clients.ts';
import { BACKENDS } from '../../scripts/lab/hosts.ts';
import { Lab } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { startOrigin } from '../../scripts/lab/origins.ts';
import { Pair } from '../../scripts/lab/pair.ts';
import { until } from '../../scripts/lab/wait.ts';
import { HEARTBEAT_MS, PATIENT } from './calm.ts';

t.test('maintenance under load', { skip: skipLab() }, async (t) => {
  const lab = await Lab.up();
  t.teardown(() => lab.down());
  const origins = new Map(
    await Promise.all(BACKENDS.map(async (name) => [name, await startOrigin(lab, name)] as const)),
  );
  const pair = await Pair.start(lab, { heartbeatMs: HEARTBEAT_MS });
  t.teardown(() => pair.close());
  const backend = async (name: string) => (await pair.lbdStatus(pair.active())).pools.web!.backends[name]!;

  /** Drains, restarts and readies one backend of pool web, as an operator does. */
  async function restart(name: (typeof BACKENDS)[number]): Promise<void> {
    const drained = await pair.lbctl(pair.active(), 'drain', `web/${name}`);
    t.equal(drained.code, 0, `drain ${name}: ${drained.stderr}`);
    await until(`${name} is idle`, async () => {
      const { active, state } = await backend(name);
      return active === 0 && state !== 'ready';
    });
    const origin = origins.get(name)!;
    const gone = once(origin, 'exit');
    origin.kill('SIGTERM');
    await gone;
    origins.set(name, await startOrigin(lab, name));
    const readied = await pair.lbctl(pair.active(), 'ready', `web/${name}`);
    t.equal(readied.code, 0, `ready ${name}: ${readied.stderr}`);
    await until(`${name} is ready`, async () => (await backend(name)).state === 'ready');
  }

  const load = () => Clients.start(lab, { ...PATIENT, sticky: 0, keptAlive: 40 });

  await t.test('a rolling restart of all backends loses no request', async (t) => {
    const clients = await load();
    for (const name of BACKENDS) await restart(name);
    const { probe, keptAlive } = await clients.report();
    await clients.stop();
    t.ok(probe.requests > 0, `${probe.requests} requests`);
    t.strictSame(probe.causes, {}, 'every new connection got a 200');
    t.strictSame(keptAlive.causes, [], 'every open connection stayed and got only 200');
  });

  await t.test('with a switchover in the middle, every answer is a 200', async (t) => {
    const clients = await load();
    const before = pair.active();
    await restart('s1');
    t.equal((await pair.lbctl(before, 'switchover')).code, 0);
    await pair.whole();
    t.not(pair.active(), before, 'the other node is active');
    await restart('s2');
    const { probe, keptAlive } = await clients.report();
    await clients.stop();
    const causes = [...Object.keys(probe.causes), ...keptAlive.causes];
    t.comment(
      `${probe.requests} new connections, ${probe.failures} not accepted; ${keptAlive.broken} broken`,
    );
    t.strictSame(
      causes.filter((cause) => cause.startsWith('status')),
      [],
      'no answer but 200',
    );
  });
});
