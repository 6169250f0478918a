import type { BackendState } from '../../common/control.ts';
import { BACKEND_COUNTERS, COUNTER, type SharedState } from '../shared/shared.ts';
import type { BackendFigures, Backends } from './care/backends.ts';
import { type Exposition, labelText } from './exposition.ts';
import { type Column, SampleTable } from './sample-table.ts';

const STATUS_CLASSES = ['2xx', '3xx', '4xx', '5xx'] as const;
const STATES: readonly BackendState[] = [
  'ready',
  'draining',
  'drained',
  'down',
  'ejected',
  'maint',
  'starting',
];

const gauge = (name: string, help: string, more?: Column['more']): Column => ({
  name,
  kind: 'gauge',
  help,
  ...(more && { more }),
});
const counter = (name: string, help: string, more?: string): Column => ({
  ...gauge(name, help, more),
  kind: 'counter',
});

/** Those of shared memory, with their index there. */
const COUNTERS: readonly (readonly [column: Column, index: number])[] = [
  ...STATUS_CLASSES.map(
    (of) =>
      [
        counter('tandem_backend_responses_total', 'Responses by status class.', labelText({ class: of })),
        COUNTER[`status_${of}`],
      ] as const,
  ),
  [counter('tandem_backend_requests_total', 'Requests or connections sent to it.'), COUNTER.requests],
  [counter('tandem_backend_errors_total', 'Requests that failed on its side.'), COUNTER.errors],
  [
    counter('tandem_backend_retries_total', 'Requests that failed there and were sent to another backend.'),
    COUNTER.retries,
  ],
  [counter('tandem_backend_connects_total', 'Connections made to it.'), COUNTER.connects],
  [counter('tandem_backend_connect_failures_total', 'Connections that failed.'), COUNTER.connect_failures],
  [counter('tandem_backend_sent_bytes_total', 'Bytes to the backend.'), COUNTER.bytes_sent],
  [counter('tandem_backend_received_bytes_total', 'Bytes from the backend.'), COUNTER.bytes_received],
];

/** In the order in which `BackendMetrics` reads them. */
const COLUMNS: readonly Column[] = [
  gauge('tandem_backend_up', '1: it takes new clients.'),
  gauge('tandem_backend_healthy', '1: its health checks succeed.'),
  gauge(
    'tandem_backend_state',
    '1 for the state that it is in.',
    STATES.map((state) => labelText({ state })),
  ),
  gauge('tandem_backend_weight', 'Weight in force.'),
  gauge('tandem_backend_active', 'Requests or connections in flight.'),
  gauge('tandem_backend_latency_seconds', 'Decaying average of the response time, peaks count at once.'),
  counter('tandem_backend_ejections_total', 'How often it was left out for failing its clients.'),
  gauge('tandem_backend_share', 'Slow start: part of its clients that it gets.'),
  ...COUNTERS.map(([column]) => column),
];

export interface BackendMetricsSources {
  readonly shared: Pick<SharedState, 'eligible' | 'latencyMs' | 'backendCounters'>;
  readonly backends: Pick<Backends, 'figures'>;
}

/** The metrics of all backends, which are most of a page. Keeps what it made, see `SampleTable`. */
export class BackendMetrics {
  readonly #table = new SampleTable(COLUMNS);
  readonly #values = new Float64Array(COLUMNS.length);
  readonly #counters = new Float64Array(BACKEND_COUNTERS.length);
  /** By row: whose labels these are. */
  readonly #ids: string[] = [];
  readonly #labels: string[] = [];

  /** Adds them to a page; after each step the rest may wait. */
  *add(page: Exposition, { shared, backends }: BackendMetricsSources): Generator<void> {
    const [values, counters] = [this.#values, this.#counters];
    let row = 0;
    for (const it of backends.figures()) {
      const { slot } = it;
      let at = 0;
      values[at++] = shared.eligible(slot) ? 1 : 0;
      values[at++] = it.healthy ? 1 : 0;
      values[at++] = STATES.indexOf(it.state);
      values[at++] = it.weight;
      values[at++] = it.active;
      values[at++] = Math.round(shared.latencyMs(slot) * 1000) / 1_000_000;
      values[at++] = it.ejections;
      values[at++] = it.share / 100;
      shared.backendCounters(slot, counters);
      for (const [, index] of COUNTERS) values[at++] = counters[index]!;
      this.#table.set(row, this.#labelsOf(row, it), values);
      row++;
      yield;
    }
    this.#table.end(row);
    page.append(yield* this.#table.pieces());
  }

  #labelsOf(row: number, { id, pool, name }: Pick<BackendFigures, 'id' | 'pool' | 'name'>): string {
    if (this.#ids[row] !== id) {
      this.#ids[row] = id;
      this.#labels[row] = labelText({ pool, backend: name });
    }
    return this.#labels[row]!;
  }
}
