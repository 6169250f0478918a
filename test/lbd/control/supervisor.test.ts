import { EventEmitter, on } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { Supervisor } from '../../../lbd/control/supervisor.ts';
import { SessionTable } from '../../../lbd/session/table.ts';
import type { Plan } from '../../../lbd/shared/plan.ts';
import { createSharedBuffers, SharedState } from '../../../lbd/shared/shared.ts';
import { testConfig } from './test-config.ts';

const THROW = 1;
const EXIT = 2;
/** Only worker 0. */
const HANG = 3;

function plan(...slots: string[]): Plan {
  return {
    config: testConfig(),
    slots: Object.fromEntries(slots.map((name, i) => [name, i])),
    frontendRows: {},
  };
}

/** A supervisor of stub workers, and all that it says in order. */
function setUp(t: Test, node: string, count = 1) {
  const news = new EventEmitter();
  const stream = new PassThrough();
  stream.on('data', (line) => {
    const { worker, msg } = JSON.parse(line);
    news.emit('news', `log ${worker}: ${msg}`);
  });
  const shared = createSharedBuffers(count);
  const control = new SharedState(shared, -1);
  const supervisor = new Supervisor({
    count,
    entry: new URL('./stub-worker.ts', import.meta.url),
    workerData: {
      shared,
      sessions: new SharedArrayBuffer(8),
      hashKey: new Uint32Array(4),
      logLevel: 'info',
      node,
      directIo: true,
    },
    log: pino(stream),
    tell: (text) => news.emit('news', text),
    onGone: (index) => news.emit('news', `gone ${index}`),
    beats: (index) => control.beats(index),
    onServing: () => news.emit('news', supervisor.serving ? 'serves' : 'serves no more'),
  });
  t.teardown(() => supervisor.stop(0));
  const heard = on(news, 'news');
  const next = async (): Promise<string> => (await heard.next()).value![0];
  /** Waits for a piece of news; everything up to it. */
  const until = async (pattern: RegExp): Promise<string[]> => {
    const lines: string[] = [];
    do lines.push(await next());
    while (!pattern.test(lines.at(-1)!));
    return lines;
  };
  return { supervisor, next, until };
}

t.test('starts all workers and stops them', async (t) => {
  const { supervisor } = setUp(t, 'well', 2);
  t.same(supervisor.status, { wanted: 2, running: 0, replaced: 0 });
  await supervisor.start(plan());
  t.same(supervisor.status, { wanted: 2, running: 2, replaced: 0 });
  t.same(supervisor.warnings(), []);
  await supervisor.stop(60_000);
});

for (const [node, message] of [
  ['throws', /^worker 0: frontend web: the address is taken$/],
  ['cannot bind', /^frontend web: taken$/],
] as const)
  t.test(`a start that fails is one line: ${node}`, async (t) => {
    const { supervisor } = setUp(t, node, 2);
    await t.rejects(supervisor.start(plan()), { code: 'WORKER', message });
    t.equal(supervisor.status.running, 0);
    t.equal(supervisor.status.replaced, 0);
  });

t.test('a plan goes to all, and what they cannot do comes back once', async (t) => {
  const { supervisor, until } = setUp(t, 'well');
  await supervisor.start(plan());
  t.same(await supervisor.update(plan('web/s1')), []);
  t.match(await until(/plan of web\/s1/), [/^log 0: plan of web\/s1$/]);
  t.same(await supervisor.update(plan('bad')), ['frontend bad: taken']);
});

t.test('a cut goes to all', async (t) => {
  const { supervisor, next } = setUp(t, 'well', 2);
  await supervisor.start(plan());
  supervisor.cut(7);
  t.same([await next(), await next()].sort(), ['log 0: cut 7', 'log 1: cut 7']);
});

t.test('addresses go to all, and to a worker that takes the place of another one', async (t) => {
  const { supervisor, next, until } = setUp(t, 'well', 2);
  await supervisor.start(plan());
  supervisor.readdress({ 'web/s1 a.test:80': ['10.0.0.1'] });
  const text = '{"web/s1 a.test:80":["10.0.0.1"]}';
  t.same([await next(), await next()].sort(), [`log 0: is at ${text}`, `log 1: is at ${text}`]);
  supervisor.cut(EXIT);
  await until(/begins at/).then((lines) => t.match(lines.at(-1), `begins at ${text}`));
});

for (const [how, slot, cause] of [
  ['throws', THROW, 'boom'],
  ['exits', EXIT, 'it exited with code 3'],
] as const)
  t.test(`a worker that ${how} is released, told and replaced`, async (t) => {
    const { supervisor, until } = setUp(t, 'well');
    await supervisor.start(plan('web/s1'));
    supervisor.cut(slot);
    const lines = await until(/^worker 0 died/);
    t.equal(lines.at(-2), 'gone 0', 'released before anything else');
    t.match(lines.at(-1), new RegExp(`^worker 0 died after \\d+ ms: ${cause}$`));
    t.match(supervisor.warnings(), [`worker 0 does not run: ${cause}`]);
    t.equal(supervisor.status.running, 0);
    await until(/^worker 0 is back$/);
    t.same(supervisor.status, { wanted: 1, running: 1, replaced: 1 });
    t.same(supervisor.warnings(), []);
    t.same(await supervisor.update(plan('web/s2')), [], 'the new one takes plans');
  });

t.test('a worker that hangs is noticed, ended and replaced', async (t) => {
  const { supervisor, until } = setUp(t, 'well');
  await supervisor.start(plan());
  supervisor.cut(HANG);
  t.same(await until(/^serves/), ['serves no more'], 'told long before anything is done about it');
  t.same(supervisor.warnings(), ['worker 0 does not answer']);
  const lines = await until(/^worker 0 died/);
  t.equal(lines[0], 'gone 0');
  t.match(lines.at(-1), /it did not answer for 1000 ms$/);
  t.match(await until(/^serves/), [/^worker 0 is back$/, /^serves$/]);
  t.same(supervisor.warnings(), []);
  t.same(supervisor.status, { wanted: 1, running: 1, replaced: 1 });
});

t.test('while another worker answers, this node serves', async (t) => {
  const { supervisor, until } = setUp(t, 'well', 2);
  await supervisor.start(plan());
  supervisor.cut(HANG);
  const lines = await until(/^worker 0 is back$/);
  t.notMatch(lines.join(), /serves/);
  t.ok(supervisor.serving);
});

t.test('a plan that meets a dying worker does not hang', async (t) => {
  const { supervisor, until } = setUp(t, 'well');
  await supervisor.start(plan());
  supervisor.cut(EXIT);
  t.same(await supervisor.update(plan('web/s1')), ['worker 0: it exited with code 3']);
  await until(/^worker 0 is back$/);
});

t.test('a worker that died is not replaced after the stop', async (t) => {
  const { supervisor, until } = setUp(t, 'well');
  await supervisor.start(plan());
  supervisor.cut(EXIT);
  await until(/^worker 0 died/);
  await supervisor.stop(60_000);
  t.equal(supervisor.status.replaced, 0);
});

/** What the kernel keeps for this process beside its sockets and files: descriptors, and maps of memory. */
function kept(): { descriptors: string[]; maps: number } {
  const descriptors = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      // The one by which the directory was read.
      return [];
    }
  });
  return {
    descriptors: descriptors.filter((it) => /io_uring|eventpoll/.test(it)).toSorted(),
    maps: readFileSync('/proc/self/maps', 'latin1').match(/io_uring/g)?.length ?? 0,
  };
}

t.test('a worker that is gone leaves no descriptor and no map behind', async (t) => {
  const shared = createSharedBuffers(1);
  const control = new SharedState(shared, -1);
  const before = kept();
  const supervisor = new Supervisor({
    count: 1,
    entry: new URL('../../../lbd/worker.ts', import.meta.url),
    workerData: {
      shared,
      sessions: SessionTable.create(1024),
      hashKey: new Uint32Array(4),
      logLevel: 'info',
      node: 'lb1',
      directIo: true,
    },
    log: pino(new PassThrough()),
    tell: () => {},
    onGone: () => {},
    beats: (index) => control.beats(index),
    onServing: () => {},
  });
  const config = { ...testConfig(), frontends: [], pools: [] };
  await supervisor.start({ config, slots: {}, frontendRows: {} });
  t.ok(kept().descriptors.length > before.descriptors.length, 'it has some');
  await supervisor.stop(0);
  t.same(kept(), before);
});
