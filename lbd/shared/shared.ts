import { createQueueBuffers, QueueBoard, type QueueBuffers } from './queue-board.ts';
import { createSourceBuffers, type SourceBuffers, SourceLimits } from './source-limits.ts';
import { createVitalsBuffers, Vitals, type VitalsBuffers } from './vitals.ts';

/**
 * Memory that the control plane and the workers share. The main thread creates it, workers attach to it.
 *
 * Its blocks:
 * - `slots`: one 64-byte row a backend (a cache line, so that two backends never contend);
 * - `work`: for each worker and backend the requests in flight, so that those of a worker that died can be
 *   taken off again;
 * - `counters`: doubles that only their own worker writes; whoever reads sums over the workers.
 *
 * A slot belongs to one backend (by pool/backend name) as long as the config has it; see `SlotMap`.
 */
export const MAX_SLOTS = 8192;
export const MAX_FRONTENDS = 1024;
export const MAX_WORKERS = 64;

const SLOT_WORDS = 16;
/** Words of a slot row. */
const ELIGIBLE = 0;
const WEIGHT = 1;
const ACTIVE = 2;
const GATE = 3;
/** Double index in the row (word 8 and 9). */
const LATENCY_DOUBLE = 4;
const SLOT_DOUBLES = SLOT_WORDS / 2;

/** Who may be sent to a backend. */
export const GATE_OPEN = 0;
/** Only clients that are stuck to it (draining). */
export const GATE_STUCK = 1;
/** Nobody (unhealthy, maintenance). */
export const GATE_CLOSED = 2;
export type Gate = typeof GATE_OPEN | typeof GATE_STUCK | typeof GATE_CLOSED;

/** `tryEnter`: the backend has no limit. */
export const UNLIMITED = 0;

export const BACKEND_COUNTERS = [
  'requests',
  'errors',
  'connects',
  'connect_failures',
  'bytes_received',
  'bytes_sent',
  'status_2xx',
  'status_3xx',
  'status_4xx',
  'status_5xx',
  /** Milliseconds from request to answer, summed up. */
  'response_ms',
  /** Requests that failed here and were sent again elsewhere; those that were not for want of budget. */
  'retries',
  'retries_refused',
  /** Of a pool, in the row of its first backend: requests that the circuit breaker refused, by limit. */
  'broken_requests',
  'broken_pending',
  'broken_connections',
] as const;
export type BackendCounter = (typeof BACKEND_COUNTERS)[number];
/** Index of each counter of a backend, for `SharedState.countBackend`. */
export const COUNTER = Object.fromEntries(BACKEND_COUNTERS.map((name, index) => [name, index])) as Readonly<
  Record<BackendCounter, number>
>;

export const FRONTEND_COUNTERS = [
  'connections',
  'accepted',
  'requests',
  'bytes_received',
  'bytes_sent',
  'refused_400',
  'refused_408',
  'refused_other',
  'answered_502',
  'answered_503',
  'answered_504',
  /** Clients turned away, by cause; also in `answered_503` where they got an answer. */
  'refused_full',
  'refused_source',
  'refused_files',
  'refused_proxy',
  'refused_queue_full',
  'refused_queue_timeout',
  'refused_no_backend',
  'refused_breaker',
  /** udp: flows that had to make room. */
  'flows_evicted',
  'datagrams_received',
  'datagrams_sent',
  'datagrams_dropped',
  /** TLS with clients: full handshakes, resumed sessions, those that came to nothing. */
  'tls_handshakes',
  'tls_resumed',
  'tls_failed',
] as const;
export type FrontendCounter = (typeof FRONTEND_COUNTERS)[number];

const CONNECTIONS = FRONTEND_COUNTERS.indexOf('connections');

export interface SharedBuffers {
  readonly slots: SharedArrayBuffer;
  readonly work: SharedArrayBuffer;
  readonly backendCounters: SharedArrayBuffer;
  readonly frontendCounters: SharedArrayBuffer;
  /** One Int32: grows whenever a gate or weight changes. */
  readonly generation: SharedArrayBuffer;
  /** One Int32 a worker: grows as long as its event loop turns. */
  readonly beats: SharedArrayBuffer;
  /** One Int32 a frontend: client connections that were let in and are open. */
  readonly open: SharedArrayBuffer;
  readonly sources: SourceBuffers;
  readonly queues: QueueBuffers;
  readonly vitals: VitalsBuffers;
}

/** @param workers data plane threads, 1 to MAX_WORKERS; whoever sums a counter walks over so many rows */
export function createSharedBuffers(workers: number): SharedBuffers {
  return {
    slots: new SharedArrayBuffer(MAX_SLOTS * SLOT_WORDS * 4),
    work: new SharedArrayBuffer(workers * MAX_SLOTS * 4),
    backendCounters: new SharedArrayBuffer(workers * MAX_SLOTS * BACKEND_COUNTERS.length * 8),
    frontendCounters: new SharedArrayBuffer(workers * MAX_FRONTENDS * FRONTEND_COUNTERS.length * 8),
    generation: new SharedArrayBuffer(4),
    beats: new SharedArrayBuffer(workers * 4),
    open: new SharedArrayBuffer(MAX_FRONTENDS * 4),
    sources: createSourceBuffers(workers),
    queues: createQueueBuffers(workers, MAX_SLOTS),
    vitals: createVitalsBuffers(workers, MAX_SLOTS),
  };
}

/** View on the shared memory for one thread. */
export class SharedState {
  readonly buffers: SharedBuffers;
  readonly sources: SourceLimits;
  readonly queues: QueueBoard;
  readonly vitals: Vitals;
  readonly #open: Int32Array;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #work: Int32Array;
  readonly #generation: Int32Array;
  readonly #beats: Int32Array;
  readonly #backendCounters: Float64Array;
  readonly #frontendCounters: Float64Array;
  readonly #worker: number;

  /** @param worker index of this worker; -1 for the control plane, which only reads counters */
  constructor(buffers: SharedBuffers, worker: number) {
    this.buffers = buffers;
    this.#words = new Int32Array(buffers.slots);
    this.#doubles = new Float64Array(buffers.slots);
    this.#work = new Int32Array(buffers.work);
    this.#generation = new Int32Array(buffers.generation);
    this.#beats = new Int32Array(buffers.beats);
    this.#open = new Int32Array(buffers.open);
    this.sources = new SourceLimits(buffers.sources, worker);
    this.queues = new QueueBoard(buffers.queues, MAX_SLOTS, worker);
    this.vitals = new Vitals(buffers.vitals, MAX_SLOTS, worker);
    this.#backendCounters = new Float64Array(buffers.backendCounters);
    this.#frontendCounters = new Float64Array(buffers.frontendCounters);
    this.#worker = worker;
  }

  get generation(): number {
    return Atomics.load(this.#generation, 0);
  }

  /** Worker: its event loop turns. */
  beat(): void {
    Atomics.add(this.#beats, this.#worker, 1);
  }

  /** Beats of a worker so far; wraps. */
  beats(worker: number): number {
    return Atomics.load(this.#beats, worker);
  }

  /** Takes new clients: gate open and weight above 0. */
  eligible(slot: number): boolean {
    return this.#words[slot * SLOT_WORDS + ELIGIBLE] === 1;
  }

  weight(slot: number): number {
    return this.#words[slot * SLOT_WORDS + WEIGHT]!;
  }

  gate(slot: number): Gate {
    return this.#words[slot * SLOT_WORDS + GATE] as Gate;
  }

  active(slot: number): number {
    return Atomics.load(this.#words, slot * SLOT_WORDS + ACTIVE);
  }

  latencyMs(slot: number): number {
    return this.#doubles[slot * SLOT_DOUBLES + LATENCY_DOUBLE]!;
  }

  /** Control plane: sets who may be sent to a backend. */
  setGate(slot: number, gate: Gate, weight: number): void {
    const row = slot * SLOT_WORDS;
    const eligible = gate === GATE_OPEN && weight > 0 ? 1 : 0;
    const words = this.#words;
    if (words[row + GATE] === gate && words[row + WEIGHT] === weight && words[row + ELIGIBLE] === eligible)
      return;
    Atomics.store(words, row + GATE, gate);
    Atomics.store(words, row + WEIGHT, weight);
    Atomics.store(words, row + ELIGIBLE, eligible);
    Atomics.add(this.#generation, 0, 1);
  }

  /**
   * Control plane: a slot for a new backend; closed until `setGate`, its counters at 0. Requests still in flight
   * stay counted. Only for a slot that no worker uses.
   */
  resetSlot(slot: number): void {
    this.setGate(slot, GATE_CLOSED, 0);
    this.#doubles[slot * SLOT_DOUBLES + LATENCY_DOUBLE] = 0;
    clear(this.#backendCounters, MAX_SLOTS, slot, BACKEND_COUNTERS.length);
    this.vitals.reset(slot);
  }

  /** Control plane: a row for a new frontend, its counters at 0. Only for a row that no worker uses. */
  resetFrontend(frontend: number): void {
    clear(this.#frontendCounters, MAX_FRONTENDS, frontend, FRONTEND_COUNTERS.length);
  }

  /** A request or connection to this backend begins. Pair it with exactly one `leave`. */
  enter(slot: number): void {
    Atomics.add(this.#words, slot * SLOT_WORDS + ACTIVE, 1);
    this.#work[this.#worker * MAX_SLOTS + slot]!++;
  }

  /**
   * As `enter`, unless so many are in flight already.
   *
   * @param limit `UNLIMITED` or more
   */
  tryEnter(slot: number, limit: number): boolean {
    if (Atomics.add(this.#words, slot * SLOT_WORDS + ACTIVE, 1) >= limit && limit !== UNLIMITED) {
      Atomics.sub(this.#words, slot * SLOT_WORDS + ACTIVE, 1);
      return false;
    }
    this.#work[this.#worker * MAX_SLOTS + slot]!++;
    return true;
  }

  /** A client connection wants in. Pair `true` with exactly one `release`. */
  claim(frontend: number, limit: number): boolean {
    if (Atomics.add(this.#open, frontend, 1) >= limit) {
      Atomics.sub(this.#open, frontend, 1);
      return false;
    }
    this.countFrontend(frontend, CONNECTIONS, 1);
    return true;
  }

  release(frontend: number): void {
    Atomics.sub(this.#open, frontend, 1);
    this.countFrontend(frontend, CONNECTIONS, -1);
  }

  leave(slot: number): void {
    Atomics.sub(this.#words, slot * SLOT_WORDS + ACTIVE, 1);
    this.#work[this.#worker * MAX_SLOTS + slot]!--;
  }

  /** Control plane: a worker died; what it had in flight is gone, and so are its open connections. */
  forgetWorker(worker: number): void {
    for (let slot = 0; slot < MAX_SLOTS; slot++) {
      const cell = worker * MAX_SLOTS + slot;
      const inFlight = this.#work[cell]!;
      if (inFlight === 0) continue;
      Atomics.sub(this.#words, slot * SLOT_WORDS + ACTIVE, inFlight);
      this.#work[cell] = 0;
    }
    for (let frontend = 0; frontend < MAX_FRONTENDS; frontend++) {
      const cell = (worker * MAX_FRONTENDS + frontend) * FRONTEND_COUNTERS.length + CONNECTIONS;
      Atomics.sub(this.#open, frontend, this.#frontendCounters[cell]!);
      this.#frontendCounters[cell] = 0;
    }
    this.sources.forgetWorker(worker);
    this.queues.forgetWorker(worker);
    this.vitals.forgetWorker(worker);
  }

  /**
   * Peak-sensitive decaying average: a slower response counts at once, a faster one moves the average by an
   * eighth. Source: Finagle's peak EWMA. Two workers that write together lose one sample, not more.
   */
  observeLatency(slot: number, ms: number): void {
    const cell = slot * SLOT_DOUBLES + LATENCY_DOUBLE;
    const before = this.#doubles[cell]!;
    this.#doubles[cell] = ms > before ? ms : before + (ms - before) / 8;
  }

  /** Control plane: multiplies an average that no response refreshes by `factor`, see `LatencyDecay`. */
  fadeLatency(slot: number, factor: number): void {
    this.#doubles[slot * SLOT_DOUBLES + LATENCY_DOUBLE]! *= factor;
  }

  /** Worker: adds to its own counter. `counter` is the index in BACKEND_COUNTERS. */
  countBackend(slot: number, counter: number, by: number): void {
    this.#backendCounters[(this.#worker * MAX_SLOTS + slot) * BACKEND_COUNTERS.length + counter]! += by;
  }

  /** Worker: adds to its own counter. `counter` is the index in FRONTEND_COUNTERS. */
  countFrontend(frontend: number, counter: number, by: number): void {
    this.#frontendCounters[(this.#worker * MAX_FRONTENDS + frontend) * FRONTEND_COUNTERS.length + counter]! +=
      by;
  }

  /** Sum over all workers. */
  backendCounter(slot: number, counter: BackendCounter): number {
    return sum(
      this.#backendCounters,
      MAX_SLOTS,
      slot,
      BACKEND_COUNTERS.length,
      BACKEND_COUNTERS.indexOf(counter),
    );
  }

  /** As `backendCounter`, of all counters. @param into has room for `BACKEND_COUNTERS` */
  backendCounters(slot: number, into: Float64Array): void {
    const width = BACKEND_COUNTERS.length;
    const cells = this.#backendCounters;
    into.fill(0, 0, width);
    for (let row = slot * width; row < cells.length; row += MAX_SLOTS * width)
      for (let i = 0; i < width; i++) into[i]! += cells[row + i]!;
  }

  /** Sum over all workers. */
  frontendCounter(frontend: number, counter: FrontendCounter): number {
    const index = FRONTEND_COUNTERS.indexOf(counter);
    return sum(this.#frontendCounters, MAX_FRONTENDS, frontend, FRONTEND_COUNTERS.length, index);
  }
}

function sum(cells: Float64Array, rows: number, row: number, width: number, index: number): number {
  let total = 0;
  for (let cell = row * width + index; cell < cells.length; cell += rows * width) total += cells[cell]!;
  return total;
}

function clear(cells: Float64Array, rows: number, row: number, width: number): void {
  for (let cell = row * width; cell < cells.length; cell += rows * width) cells.fill(0, cell, cell + width);
}
