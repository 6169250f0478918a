import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { LbdLink, type LinkReport } from '../../ha-agent/lbd-link.ts';
import { freePort } from '../common/free-port.ts';
import { tempDir } from '../common/temp-dir.ts';
import { LbdProcess, writeConfig } from '../lbd/lbd-process.ts';
import { FakeLbd } from './fake-lbd.ts';

interface Setup {
  readonly syncEnd: () => Promise<string>;
  readonly lbd: FakeLbd;
  readonly link: LbdLink;
  report(): Promise<LinkReport>;
  promoted(): Promise<string>;
  retired(): Promise<string>;
}

function setup(t: Test): Setup {
  const path = join(tempDir(t), 'lbd-live.sock');
  const bus = new EventEmitter();
  const link = new LbdLink(path, {
    onReport: (report) => bus.emit('report', report),
    onSyncEnd: (why) => bus.emit('sync end', why),
    onPromoted: (group, epoch) => bus.emit('promoted', `${group} ${epoch}`),
    onRetired: (group, epoch) => bus.emit('retired', `${group} ${epoch}`),
  });
  const lbd = new FakeLbd(path);
  t.teardown(async () => {
    link.close();
    await lbd.kill().catch(() => {});
  });
  return {
    lbd,
    link,
    report: async () => (await once(bus, 'report'))[0] as LinkReport,
    promoted: async () => (await once(bus, 'promoted'))[0] as string,
    syncEnd: async () => (await once(bus, 'sync end'))[0] as string,
    retired: async () => (await once(bus, 'retired'))[0] as string,
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
  link.tell('blue', 'active', 7);
  t.equal(await ready, 'blue 7');
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
  link.tell('blue', 'standby', 7, 'retiring');
  t.equal(await answer, 'blue 7');
  next = report();
  lbd.say({ type: 'state', ready: true, healthy: true, sync: 'synced', why: '', connections: { blue: 3 } });
  t.match(await next, { connections: { blue: 3 } });
  next = report();
  lbd.say({ type: 'state', ready: false, healthy: true, sync: 'synced', why: 'stopping', stopping: true });
  t.match(await next, { ready: false, healthy: true, stopping: true, connections: undefined });
});

t.test(
  'the end of the session sync is a sign of trouble with the peer; a sync that never was is none',
  async (t) => {
    const { lbd, link, report, syncEnd } = setup(t);
    await lbd.start();
    let next = report();
    link.connect();
    await next;
    const end = syncEnd();
    next = report();
    lbd.say({ type: 'state', ready: true, healthy: true, sync: 'connecting', why: 'lb2 closed the link' });
    t.match(await end, /session sync with it ended/);
    t.match(await next, { synced: false });
    let ends = 0;
    void syncEnd().then(() => ends++);
    next = report();
    lbd.say({ type: 'state', ready: true, healthy: true, sync: 'connecting', why: 'refused' });
    t.match(await next, { why: 'refused' });
    t.equal(ends, 0);
  },
);

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

t.test('an lbd that hangs, says one word and hangs again is dead again', async (t) => {
  const { lbd, link, report } = setup(t);
  await lbd.start();
  let next = report();
  link.connect();
  await next;
  lbd.answers = false;
  for (const _ of [1, 2]) {
    next = report();
    t.match(await next, { alive: false, why: /did not answer within \d+ ms/ });
    next = report();
    lbd.say({ type: 'state', ready: true, healthy: true, sync: 'synced', why: '' });
    t.match(await next, { alive: true });
  }
});

t.test('no worker that answers is as good as dead', async (t) => {
  const { lbd, link, report } = setup(t);
  await lbd.start();
  let next = report();
  link.connect();
  await next;
  next = report();
  const state = { type: 'state', ready: true, healthy: true, sync: 'synced' } as const;
  lbd.say({ ...state, why: 'no worker answers', serving: false });
  t.match(await next, { alive: false, why: 'no worker answers' });
  next = report();
  lbd.say({ ...state, why: '' });
  t.match(await next, { alive: true });
});

t.test('a real lbd that is stopped is dead, and alive when it goes on', async (t) => {
  const dir = tempDir(t);
  const pool = 'web: { backends: { s1: { address: "127.0.0.1:9" } }, health: { type: none } }';
  const file = writeConfig(dir, [
    'workers: 1',
    'admin: { metrics: false }',
    `frontends: { web: { bind: ["127.0.0.1:${await freePort()}"], mode: tcp, pool: web } }`,
    `pools: { ${pool} }`,
  ]);
  const lbd = new LbdProcess(t, dir, ['--config', file]);
  await lbd.logged(/^ready/);
  const reports: LinkReport[] = [];
  const bus = new EventEmitter();
  const link = new LbdLink(join(lbd.runDir, 'lbd-live.sock'), {
    onReport: (report) => {
      reports.push(report);
      bus.emit('report');
    },
    onSyncEnd: () => {},
    onPromoted: () => {},
    onRetired: () => {},
  });
  t.teardown(() => link.close());
  let next = once(bus, 'report');
  link.connect();
  await next;
  for (const _ of [1, 2]) {
    next = once(bus, 'report');
    lbd.child.kill('SIGSTOP');
    await next;
    t.match(reports.at(-1), { alive: false, why: /did not answer within 350 ms/ });
    next = once(bus, 'report');
    lbd.child.kill('SIGCONT');
    await next;
    t.match(reports.at(-1), { alive: true, ready: true });
  }
  next = once(bus, 'report');
  lbd.child.kill('SIGKILL');
  await next;
  t.match(reports.at(-1), { alive: false, why: 'its liveness socket was closed' });
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
