import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { SOCKETS } from '../../common/control.ts';
import { LbdLink, type LbdLinkEvents, type LinkReport } from '../../ha-agent/lbd-link.ts';
import { freePort } from '../common/free-port.ts';
import { tempDir } from '../common/temp-dir.ts';
import { LbdProcess, writeConfig } from '../lbd/lbd-process.ts';
import { FakeLbd } from './fake-lbd.ts';
import { passFile, startSleeper } from './stat-of.ts';

/** Where the processes of other users are not to be seen. */
const HIDDEN = '/nonexistent';

/** A link, and what it said. */
class Heard {
  readonly link: LbdLink;
  readonly reports: LinkReport[] = [];
  readonly #bus = new EventEmitter();

  constructor(t: Test, path: string, proc?: string) {
    const events: LbdLinkEvents = {
      onReport: (report) => {
        this.reports.push(report);
        this.#bus.emit('report', report);
      },
      onSyncEnd: (why) => this.#bus.emit('sync end', why),
      onPromoted: (group, epoch) => this.#bus.emit('promoted', `${group} ${epoch}`),
      onRetired: (group, epoch) => this.#bus.emit('retired', `${group} ${epoch}`),
      onLate: (text) => this.#bus.emit('late', text),
      onUnseen: (why) => this.#bus.emit('unseen', why),
      onHeartbeat: (datagram) => this.#bus.emit('heartbeat', datagram.toString()),
      onCarriage: ({ up, why }) => this.#bus.emit('carriage', up ? 'up' : why),
    };
    this.link = new LbdLink(path, events, proc);
    t.teardown(() => this.link.close());
  }

  /** The next report, told before what brings it is done. */
  async report(): Promise<LinkReport> {
    return (await once(this.#bus, 'report'))[0] as LinkReport;
  }

  /** The next text of another kind. */
  async next(
    kind: 'sync end' | 'promoted' | 'retired' | 'late' | 'unseen' | 'heartbeat' | 'carriage',
  ): Promise<string> {
    return (await once(this.#bus, kind))[0] as string;
  }

  /** Waits until the latest report says so, whatever others said before. */
  async until(alive: boolean, why: RegExp): Promise<LinkReport> {
    for (;;) {
      const latest = this.reports.at(-1);
      if (latest?.alive === alive && why.test(latest.why)) return latest;
      await this.report();
    }
  }
}

function setup(t: Test, proc?: string) {
  const directory = tempDir(t);
  const path = join(directory, 'lbd-live.sock');
  const heard = new Heard(t, path, proc);
  const lbd = new FakeLbd(path);
  t.teardown(() => lbd.kill().catch(() => {}));
  return { lbd, heard, link: heard.link, statPath: join(directory, 'lbd-stat.sock') };
}

/** The same with an lbd that runs, which the link has found. */
async function connected(t: Test, proc?: string): Promise<ReturnType<typeof setup>> {
  const both = setup(t, proc);
  await both.lbd.start();
  const first = both.heard.report();
  both.link.connect();
  await first;
  return both;
}

t.test('an lbd that does not run, starts, gets a role and is killed', async (t) => {
  const { lbd, link, heard } = setup(t);
  let next = heard.report();
  link.connect();
  t.match(await next, { alive: false, why: 'it does not run' });
  next = heard.report();
  await lbd.start();
  t.match(await next, { alive: true, ready: true, healthy: true, synced: true });
  const ready = heard.next('promoted');
  link.tell('blue', 'active', 7);
  t.equal(await ready, 'blue 7');
  next = heard.report();
  lbd.say({ type: 'state', ready: true, healthy: false, sync: 'connecting', why: 'no backend' });
  t.match(await next, { alive: true, healthy: false, synced: false, why: 'no backend' });
  next = heard.report();
  await lbd.kill();
  t.match(await next, { alive: false, why: 'its liveness socket was closed' });
});

t.test('an lbd that retires says so, and how many connections are left', async (t) => {
  const { lbd, heard, link } = await connected(t);
  const answer = heard.next('retired');
  link.tell('blue', 'standby', 7, 'retiring');
  t.equal(await answer, 'blue 7');
  let next = heard.report();
  lbd.say({ type: 'state', ready: true, healthy: true, sync: 'synced', why: '', connections: { blue: 3 } });
  t.match(await next, { connections: { blue: 3 } });
  next = heard.report();
  lbd.say({ type: 'state', ready: false, healthy: true, sync: 'synced', why: 'stopping', stopping: true });
  t.match(await next, { ready: false, healthy: true, stopping: true, connections: undefined });
});

t.test(
  'the end of the session sync is a sign of trouble with the peer; a sync that never was is none',
  async (t) => {
    const { lbd, heard } = await connected(t);
    const end = heard.next('sync end');
    let next = heard.report();
    lbd.say({ type: 'state', ready: true, healthy: true, sync: 'connecting', why: 'lb2 closed the link' });
    t.match(await end, /session sync with it ended/);
    t.match(await next, { synced: false });
    let ends = 0;
    void heard.next('sync end').then(() => ends++);
    next = heard.report();
    lbd.say({ type: 'state', ready: true, healthy: true, sync: 'connecting', why: 'refused' });
    t.match(await next, { why: 'refused' });
    t.equal(ends, 0);
  },
);

t.test('a long reason, such as of an outage of 1,500 pools, does not make lbd count as dead', async (t) => {
  const { lbd, heard, link } = await connected(t);
  const names = Array.from({ length: 1_500 }, (_, i) => `a-pool-with-a-name-of-forty-characters-${i}`);
  const why = `no pool takes clients: ${names.join(', ')}`;
  const state = { type: 'state', ready: true, healthy: false, sync: 'synced', pid: process.pid } as const;
  const next = heard.report();
  lbd.say({ ...state, why, heartbeats: { up: false, why } });
  const report = await next;
  t.match(report, { alive: true, healthy: false, why: /^no pool takes clients: a-pool-.*…$/ });
  t.ok(report.why.length < 1_000, 'what is shown and kept is short');
  t.ok(link.carriage.why.length < 1_000);
});

t.test('a line without an end is not kept for ever', async (t) => {
  const { lbd, heard } = await connected(t);
  const end = heard.until(false, /does not speak the liveness protocol: a line has more than \d+ characters/);
  lbd.sayRaw(`{"type":"state","why":"${'x'.repeat(1_000_000)}`);
  t.match(await end, { alive: false });
});

t.test('heartbeats are carried by an lbd that offers it, and by no other', async (t) => {
  const { lbd, link, heard } = await connected(t);
  t.match(link.carriage, { up: false });
  t.notOk(link.carry(Buffer.from('signed')), 'one of the last release would end the connection');
  const state = {
    type: 'state',
    ready: true,
    healthy: true,
    sync: 'synced',
    why: '',
    pid: process.pid,
  } as const;
  let next = heard.next('carriage');
  lbd.say(state);
  t.equal(await next, 'lbd is an older release, or syncs no sessions');
  next = heard.next('carriage');
  lbd.say({ ...state, heartbeats: { up: false, why: 'no peer yet' } });
  t.equal(await next, 'no peer yet');
  t.notOk(link.carry(Buffer.from('signed')));
  next = heard.next('carriage');
  lbd.say({ ...state, heartbeats: { up: true, why: '' } });
  t.equal(await next, 'up');
  t.ok(link.carry(Buffer.from('signed')));
  next = heard.next('heartbeat');
  lbd.say({ type: 'heartbeat', data: Buffer.from('answer').toString('base64'), at: 0 });
  t.equal(await next, 'answer');
  const promoted = heard.next('promoted');
  link.tell('blue', 'active', 3);
  await promoted;
  t.match(
    lbd.heard.filter(({ type }) => type === 'heartbeat'),
    [{ data: Buffer.from('signed').toString('base64') }],
  );
  next = heard.next('carriage');
  await lbd.kill();
  t.equal(await next, 'lbd is not connected');
});

t.test('an lbd that hangs is dead', async (t) => {
  const { lbd, heard } = await connected(t);
  const next = heard.report();
  lbd.answers = false;
  t.match(await next, { alive: false, why: /did not answer within \d+ ms/ });
  t.equal(lbd.heard.at(-1)?.type, 'ping');
});

t.test('an lbd that hangs, says one word and hangs again is dead again', async (t) => {
  const { lbd, heard } = await connected(t);
  lbd.answers = false;
  for (const _ of [1, 2]) {
    let next = heard.report();
    t.match(await next, { alive: false, why: /did not answer within \d+ ms/ });
    next = heard.report();
    lbd.say({ type: 'state', ready: true, healthy: true, sync: 'synced', why: '' });
    t.match(await next, { alive: true });
  }
});

/**
 * An lbd that does not answer any more, with a process that goes on.
 *
 * @param proc where its process is looked for; hidden: it is seen by its descriptor alone
 */
async function late(t: Test, proc?: string) {
  const both = await connected(t, proc);
  const process = startSleeper(t);
  if (proc === HIDDEN) await passFile(t, both.statPath, `/proc/${process.pid}/stat`);
  const next = both.heard.report();
  both.lbd.say({ type: 'state', ready: true, healthy: true, sync: 'synced', why: 'said', pid: process.pid });
  await next;
  const said = both.heard.next('late');
  both.lbd.answers = false;
  t.equal(await said, 'it runs, but has not answered for 350 ms');
  t.match(both.heard.reports.at(-1), {
    alive: true,
    ready: true,
    why: 'it runs, but has not answered for 350 ms',
  });
  return { ...both, process };
}

t.test('an lbd that is late but runs is not dead, and in time again when it says a word', async (t) => {
  const { lbd, heard } = await late(t);
  const said = heard.next('late');
  lbd.answers = true;
  lbd.say({ type: 'pong', id: 0 });
  t.match(await said, /^it answers again, after \d+ ms$/);
  t.match(heard.reports.at(-1), { alive: true, why: 'said' });
});

t.test('an lbd that runs and never answers hangs', async (t) => {
  const { heard } = await late(t);
  await heard.until(false, /^it runs, but did not answer within 2000 ms$/);
});

for (const proc of [undefined, HIDDEN])
  t.test(
    `an lbd that is stopped while it is late is dead${proc ? ', of another user too' : ''}`,
    async (t) => {
      const { heard, process } = await late(t, proc);
      process.kill('SIGSTOP');
      await heard.until(false, /^it did not answer within 350 ms$/);
    },
  );

t.test('an lbd that cannot be seen and is late counts as stopped, and that is said', async (t) => {
  const { lbd, link, heard } = await connected(t, HIDDEN);
  lbd.say({ type: 'state', ready: true, healthy: true, sync: 'synced', why: '', pid: startSleeper(t).pid });
  t.match(await heard.next('unseen'), /^the process of lbd is hidden \(/);
  t.match(link.warnings, [/^the process of lbd is hidden \(/]);
  lbd.answers = false;
  await heard.until(false, /^it did not answer within 350 ms$/);
});

t.test('no worker that answers is as good as dead', async (t) => {
  const { lbd, heard } = await connected(t);
  let next = heard.report();
  const state = { type: 'state', ready: true, healthy: true, sync: 'synced' } as const;
  lbd.say({ ...state, why: 'no worker answers', serving: false });
  t.match(await next, { alive: false, why: 'no worker answers' });
  next = heard.report();
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
  const heard = new Heard(t, join(lbd.runDir, SOCKETS.live));
  heard.link.connect();
  t.match(await heard.until(true, /^$/), { ready: true });
  for (const _ of [1, 2]) {
    lbd.child.kill('SIGSTOP');
    await heard.until(false, /did not answer within 350 ms/);
    lbd.child.kill('SIGCONT');
    t.match(await heard.until(true, /^$/), { ready: true });
  }
  lbd.child.kill('SIGKILL');
  await heard.until(false, /^its liveness socket was closed$/);
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
    const { lbd, heard } = await connected(t);
    const next = heard.report();
    lbd.sayRaw(text);
    t.match(await next, { alive: false, why: /does not speak the liveness protocol/ });
  });
