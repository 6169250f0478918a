import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import type { LbdStatus } from '../../../common/control.ts';
import { BackendMetrics } from '../../../lbd/control/backend-metrics.ts';
import type { BackendFigures } from '../../../lbd/control/care/backends.ts';
import { Exposition } from '../../../lbd/control/exposition.ts';
import { collectMetrics } from '../../../lbd/control/metrics.ts';
import { MetricsServer } from '../../../lbd/control/metrics-server.ts';
import type { Planner } from '../../../lbd/control/planner.ts';
import {
  lbdStatus,
  type NodeStatus,
  nodeStatusInSteps,
  type StatusSources,
} from '../../../lbd/control/status.ts';
import {
  BACKEND_COUNTERS,
  COUNTER,
  createSharedBuffers,
  FRONTEND_COUNTERS,
  GATE_OPEN,
  SharedState,
} from '../../../lbd/shared/shared.ts';

function status(change: Partial<LbdStatus> = {}): LbdStatus {
  return {
    node: 'lb1',
    version: '1.2.3',
    pid: 1,
    uptime_ms: 1500,
    config: { file: 'a.yaml', digest: 'f'.repeat(64), reload_error: undefined },
    workers: { wanted: 2, running: 1, replaced: 3 },
    sync: { state: 'synced', entries: 7, capacity: 1024, lag_ms: 12, why: '', digest_equal: true },
    flows: {
      state: 'synced',
      why: '',
      flows: 3,
      replica: 2,
      lag_ms: 7,
      lag_p50_ms: 1,
      lag_p99_ms: 5,
      digest_equal: true,
      events: 100,
      written: 20,
      failed: 1,
      dropped: 0,
      resyncs: 4,
      frontends: { db: { s1: { active: 3, opened: 30, bytes: 300 } } },
    },
    frontends: { web: { bind: [], mode: 'http', connections: 0, accepted: 0, requests: 0 } },
    pools: {
      web: {
        algorithm: 'random',
        backends: {
          s1: {
            address: '127.0.0.1:1',
            state: 'ready',
            health: 'healthy',
            admin: 'ready',
            active: 4,
            weight: 2,
            why: '',
            since_ms: 0,
            requests: 0,
            errors: 0,
            latency_ms: 250,
            failing_checks: [],
            checks: [],
          },
        },
      },
    },
    warnings: ['one'],
    ...change,
  };
}

// biome-ignore lint/correctness/useYield: all of it in one step
function* atOnce(change: Partial<LbdStatus> = {}): Generator<void, NodeStatus> {
  return status(change);
}

const BACKEND: BackendFigures = {
  ...{ id: 'web/s1', pool: 'web', name: 's1', slot: 5, state: 'ready', healthy: true, weight: 2 },
  ...{ active: 4, ejections: 3, share: 50 },
};

function* figuresOf(backends: readonly BackendFigures[]): Generator<BackendFigures, void> {
  yield* backends;
}

const many = (count: number): BackendFigures[] =>
  Array.from({ length: count }, (_, i) => ({ ...BACKEND, id: `web/s${i}`, name: `s${i}` }));

/** What the metrics are made of besides. */
const PARTS = {
  backends: { figures: () => figuresOf([BACKEND]) },
  pools: () => [
    {
      name: 'web',
      queue: { waiting: 6, length: 9 },
      strain: {
        panic: true,
        open: { requests: 1, pending: 2, connections: 3, retrying: 4 },
        at_limit: [],
        refused: { requests: 5 },
      },
    },
  ],
};

t.test('every counter of every worker is in the text, in base units', async (t) => {
  const buffers = createSharedBuffers(2);
  const workers = [new SharedState(buffers, 0), new SharedState(buffers, 1)];
  for (const worker of workers) {
    for (const i of BACKEND_COUNTERS.keys()) worker.countBackend(5, i, 10 + i);
    for (const i of FRONTEND_COUNTERS.keys()) worker.countFrontend(3, i, 100 + i);
  }
  const shared = new SharedState(buffers, -1);
  shared.setGate(5, GATE_OPEN, 2);
  shared.observeLatency(5, 250);
  const { pieces, contentType } = await collectMetrics({
    shared,
    planner: { frontendRow: () => 3 },
    ...PARTS,
    status: () => atOnce(),
    evictions: () => 9,
  });
  const text = pieces.join('');
  t.match(contentType, /^text\/plain/);
  const b = 'pool="web",backend="s1"';
  for (const line of [
    `tandem_backend_requests_total{${b}} 20`,
    `tandem_backend_errors_total{${b}} 22`,
    `tandem_backend_connects_total{${b}} 24`,
    `tandem_backend_connect_failures_total{${b}} 26`,
    `tandem_backend_sent_bytes_total{${b}} 30`,
    `tandem_backend_received_bytes_total{${b}} 28`,
    `tandem_backend_responses_total{${b},class="2xx"} 32`,
    `tandem_backend_responses_total{${b},class="5xx"} 38`,
    `tandem_backend_up{${b}} 1`,
    `tandem_backend_healthy{${b}} 1`,
    `tandem_backend_state{${b},state="ready"} 1`,
    `tandem_backend_weight{${b}} 2`,
    `tandem_backend_active{${b}} 4`,
    `tandem_backend_latency_seconds{${b}} 0.25`,
    `tandem_backend_ejections_total{${b}} 3`,
    `tandem_backend_share{${b}} 0.5`,
    'tandem_pool_queue{pool="web"} 6',
    'tandem_pool_panic{pool="web"} 1',
    'tandem_pool_open{pool="web",kind="retrying"} 4',
    'tandem_pool_refused_total{pool="web",cause="requests"} 5',
    'tandem_frontend_connections{frontend="web"} 200',
    'tandem_frontend_accepted_total{frontend="web"} 202',
    'tandem_frontend_requests_total{frontend="web"} 204',
    'tandem_frontend_received_bytes_total{frontend="web"} 206',
    'tandem_frontend_sent_bytes_total{frontend="web"} 208',
    'tandem_frontend_own_answers_total{frontend="web",code="400"} 210',
    'tandem_frontend_own_answers_total{frontend="web",code="504"} 220',
    'tandem_workers 1',
    'tandem_workers_wanted 2',
    'tandem_workers_replaced_total 3',
    'tandem_sessions 7',
    'tandem_sessions_capacity 1024',
    'tandem_sessions_evicted_total 9',
    'tandem_sync_lag_seconds 0.012',
    'tandem_sync_state{state="synced"} 1',
    'tandem_sync_state{state="connecting"} 0',
    'tandem_sync_digest_equal 1',
    'tandem_flows{frontend="db",backend="s1"} 3',
    'tandem_flows_opened_total{frontend="db",backend="s1"} 30',
    'tandem_flow_bytes_total{frontend="db",backend="s1"} 300',
    'tandem_flow_sync_state{state="synced"} 1',
    'tandem_flow_sync_lag_seconds 0.007',
    'tandem_flow_sync_peer_flows 2',
    'tandem_flow_events_total 100',
    'tandem_flow_writes_total 20',
    'tandem_flow_writes_failed_total 1',
    'tandem_flows_dropped_total 0',
    'tandem_flow_resyncs_total 4',
    'tandem_config_reload_success 1',
    'tandem_warnings 1',
    'tandem_uptime_seconds 1.5',
  ])
    t.ok(text.split('\n').includes(line), line);
});

t.test('a refused reload shows', async (t) => {
  const { pieces } = await collectMetrics({
    shared: new SharedState(createSharedBuffers(1), -1),
    planner: { frontendRow: () => 0 },
    ...PARTS,
    status: () => atOnce({ config: { file: '', digest: '', reload_error: 'bad' } }),
    evictions: () => 0,
  });
  t.match(pieces.join(''), /^tandem_config_reload_success 0$/m);
});

t.test('the server answers GET /metrics and moves with the config', async (t) => {
  const told: string[] = [];
  const server = new MetricsServer(
    async () => ({ pieces: [Buffer.from('tandem_up 1\n')], contentType: 'text/plain' }),
    (line) => told.push(line),
  );
  t.teardown(() => server.close());
  await server.apply({ host: '127.0.0.1', port: 0 });
  const url = `http://127.0.0.1:${server.port}/metrics`;
  const answer = await fetch(url);
  t.equal(await answer.text(), 'tandem_up 1\n');
  t.equal((await fetch(`${url}/x`)).status, 404);
  t.equal((await fetch(url, { method: 'POST' })).status, 405);
  await server.apply({ host: '127.0.0.1', port: 0 });
  t.equal((await fetch(url)).status, 200, 'the same address stays open');
  await server.apply(undefined);
  await t.rejects(fetch(url));
  t.same(told, []);
});

t.test('an address that is taken is a warning, and it is tried again', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const address = { host: '127.0.0.1', port: (other.address() as AddressInfo).port };
  const told: string[] = [];
  const server = new MetricsServer(
    async () => ({ pieces: [], contentType: 'text/plain' }),
    (line) => told.push(line),
  );
  t.teardown(() => server.close());
  await server.apply(address);
  t.match(server.warnings(), [
    new RegExp(`^metrics are not served on 127.0.0.1:${address.port}: .*EADDRINUSE`),
  ]);
  t.equal(told.length, 1);
  other.close();
  await once(other, 'close');
  await server.apply(address);
  t.same(server.warnings(), []);
  t.equal(server.port, address.port);
});

t.test('one collection is for all who ask within a second', async (t) => {
  let collected = 0;
  const server = new MetricsServer(
    async () => ({ pieces: [Buffer.from(`tandem_collected ${++collected}\n`)], contentType: 'text/plain' }),
    () => {},
  );
  t.teardown(() => server.close());
  await server.apply({ host: '127.0.0.1', port: 0 });
  const url = `http://127.0.0.1:${server.port}/metrics`;
  const bodies = await Promise.all(Array.from({ length: 8 }, async () => (await fetch(url)).text()));
  t.same(new Set(bodies), new Set(['tandem_collected 1\n']));
});

t.test('a collection that failed is not kept', async (t) => {
  let fails = true;
  const server = new MetricsServer(
    async () => {
      if (fails) throw new Error('not yet');
      return { pieces: [], contentType: 'text/plain' };
    },
    () => {},
  );
  t.teardown(() => server.close());
  await server.apply({ host: '127.0.0.1', port: 0 });
  const url = `http://127.0.0.1:${server.port}/metrics`;
  t.equal((await fetch(url)).status, 500);
  fails = false;
  t.equal((await fetch(url)).status, 200);
});

t.test('many backends are collected in slices: others get their turns', async (t) => {
  let turns = 0;
  let collecting = true;
  const count = () => {
    turns++;
    if (collecting) setImmediate(count);
  };
  setImmediate(count);
  const { pieces } = await collectMetrics({
    shared: new SharedState(createSharedBuffers(1), -1),
    planner: { frontendRow: () => 3 },
    ...PARTS,
    status: () => atOnce(),
    backends: { figures: () => figuresOf(many(5000)) },
    evictions: () => 0,
  });
  collecting = false;
  t.ok(turns > 3, `${turns} turns`);
  const text = pieces.join('');
  t.equal(text.match(/^tandem_backend_up\{/gm)?.length, 5000);
  const families = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  t.equal(new Set(families).size, families.length);
  const order = [...text.matchAll(/^(?:# TYPE )?(tandem_\w+)/gm)].map(([, name]) => name);
  const runs = order.filter((name, i) => name !== order[i - 1]);
  t.same(runs, families, 'the samples of a metric stand together');
});

t.test('what the metrics are made of is read in steps: others get their turns between them', async (t) => {
  let turns = 0;
  let collecting = true;
  const count = () => {
    turns++;
    if (collecting) setImmediate(count);
  };
  setImmediate(count);
  /** Turns that there had been at each step. */
  const seen: number[] = [];
  /** More than the main thread gives to the metrics at one go. */
  const work = () => {
    for (const endMs = performance.now() + 10; performance.now() < endMs; );
    seen.push(turns);
  };
  const names = Array.from({ length: 20 }, (_, i) => `f${i}`);
  const config = parseConfig(
    `
frontends: { ${names.map((name, i) => `${name}: { bind: ["127.0.0.1:${1000 + i}"], pool: web }`).join(', ')} }
pools: { web: { backends: { s1: { address: "10.0.0.1:80" } } } }
`,
    '/test.yaml',
    { cpus: 1 },
  );
  const shared = new SharedState(createSharedBuffers(1), -1);
  const planner = { slot: () => 5, frontendRow: () => 3 } as unknown as Planner;
  const sources: StatusSources = {
    node: 'lb1',
    config: () => config,
    reloadError: () => undefined,
    shared,
    planner,
    backends: {
      has: () => true,
      strain: () => undefined,
      status: () => status().pools.web!.backends.s1!,
    } as unknown as StatusSources['backends'],
    workers: () => status().workers,
    sync: () => status().sync,
    flows: () => status().flows!,
    leaving: () => [],
    leftOut: () => [],
    certificates: () => [],
    engine: () => {
      work();
      return undefined;
    },
    resolved: () => undefined,
    warnings: () => [],
    notes: () => [],
  };
  const { pieces } = await collectMetrics({
    ...PARTS,
    shared,
    planner,
    backends: {
      *figures() {
        for (const it of many(20)) {
          work();
          yield it;
        }
      },
    },
    status: () => nodeStatusInSteps(sources),
    evictions: () => 0,
  });
  collecting = false;
  t.equal(seen.length, 40);
  t.ok(
    seen.every((turn, i) => i === 0 || turn > seen[i - 1]!),
    'a turn for others between two frontends, and between two backends',
  );
  t.equal(pieces.join('').match(/^tandem_backend_up\{/gm)?.length, 20);
  t.same(Object.keys(lbdStatus(sources).pools.web!.backends), ['s1'], 'and at one go for who asks for it');
});

t.test('a page that is made of a former one says the same as a new one', async (t) => {
  const shared = new SharedState(createSharedBuffers(1), -1);
  const worker = new SharedState(shared.buffers, 0);
  const kept = new BackendMetrics();
  const pageOf = async (backends: readonly BackendFigures[], with_ = new BackendMetrics()) => {
    const page = new Exposition();
    for (const _step of with_.add(page, { shared, backends: { figures: () => figuresOf(backends) } }));
    return page.pieces();
  };
  const slots = many(1000).map((it, i) => ({ ...it, slot: i }));
  const first = await pageOf(slots, kept);
  const text = first.join('');
  t.equal(first.join(''), (await pageOf(slots)).join(''));
  const cases: [what: string, backends: readonly BackendFigures[]][] = [
    ['nothing has changed', slots],
    ['a state', slots.map((it, i) => (i === 500 ? { ...it, state: 'down', healthy: false } : it))],
    ['one has come first', [{ ...BACKEND, id: 'a/b', pool: 'a', name: 'b' }, ...slots]],
    ['many have gone', slots.slice(0, 300)],
    ['all but one', slots.slice(700, 701)],
    ['all', []],
    ['many have come', [...slots, ...many(500).map((it) => ({ ...it, id: `x/${it.name}`, pool: 'x' }))]],
  ];
  for (const [what, backends] of cases) {
    worker.countBackend(7, COUNTER.requests, 3);
    t.equal((await pageOf(backends, kept)).join(''), (await pageOf(backends)).join(''), what);
  }
  t.equal(first.join(''), text, 'and whoever reads the former one goes on with that');
});

t.test('labels are escaped', async (t) => {
  const page = new Exposition();
  const add = page.gauge('tandem_x', 'Some help.');
  add({ file: 'a\\b"c\nd' }, 1);
  add({}, 2);
  t.equal(
    page.pieces().join(''),
    '# HELP tandem_x Some help.\n# TYPE tandem_x gauge\ntandem_x{file="a\\\\b\\"c\\nd"} 1\ntandem_x 2\n',
  );
});
