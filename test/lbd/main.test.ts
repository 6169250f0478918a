import { EventEmitter, once } from 'node:events';
import { appendFileSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { type ControlEvent, SOCKETS } from '../../common/control.ts';
import { until } from '../../scripts/lab/wait.ts';
import { freePort } from '../common/free-port.ts';
import { filesIn, tempDir } from '../common/temp-dir.ts';
import { HANGING, LbdProcess, origin, writeConfig } from './lbd-process.ts';

/** One frontend, one pool, one worker. */
function config(port: number, backends: Record<string, number>, more: readonly string[] = []): string[] {
  return [
    'workers: 1',
    'sessions: { capacity: 1024 }',
    'admin: { metrics: false }',
    'frontends:',
    `  web: { bind: ["127.0.0.1:${port}"], mode: http, pool: web }`,
    'pools:',
    '  web:',
    '    health: { type: tcp, interval: 1s }',
    '    backends:',
    ...Object.entries(backends).map(([name, at]) => `      ${name}: { address: "127.0.0.1:${at}" }`),
    ...more,
  ];
}

async function get(port: number): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  return `${answer.status} ${await answer.text()}`;
}

t.test('a packet full of pipelined requests to the metrics port is one request', async (t) => {
  const dir = tempDir(t);
  const [port, metrics] = [await freePort(), await freePort('127.0.0.2')];
  const a = await origin(t, (_req, res) => res.end('a'));
  const lines = config(port, { s1: a }).filter((line) => !line.startsWith('admin'));
  const lbd = new LbdProcess(t, dir, [
    '--config',
    writeConfig(dir, [...lines, `admin: { metrics: "127.0.0.2:${metrics}" }`]),
  ]);
  await lbd.logged(/^ready: 1 worker,/);
  for (const path of ['/metrics', '/v1/status']) {
    const socket =
      path === '/metrics' ? connect(metrics, '127.0.0.2') : connect(join(lbd.runDir, SOCKETS.lbd));
    const flood = text(socket);
    socket.write(`GET ${path} HTTP/1.1\r\n\r\n`.repeat(1985));
    t.match(await lbd.status(), { warnings: [] }, 'the control socket answers meanwhile');
    t.equal((await flood).match(/HTTP\/1\.1 200/g)?.length, 1);
  }
});

t.test('the life of an lbd: start, reload, refuse, drain, stop', async (t) => {
  const dir = tempDir(t);
  const port = await freePort();
  const a = await origin(t, (_req, res) => res.end('a'));
  const b = await origin(t, (_req, res) => res.end('b'));
  const file = writeConfig(dir, config(port, { s1: a }));
  const lbd = new LbdProcess(t, dir, ['--config', file]);
  await lbd.logged(/^ready: 1 worker,/);
  t.equal(await get(port), '200 a', 'the first client meets a backend that is known to be well');
  const status = await lbd.status();
  t.match(status, {
    config: { file },
    workers: { wanted: 1, running: 1, replaced: 0 },
    sync: { state: 'off', capacity: 1024 },
    frontends: { web: { bind: [`127.0.0.1:${port}`], requests: 1 } },
    pools: {
      web: { algorithm: 'round-robin', backends: { s1: { state: 'ready', requests: 1, errors: 0 } } },
    },
    warnings: [],
  });

  const second = await freePort();
  const more = [`  api: { backends: { a1: { address: "127.0.0.1:${b}" } }, health: { type: tcp } }`];
  const lines = config(port, { s1: a, s2: b }, more);
  lines.splice(5, 0, `  api: { bind: ["127.0.0.1:${second}"], mode: http, pool: api }`);
  writeConfig(dir, lines);
  lbd.child.kill('SIGHUP');
  t.match(
    await lbd.logged(/^reload: /),
    /is in force: frontend api added, pool web changed, pool api added$/,
  );
  t.equal(await get(second), '200 b', 'the new frontend serves');
  t.same([await get(port), await get(port)].sort(), ['200 a', '200 b'], 'the new backend serves');

  writeConfig(dir, [...lines, 'pols: {}']);
  lbd.child.kill('SIGHUP');
  t.match(await lbd.logged(/^reload refused/), /tandem\.yaml:\d+:1: .*pols/);
  t.match((await lbd.status()).config.reload_error, /pols/);
  t.match(await get(port), /^200/, 'the old config goes on');

  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const held = (taken.address() as { port: number }).port;
  writeConfig(
    dir,
    lines.map((line) => line.replace(String(second), String(held))),
  );
  lbd.child.kill('SIGHUP');
  t.match(await lbd.logged(/^reload refused/), /frontend api: cannot listen on .*another process/);
  t.equal(await get(second), '200 b', 'the old bind goes on');

  t.match(await lbd.call('POST', '/v1/backends/web/s1', { admin: 'drain' }), {
    admin: 'drain',
    state: 'draining',
  });
  t.same([await get(port), await get(port)], ['200 b', '200 b'], 'no new clients for a drained backend');
  await lbd.logged(/^web\/s1: draining → drained/);
  writeConfig(dir, lines);
  lbd.child.kill('SIGHUP');
  await lbd.logged(/^reload: /);
  t.match((await lbd.status()).pools.web?.backends.s1, { state: 'drained' }, 'a drain survives a reload');
  t.match(
    ((await lbd.call('GET', '/v1/events')) as ControlEvent[]).map((event) => event.kind),
    ['backend', 'start', 'backend', 'backend'],
  );

  lbd.child.kill('SIGTERM');
  t.same(await lbd.exited, { code: 0, signal: null });
  t.equal(await lbd.stderr, '');
  t.same(
    filesIn(lbd.runDir).toSorted(),
    ['state/admin-states.json', 'state/lbd/accepted.yaml'],
    'no socket stays behind',
  );
});

t.test('with direct_io false lbd serves by Node alone, and its status says so', async (t) => {
  const dir = tempDir(t);
  const port = await freePort();
  const a = await origin(t, (_req, res) => res.end('a'));
  const file = writeConfig(dir, config(port, { s1: a }, ['direct_io: false']));
  const lbd = new LbdProcess(t, dir, ['--config', file]);
  const told = 'direct_io is false: workers leave all reading and writing to Node';
  await lbd.logged(/^ready: 1 worker,/);
  await lbd.logged(new RegExp(`^${told}$`));
  t.equal(await get(port), '200 a');
  t.match(await lbd.status(), { warnings: [], notes: [told] });
});

t.test('a frontend that a reload takes out is in the status until its last client has gone', async (t) => {
  const dir = tempDir(t);
  const answers: ServerResponse[] = [];
  const slow = await origin(t, (_req, res) => answers.push(res.writeHead(200)));
  const port = await freePort();
  const file = writeConfig(dir, config(port, { s1: slow }));
  const lbd = new LbdProcess(t, dir, ['--config', file]);
  await lbd.logged(/^ready: 1 worker,/);
  const answer = get(port);
  await until('the request to come', () => answers.length > 0);
  writeConfig(
    dir,
    config(await freePort(), { s2: slow }).map((line) => line.replace('  web: { bind', '  shop: { bind')),
  );
  lbd.child.kill('SIGHUP');
  await lbd.logged(/^frontend web is gone; 1 still open, for 30s at most/);
  t.match((await lbd.status()).leaving, [
    { name: 'frontend web', connections: 1 },
    { name: 'backend web/s1', connections: 1 },
  ]);
  answers[0]!.end('late');
  t.equal(await answer, '200 late');
  await lbd.logged(/^frontend web: nothing is open any more/);
  t.strictSame((await lbd.status()).leaving, []);
});

t.test('drain, maint and weight outlive a restart, also one without warning', async (t) => {
  const dir = tempDir(t);
  const port = await freePort();
  const backend = await origin(t, (_req, res) => res.end('a'));
  const file = writeConfig(dir, config(port, { s1: backend, s2: backend, s3: backend, s4: backend }));
  const first = new LbdProcess(t, dir, ['--config', file]);
  await first.logged(/^ready/);
  const asked = Date.now();
  await first.call('POST', '/v1/backends/web/s1', { admin: 'drain' });
  await first.call('POST', '/v1/backends/web/s2', { admin: 'maint' });
  await first.call('POST', '/v1/backends/web/s3', { weight: 7 });
  const kept = join(first.runDir, 'state/admin-states.json');
  await until('the drain to be over, and on disk', () =>
    /web\/s1.*"drained":true/.test(readFileSync(kept, 'utf8')),
  );
  t.equal(statSync(kept).mode & 0o777, 0o600);
  first.child.kill('SIGKILL');
  await first.exited;

  const second = new LbdProcess(t, dir, ['--config', file]);
  await second.logged(/^admin states and weights of operators are in force again, of 3 backends$/);
  await second.logged(/^ready/);
  const { backends } = (await second.status()).pools.web!;
  t.match(backends, {
    s1: { admin: 'drain', state: 'drained' },
    s2: { admin: 'maint', state: 'maint' },
    s3: { admin: 'ready', state: 'ready', weight: 7 },
    s4: { admin: 'ready', admin_at: undefined },
  });
  t.ok(Math.abs(Date.parse(backends.s1!.admin_at!) - asked) < 60_000, 'and when it was said');
  await second.call('POST', '/v1/backends/web/s1', { admin: 'ready' });
  second.child.kill('SIGTERM');
  t.same(await second.exited, { code: 0, signal: null });
  t.match(readFileSync(kept, 'utf8'), /web\/s1","value":\{"admin":"ready"/, 'a stop writes what is new');
});

t.test('a file that was broken, or whose port is taken, does not keep lbd from a start', async (t) => {
  const dir = tempDir(t);
  const port = await freePort();
  const backend = await origin(t, (_req, res) => res.end('a'));
  const good = config(port, { s1: backend });
  const file = writeConfig(dir, good);
  const first = new LbdProcess(t, dir, ['--config', file]);
  await first.logged(/^ready/);
  const kept = join(first.runDir, 'state/lbd/accepted.yaml');
  await until('the config to be kept', () => existsSync(kept));
  const copy = `${readFileSync(file, 'utf8')}# accepted from ${JSON.stringify(file)}\n`;
  t.equal(readFileSync(kept, 'utf8'), copy);
  t.equal(statSync(kept).mode & 0o777, 0o600);
  first.child.kill('SIGKILL');
  await first.exited;

  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const { port: held } = taken.address() as { port: number };
  const more = `  api: { bind: ["127.0.0.1:${held}"], mode: http, pool: web }`;
  const cases: readonly (readonly [lines: readonly string[], why: string])[] = [
    [[...good, 'pols: {}'], 'tandem\\.yaml:\\d+:1: .*pols'],
    [good.toSpliced(5, 0, more), 'frontend api: cannot listen on .*another process'],
  ];
  for (const [lines, why] of cases) {
    writeConfig(dir, lines);
    const strict = new LbdProcess(t, dir, ['--config', file, '--strict']);
    t.match(await strict.exited, { code: 1 });
    t.match(await strict.stderr, new RegExp(why));

    const lbd = new LbdProcess(t, dir, ['--config', file]);
    const said = new RegExp(
      `^lbd did not load the config file at \\S+Z, what it accepted from ${file} .* ago, at \\S+Z, is in force: .*${why}`,
    );
    await lbd.logged(said);
    await lbd.logged(/^ready/);
    t.equal(await get(port), '200 a');
    const status = await lbd.status();
    t.match(status, { config: { reload_error: new RegExp(why) }, warnings: [said] });
    t.match(
      ((await lbd.call('GET', '/v1/events')) as ControlEvent[]).map(({ text }) => text).join('\n'),
      new RegExp(why),
    );
    t.equal(readFileSync(kept, 'utf8'), copy, 'what was not accepted is not kept');
    writeConfig(dir, good);
    lbd.child.kill('SIGHUP');
    await lbd.logged(/^reload: .* is unchanged: nothing to do$/);
    t.match(await lbd.status(), { config: { reload_error: undefined }, warnings: [] });
    lbd.child.kill('SIGTERM');
    await lbd.exited;
  }
});

t.test('SIGHUP during the start neither kills nor is lost', async (t) => {
  const dir = tempDir(t);
  const file = writeConfig(dir, config(await freePort(), { s1: 1 }));
  const lbd = new LbdProcess(t, dir, ['--config', file]);
  // Bit 0 of the signals that it catches.
  const caught = () =>
    /^SigCgt:\s*[0-9a-f]*([0-9a-f])$/m.exec(readFileSync(`/proc/${lbd.child.pid}/status`, 'utf8'));
  await until('its first line', () => (Number.parseInt(caught()![1]!, 16) & 1) !== 0);
  lbd.child.kill('SIGHUP');
  await lbd.logged(/^ready/);
  t.match(await lbd.logged(/^reload: /), /is unchanged: nothing to do$/);
});

t.test('a stop tells the agent, lets a request finish, and a second one does not wait', async (t) => {
  const dir = tempDir(t);
  const port = await freePort();
  const requests = new EventEmitter<{ request: [res: ServerResponse] }>();
  const backend = await origin(t, (_req, res) => requests.emit('request', res));
  const file = writeConfig(dir, config(port, { s1: backend }));
  const lbd = new LbdProcess(t, dir, ['--config', file]);
  await lbd.logged(/^ready/);
  const live = connect(join(lbd.runDir, SOCKETS.live));
  const states = createInterface(live)[Symbol.asyncIterator]();
  t.match(JSON.parse((await states.next()).value!), {
    type: 'state',
    ready: true,
    healthy: true,
    sync: 'off',
    why: '',
  });
  const arrived = once(requests, 'request');
  const request = get(port);
  const [answer] = await arrived;
  lbd.child.kill('SIGTERM');
  t.match(JSON.parse((await states.next()).value!), { type: 'state', ready: false, why: 'stopping' });
  answer.end('late');
  t.equal(await request, '200 late');
  t.same(await lbd.exited, { code: 0, signal: null });
  t.same(await states.next(), { value: undefined, done: true }, 'the agent sees the end');

  const other = new LbdProcess(t, dir, ['--config', file]);
  await other.logged(/^ready/);
  const hangs = once(requests, 'request');
  const hanging = get(port).catch(() => 'cut');
  await hangs;
  // The disk takes a while for so much.
  appendFileSync(file, '#'.repeat(900_000));
  other.child.kill('SIGHUP');
  await other.logged(/^reload: .* is unchanged/);
  other.child.kill('SIGTERM');
  await other.logged(/^stopping/);
  other.child.kill('SIGTERM');
  t.same(await other.exited, { code: 0, signal: null });
  t.equal(await hanging, 'cut');
  t.same(filesIn(other.runDir), ['state/lbd/accepted.yaml']);
  t.ok(
    readFileSync(join(other.runDir, 'state/lbd/accepted.yaml'), 'utf8').startsWith(
      readFileSync(file, 'utf8'),
    ),
    'what is in force is kept whole',
  );
});

t.test(
  'a request that hangs the only worker: the agent hears it, and another worker takes its place',
  async (t) => {
    const dir = tempDir(t);
    const port = await freePort();
    const backend = await origin(t, (_req, res) => res.end('a'));
    const lines = config(port, { s1: backend });
    const routes = 'routes: [{ match: { path: /hang }, pool: web }]';
    const file = writeConfig(
      dir,
      lines.map((line) => line.replace('mode: http,', `mode: http, ${routes},`)),
    );
    const lbd = new LbdProcess(t, dir, ['--config', file], undefined, HANGING);
    await lbd.logged(/^ready/);
    const live = connect(join(lbd.runDir, SOCKETS.live));
    t.teardown(() => live.destroy());
    const states = createInterface(live)[Symbol.asyncIterator]();
    t.match(JSON.parse((await states.next()).value!), { ready: true, serving: undefined });
    const hanging = fetch(`http://127.0.0.1:${port}/hang`).catch(() => 'cut');
    t.match(JSON.parse((await states.next()).value!), { serving: false, why: 'no worker answers' });
    t.match((await lbd.status()).warnings, [/^worker 0 does not answer$/], 'the main thread answers');
    await lbd.logged(/^worker 0 died .* did not answer for 1000 ms$/);
    t.equal(await hanging, 'cut');
    await lbd.logged(/^worker 0 is back$/);
    t.match(JSON.parse((await states.next()).value!), { ready: true, serving: undefined, why: '' });
    t.equal(await get(port), '200 a');
  },
);

t.test('what cannot start says why in one line, exits with 1 and leaves nothing', async (t) => {
  const dir = tempDir(t);
  const server = createServer().listen({ port: 0, host: '127.0.0.1', reusePort: true });
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  writeFileSync(join(dir, 'short'), 'too short', { mode: 0o600 });
  const free = await freePort();
  const cluster = [
    'cluster:',
    '  name: shop',
    '  secret_file: short',
    '  nodes: { lb1: { address: 127.0.0.1 }, lb2: { address: 127.0.0.2 } }',
    'ha: { vips: [{ address: 192.0.2.9/32, interface: lo }] }',
  ];
  const cases: [what: string, lines: string[], args: string[], expected: RegExp][] = [
    [
      'a bind that is taken',
      config(port, { s1: 1 }),
      [],
      /^lbd: frontend web: cannot listen on 127\.0\.0\.1:\d+: another process listens there .*\n$/,
    ],
    ['an unknown key', [...config(free, { s1: 1 }), 'pols: {}'], [], /^\S+tandem\.yaml:\d+:1: .*pols.*\n$/],
    [
      'a short secret',
      [...config(free, { s1: 1 }), ...cluster],
      ['--node', 'lb1'],
      /^lbd: the secret \S+short has 9 bytes, expected .*\n$/,
    ],
    [
      'an unknown node',
      [...config(free, { s1: 1 }), ...cluster],
      ['--node', 'lb3'],
      /^\S+tandem\.yaml:\d+:\d+: .*lb3.*\n$/,
    ],
  ];
  await Promise.all(
    cases.map(async ([what, lines, args, expected], i) => {
      const own = join(dir, `${i}.yaml`);
      writeFileSync(own, `${lines.join('\n')}\n`);
      const lbd = new LbdProcess(t, dir, ['--config', own, ...args], join(dir, `run${i}`));
      t.same(await lbd.exited, { code: 1, signal: null }, what);
      t.match((await lbd.stderr).replace(/^\S*\d\.yaml/, '/tandem.yaml'), expected, what);
    }),
  );
  t.same(
    filesIn(dir).filter((name) => name.endsWith('.sock')),
    [],
  );
});

t.test('wrong arguments exit with 2', async (t) => {
  const lbd = new LbdProcess(t, tempDir(t), ['--confg', 'x']);
  t.same(await lbd.exited, { code: 2, signal: null });
  t.match(await lbd.stderr, /^lbd: Unknown option '--confg'\nusage: lbd /);
});

t.test('a second lbd with the same run directory is refused, the first goes on', async (t) => {
  const dir = tempDir(t);
  const port = await freePort();
  const backend = await origin(t, (_req, res) => res.end('a'));
  const file = writeConfig(dir, config(port, { s1: backend }));
  const first = new LbdProcess(t, dir, ['--config', file]);
  await first.logged(/^ready/);
  const second = new LbdProcess(t, dir, ['--config', file]);
  t.same(await second.exited, { code: 1, signal: null });
  t.match(
    await second.stderr,
    /^lbd: another lbd runs with this run directory: \S+lbd\.sock answers [^\n]*\n$/,
  );
  t.equal(await get(port), '200 a');
  t.match(await first.status(), { workers: { running: 1 } });
});
