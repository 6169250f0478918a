import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import t, { type Test } from 'tap';
import {
  type AgentStatus,
  type BackendStatus,
  type ControlEvent,
  type GroupStatus,
  type LbdStatus,
  SOCKETS,
} from '../../common/control.ts';
import { ControlError, type ControlRoute, serveControl } from '../../common/control-server.ts';
import { printable } from '../../common/printable.ts';
import { freePort } from '../common/free-port.ts';
import { tempDir } from '../common/temp-dir.ts';

// Most of the time goes into starting processes.
t.jobs = 4;

const LBCTL = join(import.meta.dirname, '../../scripts/lbctl.ts');

const BACKEND: BackendStatus = {
  ...{ address: '10.0.0.1:80', state: 'ready', health: 'healthy', admin: 'ready', active: 2, weight: 3 },
  ...{ why: 'answered 200', since_ms: 65_000, requests: 10, errors: 1, latency_ms: 1.25 },
  ...{ failing_checks: [], checks: [] },
};

const LBD: LbdStatus = {
  ...{ node: 'lb1', version: '0.1.0', pid: 42, uptime_ms: 3_700_000 },
  runtime: { name: 'Node', version: '26.1.0', openssl: '3.5.8' },
  config: { file: '/f', digest: 'abcdef0123456789', reload_error: undefined },
  workers: { wanted: 2, running: 2, replaced: 0 },
  sync: { state: 'synced', entries: 5, capacity: 1024, lag_ms: 0, why: '', digest_equal: true },
  frontends: {
    web: {
      bind: ['*:80'],
      mode: 'http',
      connections: 1,
      max_connections: 9,
      accepted: 2,
      requests: 3,
      refused: { too_many_of_client: 4 },
    },
  },
  pools: {
    web: {
      algorithm: 'random',
      queue: { waiting: 5, length: 256 },
      backends: {
        s1: BACKEND,
        s2: {
          ...BACKEND,
          state: 'down',
          health: 'unhealthy',
          why: 'deep: \x1b[31mbad',
          failing_checks: ['db'],
        },
      },
    },
  },
  warnings: ['bind *:81 is taken'],
};

const GROUP: GroupStatus = {
  ...{ name: 'default', role: 'active', epoch: 7, priority: 150, why: 'lb2 went silent', since_ms: 900 },
  vips: [{ address: '192.0.2.100', interface: 'eth1', held: true }],
  peer: { role: 'standby', epoch: 6, seen_ms_ago: 40, alive: true },
  second_chance: { available: true, finishing: { connections: 7, left_ms: 4000 }, forwarding: true },
};

const AGENT: AgentStatus = {
  ...{ node: 'lb1', version: '0.1.0', pid: 43 },
  ...{ role: 'active', epoch: 7, priority: 150, why: 'lb2 went silent', since_ms: 900 },
  vips: [{ ...GROUP.vips[0]!, group: 'default' }],
  groups: [GROUP],
  peer: { ...GROUP.peer, node: 'lb2', same_config: false, differs_in: ['ha.vips', 'pools'] },
  paths: [
    {
      ...{ name: 'unicast', state: 'up', seen_ms_ago: 40, sent: 9, received: 8, why: '' },
      dropped: { 'bad-hmac': 3, replay: 0 },
    },
  ],
  lbd: { alive: true, healthy: true, why: '' },
  guardian: { alive: true },
  second_chance: GROUP.second_chance,
  warnings: [],
  notes: ['a switchover breaks open connections of fd00::100'],
};

const EVENTS: Record<'agent' | 'lbd', ControlEvent[]> = {
  agent: [
    { time: '2030-01-01T00:00:00.000Z', mono_ms: 10, source: 'agent', kind: 'role', text: 'standby' },
    { time: '2030-01-01T00:00:02.000Z', mono_ms: 30, source: 'agent', kind: 'role', text: 'active' },
  ],
  lbd: [
    { time: '2030-01-01T00:00:01.000Z', mono_ms: 20, source: 'lbd', kind: 'backend', text: 'web/s1 down' },
  ],
};

/** Requests that change something, as the fakes received them. */
interface Received {
  readonly path: string;
  readonly body?: unknown;
}

async function fakeNode(
  t: Test,
  which: readonly ('agent' | 'lbd')[],
  lbdStatus = LBD,
  agentStatus = () => AGENT,
) {
  const runDir = tempDir(t);
  const received: Received[] = [];
  const lbd: ControlRoute[] = [
    { method: 'GET', path: '/v1/status', handle: () => lbdStatus },
    { method: 'GET', path: '/v1/events', handle: () => EVENTS.lbd },
    {
      method: 'POST',
      path: '/v1/backends/:pool/:backend',
      handle: ({ params: { pool, backend }, body }) => {
        received.push({ path: `${pool}/${backend}`, body });
        if (pool !== 'web') throw new ControlError(404, `there is no pool "${pool}"`);
        const note = backend === 's2' ? 'round-robin ignores it' : undefined;
        return { ...BACKEND, ...(body as object), state: 'draining', note };
      },
    },
    {
      method: 'GET',
      path: '/v1/sessions',
      handle: ({ query }) => {
        received.push({ path: `sessions ${query.get('limit')}` });
        const row = { pool: 'web', kind: 'source', key: '192.0.2.7', backend: 's1', expires_in_ms: 90_000 };
        return { entries: 5, rows: [row] };
      },
    },
    {
      method: 'DELETE',
      path: '/v1/sessions',
      handle: () => {
        received.push({ path: 'clear' });
        return { cleared: 5 };
      },
    },
  ];
  const agent: ControlRoute[] = [
    { method: 'GET', path: '/v1/status', handle: agentStatus },
    { method: 'GET', path: '/v1/events', handle: () => EVENTS.agent },
    {
      method: 'POST',
      path: '/v1/switchover',
      handle: ({ body }) => {
        received.push({ path: 'switchover', body });
        return { text: 'lb2 is active now' };
      },
    },
  ];
  for (const name of which) {
    const server = await serveControl(join(runDir, SOCKETS[name]), name === 'lbd' ? lbd : agent);
    t.teardown(() => server.close());
  }
  return { runDir, received, lbctl: (...args: string[]) => lbctl('--run-dir', runDir, ...args) };
}

async function lbctl(...args: string[]): Promise<{ code: number | undefined; out: string; err: string }> {
  const { exitCode, stdout, stderr } = await execa(process.execPath, [LBCTL, ...args], {
    reject: false,
    env: { NO_COLOR: '1', FORCE_COLOR: undefined },
  });
  return { code: exitCode, out: stdout, err: stderr };
}

t.test('status for people', { buffered: true }, async (t) => {
  const { lbctl } = await fakeNode(t, ['agent', 'lbd']);
  const { code, out, err } = await lbctl('status');
  t.equal(code, 0);
  t.equal(err, '');
  for (const line of [
    /^node +lb1 · active · epoch 7 · priority 150 · for 900ms$/m,
    /^why +took over: lb2 went silent$/m,
    /^vip +192\.0\.2\.100 · eth1 · held$/m,
    /^finishing +7 connections of the former active · 4s left$/m,
    /^forwarding +what belongs to open connections of lb2 goes on to lb2$/m,
    /^peer +lb2 · standby · epoch 6 · heard 40ms ago · another config$/m,
    /^path +unicast · up · heard 40ms ago · sent 9 · received 8 · dropped 3 bad-hmac$/m,
    /^sync +synced · 5 of 1024 sessions · lag 0ms · tables equal$/m,
    /^! Node 26\.1\.0 is older than \S+ of \S+, so holes are known in it/m,
    /^lbd +pid 42 · 0\.1\.0 · Node 26\.1\.0 \(OpenSSL 3\.5\.8\) · up 1h 1m · 2 of 2 workers · config abcdef012345$/m,
    /^web +http +\*:80 +1\/9 +2 +3 +4 too_many_of_client$/m,
    /^pool web: 5 of 256 places in its queue are taken$/m,
    /^web\/s1 +10\.0\.0\.1:80 +ready +healthy +2 +3 +1\.3ms +1 +1m 5s +answered 200$/m,
    /^web\/s2 .* down +unhealthy .* deep: \?\[31mbad \(failing: db\)$/m,
    /^! config mismatch: lb2 runs another config/m,
    /^! bind \*:81 is taken$/m,
    /^note: a switchover breaks open connections of fd00::100$/m,
  ])
    t.match(out, line);
  t.notMatch(out, '\x1b', 'no colour where there is no terminal');
});

t.test('status for programs', { buffered: true }, async (t) => {
  const { lbctl } = await fakeNode(t, ['agent', 'lbd']);
  const { code, out } = await lbctl('--json', 'status');
  t.equal(code, 0);
  t.match(JSON.parse(out), {
    ...{ node: 'lb1', role: 'active', epoch: 7 },
    vips: [{ address: '192.0.2.100', held: true }],
    peer: { node: 'lb2', role: 'standby', seen_ms_ago: 40 },
    sync: { state: 'synced', entries: 5, lag_ms: 0 },
    pools: {
      web: {
        backends: { s1: { state: 'ready', health: 'healthy', active: 2, weight: 3, why: 'answered 200' } },
      },
    },
    lbd: { running: true },
    agent: { running: true },
    notes: [/^a switchover breaks/],
  });
  t.notMatch(JSON.parse(out).warnings, [/a switchover breaks/]);
  t.strictSame((await lbctl('status', '--json')).out, out, 'the option may stand behind the command');
});

t.test('one daemon down: the other one is shown', { buffered: true }, async (t) => {
  const agentOnly = await fakeNode(t, ['agent']);
  const text = await agentOnly.lbctl('status');
  t.equal(text.code, 0);
  t.match(text.out, /^node +lb1 · active/m);
  t.match(text.out, /^! lbd is not running \(no socket at .*lbd\.sock\)$/m);
  const json = JSON.parse((await agentOnly.lbctl('status', '--json')).out);
  t.match(json, { role: 'active', sync: null, lbd: { running: false, error: /not running/ } });
  t.match((await agentOnly.lbctl('events')).out, /role +active\n! lbd is not running/);
});

t.test('only lbd', { buffered: true }, async (t) => {
  const { lbctl } = await fakeNode(t, ['lbd']);
  const { code, out } = await lbctl('status');
  t.equal(code, 0);
  t.match(out, /^node +lb1 · role unknown$/m);
  t.match(out, /^web\/s1 /m);
  t.match(out, /^! ha-agent is not running/m);
  t.match(JSON.parse((await lbctl('--json', 'status')).out), {
    node: 'lb1',
    role: null,
    vips: [],
    peer: null,
  });
});

t.test('a single lbd has no agent to miss', { buffered: true }, async (t) => {
  const { lbctl } = await fakeNode(t, ['lbd'], { ...LBD, sync: { ...LBD.sync, state: 'off' } });
  const { out } = await lbctl('status');
  t.match(out, /^node +lb1 · a single lbd$/m);
  t.notMatch(out, 'ha-agent');
  const events = await lbctl('events');
  t.match(events, { code: 0, err: '' });
  t.match(events.out, /lbd +backend +web\/s1 down$/, 'nothing behind its events');
});

t.test('nobody there', { buffered: true }, async (t) => {
  const { lbctl } = await fakeNode(t, []);
  const commands = [['status'], ['events'], ['drain', 'web/s1'], ['switchover']];
  for (const [i, { code, out, err }] of (
    await Promise.all(commands.map((args) => lbctl(...args)))
  ).entries()) {
    t.equal(code, 1, commands[i]!.join(' '));
    t.equal(out, '');
    t.match(err, /^lbctl: .*is not running \(no socket at [^\n]*$/, 'one line');
  }
});

t.test('backends', { buffered: true }, async (t) => {
  const { lbctl, received } = await fakeNode(t, ['lbd']);
  t.match((await lbctl('backends')).out, /^BACKEND +ADDRESS.*\nweb\/s1 .*\nweb\/s2 /);
  t.match(JSON.parse((await lbctl('--json', 'backends')).out), { web: { algorithm: 'random' } });
  for (const command of ['drain', 'ready', 'maint'])
    t.equal((await lbctl(command, 'web/s1')).out, 'web/s1: draining, weight 3, 2 active, answered 200');
  t.match((await lbctl('weight', 'web/s1', '0')).out, 'weight 0');
  t.match(await lbctl('weight', 'web/s1', 'config'), { code: 0, out: /weight/ }, 'that of the config again');
  t.strictSame(received, [
    { path: 'web/s1', body: { admin: 'drain' } },
    { path: 'web/s1', body: { admin: 'ready' } },
    { path: 'web/s1', body: { admin: 'maint' } },
    { path: 'web/s1', body: { weight: 0 } },
    { path: 'web/s1', body: { weight: null } },
  ]);
  t.match(
    (await lbctl('weight', 'web/s2', '5')).out,
    /^web\/s2: [^\n]*weight 5,[^\n]*\n! round-robin ignores it$/,
  );
  const refused = await lbctl('drain', 'wbe/s1');
  t.match(refused, { code: 1, out: '', err: 'lbctl: there is no pool "wbe"' }, "the daemon's own words");
});

t.test('sessions, switchover, events', { buffered: true }, async (t) => {
  const { lbctl, received } = await fakeNode(t, ['agent', 'lbd']);
  const list = await lbctl('sessions');
  t.match(list.out, /^POOL +KIND.*\nweb +source +192\.0\.2\.7 +s1 +1m 30s\n1 of 5 sessions shown$/);
  await lbctl('sessions', 'list', '--limit', '7');
  t.equal((await lbctl('sessions', 'clear')).out, '5 sessions cleared');
  t.equal((await lbctl('switchover')).out, 'lb2 is active now');
  await lbctl('switchover', '--to', 'lb2');
  t.strictSame(received, [
    { path: 'sessions 100' },
    { path: 'sessions 7' },
    { path: 'clear' },
    { path: 'switchover', body: {} },
    { path: 'switchover', body: { to: 'lb2' } },
  ]);
  const events = (await lbctl('events')).out.split('\n');
  t.match(events, [/agent role +standby$/, /lbd +backend +web\/s1 down$/, /agent role +active$/]);
  t.equal((await lbctl('events', '--limit', '1')).out.split('\n').length, 1);
  t.match(JSON.parse((await lbctl('events', '--json')).out), [
    { mono_ms: 10 },
    { mono_ms: 20 },
    { mono_ms: 30 },
  ]);
});

t.test('upgrade-ready: no with the reason, yes, and waiting for it', { buffered: true }, async (t) => {
  const active = await fakeNode(t, ['agent', 'lbd']);
  const no = await active.lbctl('upgrade-ready');
  t.match(no, { code: 1, out: /^lb1 must not be restarted now\n {2}it is active\n/, err: '' });
  t.match(no.out, /\nnext: lbctl switchover, then lbctl upgrade-ready$/);
  const json = await active.lbctl('--json', 'upgrade-ready', '--wait', '1ms');
  t.equal(json.code, 1);
  t.match(JSON.parse(json.out), { ready: false, node: 'lb1', role: 'active', why: ['it is active'] });

  let looks = 0;
  const group = (second_chance: GroupStatus['second_chance']): AgentStatus => {
    const peer = { ...GROUP.peer, role: 'active' } as const;
    return { ...AGENT, role: 'standby', groups: [{ ...GROUP, role: 'standby', peer, second_chance }] };
  };
  const finishing = group(GROUP.second_chance);
  const standby = group({ ...GROUP.second_chance, finishing: undefined });
  const waiting = await fakeNode(t, ['agent', 'lbd'], LBD, () => (looks++ === 0 ? finishing : standby));
  const yes = await waiting.lbctl('upgrade-ready', '--wait', '1m');
  t.match(yes, { code: 0, out: /^lb1 may be restarted now\n {2}lb1 is standby\n/, err: '' });
  t.equal(looks, 2);

  t.match(await waiting.lbctl('upgrade-ready', '--wait', 'soon'), {
    code: 2,
    err: /found "soon", expected a duration such as 30s/,
  });
  t.match(await (await fakeNode(t, [])).lbctl('upgrade-ready'), { code: 1, err: /is not running/ });
});

t.test('check and schema need no daemon', { buffered: true }, async (t) => {
  const example = join(import.meta.dirname, '../../examples/pair.yaml');
  const good = await lbctl('check', example);
  t.equal(good.code, 0);
  t.match(
    good.out,
    /pair\.yaml: good: pair "shop", checked as lb1, 1 frontend, 2 pools, 4 backends, digest /,
  );
  t.match((await lbctl('check', example, '--node', 'lb2')).out, 'checked as lb2');

  const file = join(t.testdir({ 'bad.yaml': 'frontends: {}\npols: {}\n' }), 'bad.yaml');
  const bad = await lbctl('check', file);
  t.equal(bad.code, 1);
  t.strictSame(bad.err.split('\n'), [
    `${file}:1:1: frontends: found no frontend, expected at least one`,
    `${file}:2:1: unknown key "pols"; did you mean "pools"?`,
    'lbctl: 2 problems',
  ]);
  const json = await lbctl('--json', 'check', file);
  t.equal(json.code, 1);
  t.match(JSON.parse(json.out), { ok: false, problems: [{ where: `${file}:1:1` }, { key: 'pols' }] });
  t.match(JSON.parse((await lbctl('schema')).out), { properties: { pools: {} } });
});

t.test('check looks at the secrets where this machine is the node', { buffered: true }, async (t) => {
  const directory = tempDir(t);
  const file = join(directory, 'pair.yaml');
  const cluster =
    'cluster: { name: shop, nodes: { lb1: { address: 127.0.0.1 }, lb2: { address: 198.51.100.2 } }';
  const rest = `ha: { paths: [{ type: unicast }], vips: [{ address: 192.0.2.100/32, provider: lo }], track: { interfaces: [] } }
frontends: { web: { bind: ["127.0.0.1:${await freePort()}"], pool: web } }
pools: { web: { backends: { s1: { address: "192.0.2.9:80" } } } }
`;
  const secret = (name: string, bytes: number, mode: number) => {
    writeFileSync(join(directory, name), randomBytes(bytes));
    chmodSync(join(directory, name), mode);
  };
  const check = async (keys: string, ...args: string[]) => {
    writeFileSync(file, `${cluster}${keys} }\n${rest}`);
    return lbctl('check', file, '--for', 'lb1', ...args);
  };

  const missing = await check(', secret_file: none, previous_secret_file: gone');
  t.equal(missing.code, 1);
  t.match(missing.err.split('\n'), [
    /pair\.yaml:1:\d+: cluster\.secret_file: the secret \S+none does not exist, expected 32 to 4096 random bytes/,
    /pair\.yaml:1:\d+: cluster\.previous_secret_file: the secret \S+gone does not exist, expected/,
    'lbctl: 2 problems',
  ]);
  t.match(
    (await check('')).err,
    /pair\.yaml:1:\d+: cluster\.secret_file: .*does not exist/,
    'its default name',
  );
  secret('short', 31, 0o600);
  t.match((await check(', secret_file: short')).err, /secret_file: .* has 31 bytes, expected 32 to 4096/);
  secret('open', 32, 0o644);
  t.match((await check(', secret_file: open')).err, /secret_file: .* \(mode 0644\), expected 0600 or 0640/);
  secret('good', 32, 0o640);
  const good = await check(', secret_file: good, previous_secret_file: good');
  t.match(good, { code: 0, out: /^[^\n]+ good: pair "shop", checked as lb1, [^\n]+$/ });
  const there = await lbctl('check', file, '--for', 'lb2');
  t.match(
    there.out,
    /checked as lb2, .*\nIts interfaces, programs and secret were not looked for: this machine/,
  );
  t.equal((await lbctl('check', file, '--node', 'lb2')).out, there.out);
  t.match(JSON.parse((await lbctl('--json', 'check', file, '--for', 'lb2')).out), {
    ...{ ok: true, host: false, not_looked: [/^Its interfaces, programs and secret were not/] },
  });
});

t.test('check names a directory once', { buffered: true }, async (t) => {
  const directory = tempDir(t);
  const { code, err } = await lbctl('check', directory);
  t.equal(code, 1);
  t.equal(err, `${directory}: expected a regular file\nlbctl: 1 problem`);
});

/** What moves the cursor, colours, breaks the line, turns the direction of text, or is C1. */
const HOSTILE = '\x1b[2J\x9b31m\u202e\r\nlbctl: all is well\u2028\u{e0041}';
/** Words of a closed list, which decide about colours. */
const CLOSED = new Set(['state', 'role', 'health', 'admin', 'source', 'time']);

/** The same answer with something hostile in each name and each text. */
function hostile<T>(value: T, key = ''): T {
  if (typeof value === 'string') return (CLOSED.has(key) ? value : `${value}${HOSTILE}`) as T;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((part) => hostile(part, key)) as T;
  const named = ['pools', 'backends', 'frontends', 'refused', 'dropped'].includes(key);
  return Object.fromEntries(
    Object.entries(value).map(([name, part]) => [named ? `${name}${HOSTILE}` : name, hostile(part, name)]),
  ) as T;
}

t.test('whatever a socket says, a terminal gets plain text', { buffered: true }, async (t) => {
  const runDir = tempDir(t);
  const route = (method: ControlRoute['method'], path: string, answer: unknown): ControlRoute => ({
    ...{ method, path },
    handle: () => {
      if (answer === undefined) throw new ControlError(404, `no${HOSTILE}`);
      return answer;
    },
  });
  const row = { pool: 'web', kind: 'source', key: 'k', backend: 's1', expires_in_ms: 1 };
  const explanation = {
    ...{
      frontend: 'web',
      mode: 'http',
      pool: 'web',
      algorithm: 'random',
      engine: { engine: 'user', why: 'w' },
    },
    routes: [{ route: 1, pool: 'web', matched: false, failed: 'path' }],
    candidates: [
      { backend: 's1', state: 'ready', available: true, weight: 1, active: 0, latency_ms: 1, why: 'w' },
    ],
    picks: [{ worker: 0, backend: 's1', by: 'random' }],
  };
  const lbd = await serveControl(join(runDir, SOCKETS.lbd), [
    route('GET', '/v1/status', hostile(LBD)),
    route('GET', '/v1/events', hostile(EVENTS.lbd)),
    route('GET', '/v1/sessions', hostile({ entries: 1, rows: [row] })),
    route('POST', '/v1/explain', hostile(explanation)),
    route('POST', '/v1/backends/:pool/:backend', undefined),
  ]);
  const agent = await serveControl(join(runDir, SOCKETS.agent), [
    route('GET', '/v1/status', hostile(AGENT)),
    route('GET', '/v1/events', hostile(EVENTS.agent)),
    route('POST', '/v1/switchover', hostile({ text: 'done' })),
  ]);
  t.teardown(() => Promise.all([lbd.close(), agent.close()]));
  for (const command of [
    ...[['status'], ['backends'], ['sessions'], ['events'], ['switchover'], ['upgrade-ready']],
    ...[
      ['drain', 'web/s1'],
      ['explain', 'GET', 'http://x/'],
      [`check${HOSTILE}`],
      ['check', `/no${HOSTILE}`],
    ],
  ])
    for (const flags of [[], ['--json']]) {
      const { out, err } = await lbctl('--run-dir', runDir, ...flags, ...command);
      const shown = `${out}${err}`;
      const what = printable([...flags, ...command].join(' '));
      t.not(shown, '', what);
      t.notMatch(shown, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}](?<!\n)/u, what);
      t.notMatch(shown, /^lbctl: all is well/m, 'no line of its own');
      if (flags.length > 0 && out !== '') t.doesNotThrow(() => JSON.parse(out));
    }
  const { out } = await lbctl('--run-dir', runDir, '--json', 'status');
  t.match(JSON.parse(out).warnings.join(), HOSTILE, 'programs get it as it is');
});

t.test('usage', { buffered: true }, async (t) => {
  const wrong = [
    ['drian'],
    ['check'],
    ['--nope'],
    ['drain', 'web/s1/x'],
    ['weight', 'web/s1', '257'],
    ['sessions', 'delete'],
    ['sessions', '--limit', '0'],
    ['check', '--quick'],
    ['status', '--check', '--watch'],
  ];
  for (const [i, { code, out, err }] of (await Promise.all(wrong.map((args) => lbctl(...args)))).entries()) {
    t.equal(code, 2, wrong[i]!.join(' '));
    t.equal(out, '');
    t.match(err, /^lbctl: [^\n]+$/, 'one line');
    if (wrong[i]![1] === '--quick')
      t.match(err, /^lbctl: unknown option '--quick' \(see lbctl check --help\)$/);
    if (i === 0) t.match(err, /unknown command 'drian'.*Did you mean drain/);
  }
  t.match(await lbctl(), { code: 2, err: /Usage: lbctl/ });
  t.match(await lbctl('--help'), { code: 0, out: /switchover/ });
});

t.test('check looks at what lbd would refuse of this machine', { buffered: true }, async (t) => {
  const directory = tempDir(t);
  const file = join(directory, 'pair.yaml');
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const name = hostname().split('.')[0]!;
  writeFileSync(join(directory, 'secret'), randomBytes(32), { mode: 0o600 });
  const write = (address: string, bind: string) =>
    writeFileSync(
      file,
      `cluster: { name: shop, nodes: { ${JSON.stringify(name)}: { address: ${address} }, other: { address: 198.51.100.2 } } }
ha: { paths: [{ type: unicast }], vips: [{ address: 192.0.2.100/32, provider: lo }], track: { interfaces: [] } }
frontends: { web: { bind: ["${bind}"], pool: web } }
pools: { web: { backends: { s1: { address: "192.0.2.9:80" } } } }
`,
    );
  write('127.0.0.1', `127.0.0.1:${port}`);
  const taken = await lbctl('--run-dir', directory, 'check', file);
  t.equal(taken.code, 1);
  t.match(
    taken.err,
    new RegExp(
      `^\\S+:3:\\d+: frontends\\.web\\.bind: .*cannot listen on 127.0.0.1:${port}: another process listens there`,
    ),
  );
  write('203.0.113.9', '127.0.0.1:1');
  const away = await lbctl('--run-dir', directory, 'check', file);
  t.match(
    away.err,
    /^\S+:1:\d+: cluster\.nodes\.\S+\.address: found 203\.0\.113\.9, which this machine does not have, though it is /,
  );
  t.equal((await lbctl('check', file, '--for', name)).code, 0, 'for another machine it may be right');
});

t.test('check of a single lbd warns of binds that it could not have here', { buffered: true }, async (t) => {
  const directory = tempDir(t);
  const file = join(directory, 'single.yaml');
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  writeFileSync(
    file,
    `frontends: { web: { bind: ["127.0.0.1:${port}"], pool: web } }
pools: { web: { stick: { cookie: { name: S, same_site: none } }, backends: { s1: { address: "192.0.2.9:80" } } } }
`,
  );
  const { code, out } = await lbctl('--run-dir', directory, 'check', file);
  t.equal(code, 0, 'it may be for another machine');
  t.match(out, /single\.yaml:1:\d+: warning: frontends\.web\.bind: .*another process listens there/);
  t.match(out, /single\.yaml:2:\d+: warning: pools\.web\.stick\.cookie\.same_site: browsers drop/);
});

t.test('check tells warnings beside problems', { buffered: true }, async (t) => {
  const directory = tempDir(t);
  const file = join(directory, 'single.yaml');
  writeFileSync(
    file,
    `access_log: { path: ${directory}/none/access.log }
frontends: { web: { bind: ["127.0.0.1:${await freePort()}"], pool: nosuch } }
pools: { web: { algorithm: round-robin, backends: { s1: { address: "192.0.2.9:80", weight: 3 } } } }
`,
  );
  const { code, err } = await lbctl('--run-dir', directory, 'check', file);
  t.equal(code, 1);
  t.match(err.split('\n'), [
    /^\S+:2:\d+: frontends\.web\.pool: there is no pool "nosuch"/,
    /^\S+:3:\d+: warning: pools\.web\.backends\.s1\.weight: round-robin, .*, ignores every weight but 0$/,
    /^\S+:1:\d+: warning: access_log\.path: found \S+, but there is no folder \S+none; lines will be lost$/,
    'lbctl: 1 problem',
  ]);
  const json = await lbctl('--json', '--run-dir', directory, 'check', file);
  t.match(JSON.parse(json.out), {
    ...{ ok: false, problems: [{ key: 'frontends.web.pool' }] },
    warnings: [/ignores every weight but 0$/, /there is no folder/],
  });
});

t.test(
  'check tells what is wrong with file, host and certificates in one round',
  { buffered: true },
  async (t) => {
    const directory = tempDir(t);
    const file = join(directory, 'pair.yaml');
    writeFileSync(
      file,
      `cluster: { name: shop, nodes: { lb1: { address: 127.0.0.1 }, lb2: { address: 198.51.100.2 } }, secret_file: none }
ha: { paths: [{ type: unicast }], vips: [{ address: 192.0.2.100/32, provider: lo }], track: { interfaces: [none0] } }
frontends:
  web: { bind: ["127.0.0.1:${await freePort()}"], pool: web, tls: { certificates: [{ cert: no.crt, key: no.key }] } }
  app: { bind: ["127.0.0.1:${await freePort()}"], pool: nosuch }
pools: { web: { algorithm: randm, backends: {} }, api: { backends: { s1: { address: "192.0.2.9:80" } } } }
`,
    );
    const { code, err } = await lbctl('--run-dir', directory, 'check', file, '--for', 'lb1');
    t.equal(code, 1);
    for (const problem of [
      /^\S+:5:\d+: frontends\.app\.pool: there is no pool "nosuch"/m,
      /^\S+:6:\d+: pools\.web\.algorithm: found "randm"/m,
      /^\S+:1:\d+: cluster\.secret_file: the secret \S+none does not exist/m,
      /^\S+:2:\d+: ha\.track\.interfaces\.0: found none0, but this host has only/m,
      /no\.crt: no such file/m,
    ])
      t.match(err, problem);
  },
);

t.test('status --check: 0 where nothing is down, 3 where something is', { buffered: true }, async (t) => {
  const pools = { web: { ...LBD.pools.web!, backends: { s1: BACKEND } } };
  const agent = () => ({ ...AGENT, groups: [GROUP] });
  const well = await fakeNode(t, ['agent', 'lbd'], { ...LBD, pools }, agent);
  t.match(await well.lbctl('status', '--check'), { code: 0, out: 'nothing is down' });
  const bad = await fakeNode(t, ['agent', 'lbd'], LBD, agent);
  t.match(await bad.lbctl('status', '--check'), { code: 3, out: /^web\/s2 is down: deep: / });
  t.match(JSON.parse((await bad.lbctl('status', '--check', '--json')).out), { ok: false, down: [/web\/s2/] });
  const none = await fakeNode(t, []);
  t.match(await none.lbctl('status', '--check'), { code: 3, out: /lbd is not running/ });
});

t.test('backends of one pool, or those that are down', { buffered: true }, async (t) => {
  const { lbctl } = await fakeNode(t, ['lbd']);
  t.match((await lbctl('backends', '--down')).out, /^BACKEND.*\nweb\/s2 [^\n]*\n/);
  t.notMatch((await lbctl('backends', '--down')).out, 'web/s1');
  t.notMatch((await lbctl('backends', 'web/s1')).out, 'web/s2');
  t.same(Object.keys(JSON.parse((await lbctl('backends', 'web', '--down', '--json')).out).web.backends), [
    's2',
  ]);
  t.match(await lbctl('backends', 'wbe'), {
    code: 1,
    err: 'lbctl: no such pool: wbe; there is web; did you mean "web"?',
  });
  t.match(await lbctl('backends', 'constructor'), { code: 1, err: /no such pool: constructor/ });
  t.match(await lbctl('backends', 'web/nosuch'), {
    code: 1,
    err: 'lbctl: no such backend: web/nosuch; there are web/s1, web/s2',
  });
  for (const filter of ['web/', '/s1', 'web/s1/x'])
    t.match(await lbctl('backends', filter), { code: 2, err: /expected POOL or POOL\/BACKEND/ }, filter);
  t.match(await lbctl('backends', 'web/s1', '--down'), { code: 0 }, 'it is there, and well');
});

t.test('events since then, and times of the zone', { buffered: true }, async (t) => {
  const { lbctl } = await fakeNode(t, ['agent', 'lbd']);
  t.equal((await lbctl('events', '--since', '2030-01-01T00:00:01Z')).out.split('\n').length, 2);
  t.equal((await lbctl('events', '--since', '2031-01-01')).out, '');
  t.match(await lbctl('events', '--since', 'soon'), { code: 2, err: /found "soon", expected how long ago/ });
  t.match((await lbctl('events', '--local')).out, /^20\d\d-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d agent/);
});

t.test('events --follow tells each event once, an object a line', { buffered: true }, async (t) => {
  const first = EVENTS.lbd[0]!;
  const lines: Record<'agent' | 'lbd', ControlEvent[]> = { agent: [...EVENTS.agent], lbd: [first] };
  const runDir = tempDir(t);
  let asked = 0;
  for (const name of ['agent', 'lbd'] as const) {
    const handle = () => {
      // One comes right behind the first look.
      if (name === 'lbd' && ++asked === 2) lines.lbd.push({ ...first, mono_ms: 99, text: 'web/s1 ready' });
      return [...lines[name]];
    };
    const server = await serveControl(join(runDir, SOCKETS[name]), [
      { method: 'GET', path: '/v1/events', handle },
    ]);
    t.teardown(() => server.close());
  }
  const child = execa(process.execPath, [LBCTL, '--run-dir', runDir, 'events', '--follow', '--json'], {
    reject: false,
  });
  t.teardown(() => child.kill());
  const output = child.iterable()[Symbol.asyncIterator]();
  const told: number[] = [];
  while (told.at(-1) !== 100) {
    told.push((JSON.parse((await output.next()).value!) as ControlEvent).mono_ms);
    if (told.at(-1) === 99) lines.lbd.push({ ...first, mono_ms: 100, text: 'web/s1 down' });
  }
  t.same(told, [10, 20, 30, 99, 100]);
});

t.test('status --watch goes on', { buffered: true }, async (t) => {
  const { runDir } = await fakeNode(t, ['agent', 'lbd']);
  const child = execa(
    process.execPath,
    [LBCTL, '--run-dir', runDir, 'status', '--watch', '100ms', '--json'],
    { reject: false },
  );
  t.teardown(() => child.kill());
  const watch = child.iterable()[Symbol.asyncIterator]();
  for (let i = 0; i < 2; i++) t.match(JSON.parse((await watch.next()).value!), { node: 'lb1' });
});

t.test(
  'an answer that cannot be written is one line, one that nobody reads is none',
  { buffered: true },
  async (t) => {
    const { runDir } = await fakeNode(t, ['agent', 'lbd']);
    const shell = (command: string) =>
      execa('sh', ['-c', command, 'sh', process.execPath, LBCTL, '--run-dir', runDir], { reject: false });
    const full = 'lbctl: cannot write the answer: ENOSPC: no space left on device, write';
    for (const args of ['status', 'events --follow', '--help', 'status --help'])
      t.match(await shell(`"$@" ${args} >/dev/full`), { exitCode: 1, stderr: full }, args);
    // Its reader is gone before anything is written.
    const pipe = join(runDir, 'pipe');
    const unread = `mkfifo ${pipe}; exec 4<>${pipe} 3>${pipe} 4<&-; "$@" status >&3`;
    t.match(await shell(unread), { exitCode: 0, stderr: '' });
    t.match(await shell('"$@" nosuch 2>/dev/full'), { exitCode: 2, stdout: '' });
  },
);

t.test('with --json errors are JSON, too', { buffered: true }, async (t) => {
  const { lbctl: ask } = await fakeNode(t, []);
  const failed = await ask('--json', 'status');
  t.match(failed, { code: 1, err: /^lbctl: lbd is not running/ });
  t.match(JSON.parse(failed.out), { ok: false, code: 'NOT_RUNNING', error: /lbd is not running/ });
  t.match(JSON.parse((await ask('--json', 'weight', 'web/s1', '-3x')).out), { ok: false, code: 'USAGE' });
  t.match(JSON.parse((await ask('--json', 'statsu')).out), {
    ok: false,
    code: 'USAGE',
    error: /unknown command/,
  });
});

t.test('the help of a command shows the options of all commands', { buffered: true }, async (t) => {
  const { out } = await lbctl('backends', '--help');
  t.match(out, /--run-dir <DIR>/);
  t.match(out, /--json/);
});
