import { Worker } from 'node:worker_threads';
import type { ExplainQuery } from '../../common/control.ts';
import { messageOf, OperatorError } from '../../common/errors.ts';
import { giveBack, type Holdings } from '../../common/holdings.ts';
import type { Logger } from '../../common/logger.ts';
import {
  type Addresses,
  BEAT_MS,
  type FromWorker,
  type OpenByGroup,
  type Plan,
  type Retirement,
  type ToWorker,
  type WorkerData,
} from '../shared/plan.ts';
import type { WorkerExplanation } from '../shared/worker-explanation.ts';

/** A worker that dies at once must not turn into a busy loop, one that dies once must be back soon. */
const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
/** A worker that ran so long was well: the next backoff is the first one again. */
const WELL_AFTER_MS = 60_000;
/** Binding and compiling takes milliseconds; a worker that needs longer hangs. */
const PLAN_TIMEOUT_MS = 30_000;
/**
 * At the start of lbd all that runs on the machine starts with it: where that shares a sixth of a processor, the second that
 * a worker needs takes half a minute and more, and giving up would begin the same anew. Within `TimeoutStartSec` of the unit.
 */
const START_TIMEOUT_MS = 180_000;
/** A worker that serves answers at once; an operator does not wait for one that hangs. */
const EXPLAIN_TIMEOUT_MS = 1_000;
/**
 * Turns of the main thread's own timer without a beat, so that a machine on which all threads are late is not blamed on
 * a worker. After the first limit it does not count as serving; when no worker does, the peer takes over, within the
 * 500 ms in which it would for an `lbd` that is stopped. After the second one (1 s) it is ended and replaced: what it
 * had is lost, and what the kernel still gives it as well.
 */
const WATCH_MS = 2 * BEAT_MS;
const SILENT_TURNS = 4;
const HUNG_TURNS = 10;
/** After the grace a worker cuts what is left and exits by itself; so long it may take. */
const EXIT_MARGIN_MS = 2_000;

const STARTING = 'starting';

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
  /** Beats of a worker so far, see `SharedState.beats`. */
  beats(index: number): number;
  /** Whether any worker answers changed. */
  onServing(): void;
  /** All workers together; told while they finish. */
  onOpen?(connections: OpenByGroup): void;
  /** Lines of a worker for an access log. */
  onAccess?(path: string, lines: Uint8Array): void;
}

interface Seat {
  readonly index: number;
  worker: Worker | undefined;
  /** Who waits for its answer to the plan with this serial. */
  readonly answers: Map<number, (errors: readonly string[]) => void>;
  /** Who waits for an explanation, by serial. */
  readonly questions: Map<number, (explanation: WorkerExplanation | undefined) => void>;
  startedMs: number;
  backoffMs: number;
  restart: NodeJS.Timeout | undefined;
  /** Why it is not running; empty while it is. */
  trouble: string;
  /** At the latest turn of the watch. */
  beats: number;
  /** Turns without a beat. */
  silentTurns: number;
  /** Why it was ended from here. */
  ended: string | undefined;
  /** When it last counted. */
  open: OpenByGroup;
  /** What it does instead of reading and writing as is best, and why; empty: it does not. */
  indirect: string;
  /** To be given back when it is gone. */
  holdings: Holdings | undefined;
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
  #question = 0;
  #replaced = 0;
  #started = false;
  #stopping = false;
  #retire: Retirement = {};
  #watch: NodeJS.Timeout | undefined;
  #serving = true;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#seats = Array.from({ length: options.count }, (_, index) => ({
      index,
      worker: undefined,
      answers: new Map(),
      questions: new Map(),
      startedMs: 0,
      backoffMs: FIRST_BACKOFF_MS,
      restart: undefined,
      trouble: 'not started',
      beats: 0,
      silentTurns: 0,
      ended: undefined,
      open: {},
      indirect: '',
      holdings: undefined,
    }));
  }

  get status(): { wanted: number; running: number; replaced: number } {
    const running = this.#seats.filter((seat) => seat.trouble === '').length;
    return { wanted: this.#options.count, running, replaced: this.#replaced };
  }

  /** Whether a worker answers, or is so newly gone that another will before anybody notices. */
  get serving(): boolean {
    return this.#serving;
  }

  /** Workers that do not run, do not answer, or need more CPU than they should, one line each. */
  warnings(): string[] {
    return this.#seats.flatMap(({ index, trouble, silentTurns, indirect }) => {
      if (trouble !== '') return [`worker ${index} does not run: ${trouble}`];
      if (silentTurns >= SILENT_TURNS) return [`worker ${index} does not answer`];
      return indirect === '' ? [] : [`worker ${index} ${indirect}`];
    });
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
    if (problem === undefined) {
      this.#watch = setInterval(() => this.#look(), WATCH_MS);
      return;
    }
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

  /** Tells all workers where the backends with host names are now; also those that are started later. */
  readdress(addresses: Addresses): void {
    if (this.#plan === undefined) return;
    this.#plan = { ...this.#plan, addresses };
    for (const seat of this.#seats) this.#post(seat, { type: 'addresses', addresses });
  }

  /** Asks all workers what would become of a request. Those that do not answer in time are left out. */
  async explain(
    frontend: string,
    query: ExplainQuery,
  ): Promise<{ worker: number; explanation: WorkerExplanation }[]> {
    const serial = ++this.#question;
    const answers = await Promise.all(
      this.#seats.map(async (seat) => {
        if (seat.worker === undefined) return [];
        const answered = new Promise<WorkerExplanation | undefined>((resolve) => {
          const timer = setTimeout(resolve, EXPLAIN_TIMEOUT_MS, undefined);
          seat.questions.set(serial, (explanation) => {
            clearTimeout(timer);
            resolve(explanation);
          });
        });
        this.#post(seat, { type: 'explain', serial, frontend, query });
        const explanation = await answered;
        seat.questions.delete(serial);
        return explanation === undefined ? [] : [{ worker: seat.index, explanation }];
      }),
    );
    return answers.flat();
  }

  /** Closes what is still open to a backend. */
  cut(slot: number): void {
    for (const seat of this.#seats) this.#post(seat, { type: 'cut', slot });
  }

  /** Finishes the connections to VIPs, or lets them be again; see `onOpen`. */
  retire(groups: Retirement): void {
    if (JSON.stringify(groups) === JSON.stringify(this.#retire)) return;
    this.#retire = groups;
    for (const seat of this.#seats) this.#post(seat, { type: 'retire', groups });
  }

  /** Ends all workers: listeners first, requests in flight get `graceMs`. Waits until they are gone. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#watch);
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

  /** One turn of the watch. */
  #look(): void {
    for (const seat of this.#seats) this.#lookAt(seat);
    const serving = this.#seats.some(({ silentTurns }) => silentTurns < SILENT_TURNS);
    if (serving === this.#serving) return;
    this.#serving = serving;
    this.#options.onServing();
  }

  #lookAt(seat: Seat): void {
    const runs = seat.worker !== undefined && seat.trouble !== STARTING;
    const beats = this.#options.beats(seat.index);
    if (runs && beats !== seat.beats) {
      seat.beats = beats;
      seat.silentTurns = 0;
      return;
    }
    if (++seat.silentTurns !== HUNG_TURNS || !runs) return;
    seat.ended = `it did not answer for ${HUNG_TURNS * WATCH_MS} ms`;
    void seat.worker?.terminate();
  }

  /** @returns what its first plan met, one line each */
  async #launch(seat: Seat, plan: Plan): Promise<readonly string[]> {
    const { entry, workerData, log } = this.#options;
    seat.startedMs = performance.now();
    seat.trouble = STARTING;
    seat.ended = undefined;
    seat.indirect = '';
    const data: WorkerData = { ...workerData, index: seat.index, plan };
    const worker = new Worker(entry, { workerData: data, name: `worker ${seat.index}` });
    seat.worker = worker;
    let cause: string | undefined;
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'planned') seat.answers.get(message.serial)?.(message.errors);
      else if (message.type === 'access') this.#options.onAccess?.(message.path, message.lines);
      else if (message.type === 'explained') seat.questions.get(message.serial)?.(message.explanation);
      else if (message.type === 'open') this.#counted(seat, message.connections);
      else if (message.type === 'indirect') this.#indirect(seat, message.cause);
      else if (message.type === 'holdings') seat.holdings = message.holdings;
      else log[message.level]({ worker: seat.index, ...message.data }, message.text);
    });
    worker.on('error', (error) => {
      cause = messageOf(error);
      // At the start the cause is told in one line; later it is a fault of ours, and the stack leads to it.
      if (this.#started) log.error({ worker: seat.index, err: error }, 'worker failed');
    });
    if (this.#retiring) this.#post(seat, { type: 'retire', groups: this.#retire });
    worker.once('exit', (code) => this.#gone(seat, cause ?? seat.ended ?? `it exited with code ${code}`));
    const errors = await this.#answerTo(seat, 0, this.#started ? PLAN_TIMEOUT_MS : START_TIMEOUT_MS);
    if (seat.worker !== worker) return errors;
    seat.trouble = errors.join('; ');
    seat.silentTurns = 0;
    return errors;
  }

  #gone(seat: Seat, cause: string): void {
    seat.worker = undefined;
    if (seat.holdings !== undefined) giveBack(seat.holdings);
    seat.holdings = undefined;
    this.#counted(seat, {});
    this.#options.onGone(seat.index);
    for (const answer of seat.questions.values()) answer(undefined);
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

  #indirect(seat: Seat, cause: string): void {
    seat.indirect = cause;
    this.#options.log.warn({ worker: seat.index }, `worker ${seat.index} ${cause}`);
  }

  get #retiring(): boolean {
    return Object.keys(this.#retire).length > 0;
  }

  #counted(seat: Seat, connections: OpenByGroup): void {
    seat.open = connections;
    if (!this.#retiring) return;
    const sum = (group: string) => this.#seats.reduce((all, { open }) => all + (open[group] ?? 0), 0);
    this.#options.onOpen?.(Object.fromEntries(Object.keys(this.#retire).map((group) => [group, sum(group)])));
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
  #answerTo(seat: Seat, serial: number, limitMs = PLAN_TIMEOUT_MS): Promise<readonly string[]> {
    return new Promise((resolve) => {
      const settle = (errors: readonly string[]) => {
        clearTimeout(timer);
        seat.answers.delete(serial);
        resolve(errors);
      };
      const timer = setTimeout(
        () => settle([`worker ${seat.index} did not apply its plan within ${limitMs / 1000} s`]),
        limitMs,
      );
      seat.answers.set(serial, settle);
    });
  }

  #post(seat: Seat, message: ToWorker): void {
    seat.worker?.postMessage(message);
  }
}
