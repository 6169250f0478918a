import type { FlowSyncStatus, LbdStatus } from '../../common/control.ts';
import type { FrontendCounter, SharedState } from '../shared/shared.ts';
import { BackendMetrics, type BackendMetricsSources } from './backend-metrics.ts';
import { EXPOSITION_TYPE, Exposition } from './exposition.ts';
import type { Planner } from './planner.ts';
import { type NodeStatus, type PoolFigures, REFUSALS } from './status.ts';

/** Answers that lbd gave itself, as metric label and counter. */
const OWN_ANSWERS: readonly (readonly [code: string, counter: FrontendCounter])[] = [
  ['400', 'refused_400'],
  ['408', 'refused_408'],
  ['other', 'refused_other'],
  ['502', 'answered_502'],
  ['503', 'answered_503'],
  ['504', 'answered_504'],
];
const SYNC_STATES: readonly LbdStatus['sync']['state'][] = ['off', 'connecting', 'snapshot', 'synced'];
const FLOW_STATES: readonly FlowSyncStatus['state'][] = [
  'counting',
  'connecting',
  'snapshot',
  'synced',
  'failed',
];

export interface MetricsSources {
  readonly shared: SharedState;
  readonly planner: Pick<Planner, 'frontendRow'>;
  readonly backends: BackendMetricsSources['backends'];
  /** Made in steps, after each of which the rest may wait. */
  status(): Generator<void, NodeStatus>;
  pools(): Iterable<PoolFigures>;
  /** Entries that were thrown out of the full session table, since the start. */
  evictions(): number;
  /** Lines of access logs that could not be written, since the start. */
  accessDropped?(): number;
}

/** The page of metrics, in pieces that follow each other. */
export interface MetricsPage {
  readonly pieces: readonly Buffer[];
  readonly contentType: string;
}

/** The main thread also answers the agent and the health checks, so it is left to them after so long. */
const SLICE_MS = 2;

/**
 * Prometheus metrics of this node, read from the shared memory when they are asked for, in slices of a few milliseconds.
 *
 * @param backends kept for the next page; one page at a time
 * @returns text in the exposition format, and its content type
 */
export async function collectMetrics(
  sources: MetricsSources,
  backends = new BackendMetrics(),
): Promise<MetricsPage> {
  const page = new Exposition();
  let sinceMs = performance.now();
  for (const _step of fill(page, sources, backends)) {
    if (performance.now() - sinceMs < SLICE_MS) continue;
    await new Promise((resolve) => setImmediate(resolve));
    sinceMs = performance.now();
  }
  return { pieces: page.pieces(), contentType: EXPOSITION_TYPE };
}

/** Fills the page; after each step the rest may wait. */
function* fill(page: Exposition, sources: MetricsSources, backends: BackendMetrics): Generator<void> {
  const status = yield* sources.status();
  addProcess(page, status);
  yield* addFrontends(page, status, sources);
  yield* backends.add(page, sources);
  yield* addPools(page, sources);
  addSessions(page, status, sources);
  addEngines(page, status);
  yield* addFlows(page, status);
}

function addProcess(page: Exposition, status: NodeStatus): void {
  const { gauge, counter } = page;
  gauge('tandem_build_info', 'Version of lbd, node and config that run.')(
    { version: status.version, node: status.node, config: status.config.digest.slice(0, 12) },
    1,
  );
  gauge('tandem_uptime_seconds', 'Seconds since lbd started.')({}, status.uptime_ms / 1000);
  gauge('tandem_process_resident_memory_bytes', 'Resident memory of lbd, all threads.')(
    {},
    process.memoryUsage.rss(),
  );
  const { user, system } = process.cpuUsage();
  const cpu = counter('tandem_process_cpu_seconds_total', 'CPU time of lbd, all threads.');
  cpu({ mode: 'user' }, user / 1e6);
  cpu({ mode: 'system' }, system / 1e6);
  gauge('tandem_workers', 'Data plane threads that run.')({}, status.workers.running);
  gauge('tandem_workers_wanted', 'Data plane threads of the config.')({}, status.workers.wanted);
  counter('tandem_workers_replaced_total', 'Data plane threads that died and were replaced.')(
    {},
    status.workers.replaced,
  );
  gauge('tandem_config_reload_success', '1: the config file is in force; 0: the last reload was refused.')(
    {},
    status.config.reload_error === undefined ? 1 : 0,
  );
  gauge('tandem_warnings', 'Refusals and fallbacks in force; lbctl status names them.')(
    {},
    status.warnings.length,
  );
}

function* addFrontends(
  page: Exposition,
  status: NodeStatus,
  { planner, shared }: MetricsSources,
): Generator<void> {
  const { gauge, counter } = page;
  const connections = gauge('tandem_frontend_connections', 'Open client connections.');
  const accepted = counter('tandem_frontend_accepted_total', 'Accepted client connections.');
  const requests = counter('tandem_frontend_requests_total', 'Requests of clients.');
  const received = counter('tandem_frontend_received_bytes_total', 'Bytes from clients.');
  const sent = counter('tandem_frontend_sent_bytes_total', 'Bytes to clients.');
  const own = counter('tandem_frontend_own_answers_total', 'Answers that lbd gave itself.');
  const handshakes = counter('tandem_frontend_tls_handshakes_total', 'TLS handshakes with clients.');
  const certificateEnd = gauge(
    'tandem_certificate_not_after_seconds',
    'When a certificate ends that clients are shown, in seconds since 1970.',
  );
  const refused = counter('tandem_frontend_refused_total', 'Clients turned away before they had a backend.');
  const datagrams = counter('tandem_frontend_datagrams_total', 'Datagrams of mode udp.');
  const evicted = counter(
    'tandem_frontend_flows_evicted_total',
    'UDP flows that nothing proved and that made room for new ones.',
  );
  for (const [frontend, { tls, mode }] of Object.entries(status.frontends)) {
    yield;
    const row = planner.frontendRow(frontend);
    if (row === undefined) continue;
    const count = (name: FrontendCounter) => shared.frontendCounter(row, name);
    if (tls !== undefined) {
      for (const result of ['handshakes', 'resumed', 'failed'] as const)
        handshakes({ frontend, result: result === 'handshakes' ? 'full' : result }, tls[result]);
      for (const { file, not_after } of tls.certificates) {
        certificateEnd({ frontend, file }, Date.parse(not_after) / 1000);
        yield;
      }
    }
    connections({ frontend }, count('connections'));
    accepted({ frontend }, count('accepted'));
    requests({ frontend }, count('requests'));
    received({ frontend }, count('bytes_received'));
    sent({ frontend }, count('bytes_sent'));
    for (const [code, name] of OWN_ANSWERS) own({ frontend, code }, count(name));
    for (const [cause, name] of REFUSALS) refused({ frontend, cause }, count(name));
    if (mode !== 'udp') continue;
    for (const result of ['received', 'sent', 'dropped'] as const)
      datagrams({ frontend, result }, count(`datagrams_${result}`));
    evicted({ frontend }, count('flows_evicted'));
  }
}

function* addPools(page: Exposition, { pools }: MetricsSources): Generator<void> {
  const { gauge, counter } = page;
  const waiting = gauge('tandem_pool_queue', 'Clients that wait for a backend with room.');
  const panic = gauge('tandem_pool_panic', '1: too few backends are healthy, all are used.');
  const open = gauge('tandem_pool_open', 'What is open towards the backends, by kind.');
  const refused = counter(
    'tandem_pool_refused_total',
    'Requests that the circuit breaker refused, and retries for which there was no budget.',
  );
  for (const { name: pool, queue, strain } of pools()) {
    yield;
    if (queue !== undefined) waiting({ pool }, queue.waiting);
    panic({ pool }, strain?.panic ? 1 : 0);
    for (const [kind, count] of Object.entries(strain?.open ?? {})) open({ pool, kind }, count);
    for (const [cause, count] of Object.entries(strain?.refused ?? {})) refused({ pool, cause }, count);
  }
}

function addSessions(page: Exposition, { sync }: NodeStatus, sources: MetricsSources): void {
  const { gauge, counter } = page;
  gauge('tandem_sessions', 'Live entries of the session table.')({}, sync.entries);
  gauge('tandem_sessions_capacity', 'Entries that the session table holds.')({}, sync.capacity);
  counter('tandem_sessions_evicted_total', 'Entries thrown out of the full session table.')(
    {},
    sources.evictions(),
  );
  counter('tandem_access_log_dropped_total', 'Lines of access logs that could not be written.')(
    {},
    sources.accessDropped?.() ?? 0,
  );
  gauge('tandem_sync_lag_seconds', 'Age of the oldest update that the peer has not acknowledged.')(
    {},
    sync.lag_ms / 1000,
  );
  const state = gauge('tandem_sync_state', '1 for the state that the session sync is in.');
  for (const name of SYNC_STATES) state({ state: name }, sync.state === name ? 1 : 0);
  if (sync.digest_equal !== undefined)
    gauge('tandem_sync_digest_equal', '1: both session tables were equal when last compared.')(
      {},
      sync.digest_equal ? 1 : 0,
    );
}

/** Who moves the bytes of the frontends of mode tcp and udp. */
function addEngines(page: Exposition, { frontends }: NodeStatus): void {
  const help = '1 for the engine that moves the bytes of a frontend.';
  const gauge = page.gauge('tandem_frontend_engine', help);
  for (const [frontend, { engine }] of Object.entries(frontends))
    if (engine !== undefined)
      for (const name of ['kernel', 'user'])
        gauge({ frontend, engine: name }, engine.engine === name ? 1 : 0);
}

/** Of the kernel engine; nothing where no frontend has it. */
function* addFlows(page: Exposition, { flows }: NodeStatus): Generator<void> {
  if (flows === undefined || flows.state === 'off') return;
  const { gauge, counter } = page;
  const active = gauge('tandem_flows', 'Open flows in the kernel.');
  const limit = gauge('tandem_flows_limit', 'Open flows for which the kernel has source ports.');
  const opened = counter('tandem_flows_opened_total', 'Flows that were opened in the kernel.');
  const bytes = counter('tandem_flow_bytes_total', 'Bytes of ended flows, where the kernel counts.');
  for (const [frontend, backends] of Object.entries(flows.frontends))
    for (const [backend, count] of Object.entries(backends)) {
      yield;
      if (count.limit !== undefined) limit({ frontend, backend }, count.limit);
      active({ frontend, backend }, count.active);
      opened({ frontend, backend }, count.opened);
      bytes({ frontend, backend }, count.bytes);
    }
  const state = gauge('tandem_flow_sync_state', '1 for the state that the flow sync is in.');
  for (const name of FLOW_STATES) state({ state: name }, flows.state === name ? 1 : 0);
  for (const [name, help, value] of [
    [
      'tandem_flow_sync_lag_seconds',
      "Age of the oldest flow that is not in the peer's kernel.",
      flows.lag_ms / 1000,
    ],
    ['tandem_flow_sync_peer_flows', 'Flows that the peer told.', flows.replica],
  ] as const)
    gauge(name, help)({}, value);
  for (const [name, help, value] of [
    ['tandem_flow_events_total', 'Messages of the connection tracking that were read.', flows.events],
    ['tandem_flow_writes_total', 'Flows of the peer that were written into the kernel.', flows.written],
    ['tandem_flow_writes_failed_total', 'Writes that the kernel refused.', flows.failed],
    ['tandem_flows_dropped_total', 'Flows that were too many to follow.', flows.dropped],
    [
      'tandem_flow_insert_failed_total',
      'New flows that the kernel dropped, above all for want of a source port.',
      flows.insert_failed ?? 0,
    ],
    ['tandem_flow_resyncs_total', 'Losses that a dump or a snapshot repaired.', flows.resyncs],
  ] as const)
    counter(name, help)({}, value);
}
