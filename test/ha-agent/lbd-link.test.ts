import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { LbdReport } from '../../ha-agent/election-types.ts';
import { LbdLink } from '../../ha-agent/lbd-link.ts';
import { tempDir } from '../common/temp-dir.ts';
import { FakeLbd } from './fake-lbd.ts';

interface Setup {
  readonly lbd: FakeLbd;
  readonly link: LbdLink;
  report(): Promise<LbdReport>;
  promoted(): Promise<number>;
  retired(): Promise<number>;
}

function setup(t: Test): Setup {
  const path = join(tempDir(t), 'lbd-live.sock');
  const bus = new EventEmitter();
  const link = new LbdLink(path, {
    onReport: (report) => bus.emit('report', report),
    onPromoted: (epoch) => bus.emit('promoted', epoch),
    onRetired: (epoch) => bus.emit('retired', epoch),
  });
  const lbd = new FakeLbd(path);
  t.teardown(async () => {
    link.close();
    await lbd.kill().catch(() => {});
  });
  return {
    lbd,
    link,
    report: async () => (await once(bus, 'report'))[0] as LbdReport,
    promoted: async () => (await once(bus, 'promoted'))[0] as number,
    retired: async () => (await once(bus, 'retired'))[0] as number,
  };
}

t.test('an lbd that does not run, starts, gets a role and is killed', async (t) => {
  const { lbd, link, report, promoted } = setup(t);
  let next = report();
  link.connect();
  t.match(await next, { alive: false, why: 'it does not run' });
  next = report();
  await lbd.start();
  t.match(await next, { alive: true, ready: true, healthy: true, synced: true });
  const ready = promoted();
  link.tell('active', 7);
  t.equal(await ready, 7);
  t.same(lbd.heard[0], { type: 'role', role: 'init', epoch: 0 }, 'told after every connect');
  next = report();
  lbd.say({ type: 'state', ready: true, healthy: false, sync: 'connecting', why: 'no backend' });
  t.match(await next, { alive: true, healthy: false, synced: false, why: 'no backend' });
  next = report();
  await lbd.kill();
  t.match(await next, { alive: false, why: 'its liveness socket was closed' });
});

t.test('an lbd that retires says so, and how many connections are left', async (t) => {
  const { lbd, link, report, retired } = setup(t);
  await lbd.start();
  let next = report();
  link.connect();
  await next;
  const answer = retired();
  link.tell('standby', 7, 'retiring');
  t.equal(await answer, 7);
  next = report();
  lbd.say({ type: 'state', ready: true, healthy: true, sync: 'synced', why: '', connections: 3 });
  t.match(await next, { connections: 3 });
  next = report();
  lbd.say({ type: 'state', ready: false, healthy: true, sync: 'synced', why: 'stopping', stopping: true });
  t.match(await next, { ready: false, healthy: true, stopping: true, connections: undefined });
});

t.test('an lbd that hangs is dead', async (t) => {
  const { lbd, link, report } = setup(t);
  await lbd.start();
  let next = report();
  link.connect();
  await next;
  next = report();
  lbd.answers = false;
  t.match(await next, { alive: false, why: /did not answer within \d+ ms/ });
  t.equal(lbd.heard.at(-1)?.type, 'ping');
});

const NONSENSE: readonly (readonly [name: string, text: string])[] = [
  ['not JSON', 'hello\n'],
  ['another type', '{"type":"hello"}\n'],
  ['a state without fields', '{"type":"state"}\n'],
  ['null', 'null\n'],
  ['an endless line', 'x'.repeat(5000)],
];

for (const [name, text] of NONSENSE)
  t.test(`nonsense counts as dead: ${name}`, async (t) => {
    const { lbd, link, report } = setup(t);
    await lbd.start();
    let next = report();
    link.connect();
    await next;
    next = report();
    lbd.sayRaw(text);
    t.match(await next, { alive: false, why: /does not speak the liveness protocol/ });
  });
