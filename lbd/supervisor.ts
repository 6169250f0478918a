import { Worker } from 'node:worker_threads';
import { messageOf, OperatorError } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import type { FromWorker, Plan, RetireMode, ToWorker, WorkerData } from './plan.ts';

/** A worker that dies at once must not turn into a busy loop, one that dies once must be back soon. */
const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
/** A worker that ran so long was well: the next backoff is the first one again. */
const WELL_AFTER_MS = 60_000;
/** Binding and compiling takes milliseconds; a worker that needs longer hangs. */
const PLAN_TIMEOUT_MS = 10_000;
/** After the grace a worker cuts what is left and exits by itself; so long it may take. */
const EXIT_MARGIN_MS = 2_000;

export interface SupervisorOptions {
  /** Data plane threads. */
  readonly count: number;
  /** The worker thread's file. */
  readonly entry: URL;
  /** All of `WorkerData` but the worker's index and the plan. */
  readonly workerData: Omit<WorkerData, 'index' | 'plan'>;
  readonly log: Logger;
  /** A worker died or is back; one line. */
  tell(text: string): void;
  /** A worker is gone, and what it had in shared memory must be released before another takes its place. */
  onGone(index: number): void;
  /** Client connections to the VIPs, all workers together; told while they finish. */
  onOpen?(connections: number): void;
}

interface Seat {
  readonly index: number;
  worker: Worker | undefined;
  /** Who waits for its answer to the plan with this serial. */
  readonly answers: Map<number, (errors: readonly string[]) => void>;
  startedMs: number;
  backoffMs: number;
  restart: NodeJS.Timeout | undefined;
  /** Why it is not running; empty while it is. */
  trouble: string;
  /** Client connections to the VIPs, when it last counted them. */
  open: number;
}

/**
 * Keeps the data plane's worker threads running: starts them, gives them each new plan, replaces one that died
 * while the others go on, and stops them with grace.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #seats: Seat[];
  #plan: Plan | undefined;
  #serial = 0;
  #replaced = 0;
  #started = false;
  #stopping = false;
  #retire: RetireMode = 'keep';

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#seats = Array.from({ length: options.count }, (_, index) => ({
      index,
      worker: undefined,
      answers: new Map(),
      startedMs: 0,
      backoffMs: FIRST_BACKOFF_MS,
      restart: undefined,
      trouble: 'not started',
      open: 0,
    }));
  }

  get status(): { wanted: number; running: number; replaced: number } {
    const running = this.#seats.filter((seat) => seat.trouble === '').length;
    return { wanted: this.#options.count, running, replaced: this.#replaced };
  }

  /** Workers that do not run, one line each. */
  warnings(): string[] {
    return this.#seats.flatMap((seat) =>
      seat.trouble === '' ? [] : [`worker ${seat.index} does not run: ${seat.trouble}`],
    );
  }

  /**
   * Starts all workers and waits until each one listens.
   *
   * @throws OperatorError `WORKER` with the first reason why one cannot; the others are ended
   */
  async start(plan: Plan): Promise<void> {
    this.#plan = plan;
    const results = await Promise.all(this.#seats.map((seat) => this.#launch(seat, plan)));
    const problem = results.flat()[0];
    this.#started = true;
    if (problem === undefined) return;
    await this.stop(0);
    throw new OperatorError('WORKER', problem);
  }

  /**
   * Gives a new plan to all workers and waits until each has applied it. One that dies meanwhile comes back with
   * the new plan.
   *
   * @returns what could not be applied, one line each
   */
  async update(plan: Plan): Promise<string[]> {
    this.#plan = plan;
    const serial = ++this.#serial;
    const running = this.#seats.filter((seat) => seat.worker !== undefined);
    const results = await Promise.all(
      running.map((seat) => {
        const answer = this.#answerTo(seat, serial);
        this.#post(seat, { type: 'plan', plan, serial });
        return answer;
      }),
    );
    return [...new Set(results.flat())];
  }

  /** Closes what is still open to a backend. */
  cut(slot: number): void {
    for (const seat of this.#seats) this.#post(seat, { type: 'cut', slot });
  }

  /** Finishes the connections to the VIPs, or lets them be again; see `onOpen`. */
  retire(mode: RetireMode): void {
    if (mode === this.#retire) return;
    this.#retire = mode;
    for (const seat of this.#seats) this.#post(seat, { type: 'retire', mode });
  }

  /** Ends all workers: listeners first, requests in flight get `graceMs`. Waits until they are gone. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    await Promise.all(
      this.#seats.map(async (seat) => {
        clearTimeout(seat.restart);
        const { worker } = seat;
        if (worker === undefined) return;
        const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
        if (graceMs === 0) {
          await worker.terminate();
          return;
        }
        this.#post(seat, { type: 'stop', graceMs });
        const deadline = setTimeout(() => void worker.terminate(), graceMs + EXIT_MARGIN_MS);
        await exited;
        clearTimeout(deadline);
      }),
    );
  }

  /** @returns what its first plan met, one line each */
  async #launch(seat: Seat, plan: Plan): Promise<readonly string[]> {
    const { entry, workerData, log } = this.#options;
    seat.startedMs = performance.now();
    seat.trouble = 'starting';
    const data: WorkerData = { ...workerData, index: seat.index, plan };
    const worker = new Worker(entry, { workerData: data, name: `worker ${seat.index}` });
    seat.worker = worker;
    let cause: string | undefined;
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'planned') seat.answers.get(message.serial)?.(message.errors);
      else if (message.type === 'open') this.#counted(seat, message.connections);
      else log[message.level]({ worker: seat.index, ...message.data }, message.text);
    });
    worker.on('error', (error) => {
      cause = messageOf(error);
      // At the start the cause is told in one line; later it is a fault of ours, and the stack leads to it.
      if (this.#started) log.error({ worker: seat.index, err: error }, 'worker failed');
    });
    if (this.#retire !== 'keep') this.#post(seat, { type: 'retire', mode: this.#retire });
    worker.once('exit', (code) => this.#gone(seat, cause ?? `it exited with code ${code}`));
    const errors = await this.#answerTo(seat, 0);
    if (seat.worker === worker) seat.trouble = errors.join('; ');
    return errors;
  }

  #gone(seat: Seat, cause: string): void {
    seat.worker = undefined;
    this.#counted(seat, 0);
    this.#options.onGone(seat.index);
    for (const answer of [...seat.answers.values()]) answer([`worker ${seat.index}: ${cause}`]);
    const ranMs = performance.now() - seat.startedMs;
    const wasUp = seat.trouble === '';
    seat.trouble = cause;
    // One that cannot even start the first time makes `start` fail.
    if (this.#stopping || (!this.#started && !wasUp)) return;
    if (ranMs >= WELL_AFTER_MS) seat.backoffMs = FIRST_BACKOFF_MS;
    if (wasUp) this.#options.tell(`worker ${seat.index} died after ${Math.round(ranMs)} ms: ${cause}`);
    seat.restart = setTimeout(() => void this.#replace(seat), seat.backoffMs);
    seat.backoffMs = Math.min(seat.backoffMs * 2, MAX_BACKOFF_MS);
  }

  #counted(seat: Seat, connections: number): void {
    seat.open = connections;
    if (this.#retire === 'keep') return;
    this.#options.onOpen?.(this.#seats.reduce((sum, { open }) => sum + open, 0));
  }

  async #replace(seat: Seat): Promise<void> {
    this.#replaced++;
    const serial = this.#serial;
    const errors = await this.#launch(seat, this.#plan!);
    if (errors.length > 0) {
      this.#options.tell(`worker ${seat.index} could not be replaced: ${errors.join('; ')}`);
      return;
    }
    this.#options.tell(`worker ${seat.index} is back`);
    // A plan that came while it started.
    if (serial !== this.#serial && seat.worker !== undefined)
      this.#post(seat, { type: 'plan', plan: this.#plan!, serial: this.#serial });
  }

  /** The errors with which a worker answers a plan; at the latest when it dies or the time is over. */
  #answerTo(seat: Seat, serial: number): Promise<readonly string[]> {
    return new Promise((resolve) => {
      const settle = (errors: readonly string[]) => {
        clearTimeout(timer);
        seat.answers.delete(serial);
        resolve(errors);
      };
      const timer = setTimeout(
        () => settle([`worker ${seat.index} did not apply its plan within ${PLAN_TIMEOUT_MS / 1000} s`]),
        PLAN_TIMEOUT_MS,
      );
      seat.answers.set(serial, settle);
    });
  }

  #post(seat: Seat, message: ToWorker): void {
    seat.worker?.postMessage(message);
  }
}
