import type { Machine } from './machine.ts';

let current: AgentProcess | undefined;

/** The process whose code runs now; undefined: the code of the test. */
export function currentProcess(): AgentProcess | undefined {
  return current;
}

/** Nobody's code runs: what is called now is the test's. */
export function leaveProcess(): void {
  current = undefined;
}

/** A turn of an event loop that has nothing else to do. */
const TURN_MS = 0.02;
/** Timers of Node count whole milliseconds: they are early by less than one, or late. */
const EARLY_MS = 0.9;
const LATE_MS = 0.3;

/** In place of a timer or immediate of Node. */
export class SimTimer {
  cancelled = false;
  readonly #process: AgentProcess;
  readonly #run: () => void;
  readonly #delay: number;
  readonly #repeats: boolean;
  /** Only the latest time counts. */
  #generation = 0;

  constructor(process: AgentProcess, run: () => void, delay: number, repeats: boolean) {
    this.#process = process;
    this.#run = run;
    this.#delay = delay;
    this.#repeats = repeats;
  }

  refresh(): this {
    this.#schedule(++this.#generation);
    return this;
  }

  /** Its time has come. */
  fire(): void {
    if (!this.cancelled) this.#process.enter(this.#run);
  }

  unref(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  hasRef(): boolean {
    return true;
  }
  [Symbol.toPrimitive](): number {
    return 0;
  }
  [Symbol.dispose](): void {
    this.cancelled = true;
  }

  #schedule(generation: number): void {
    const { machine } = this.#process;
    machine.after('agent', Math.max(0, this.#delay + lateness(machine)), () => {
      if (this.cancelled || !this.#process.alive || generation !== this.#generation) return;
      if (this.#repeats) this.#schedule(generation);
      else this.cancelled = true;
      this.#process.enter(this.#run);
    });
  }
}

/** One process of the agent: the code runs for real, all that surrounds it is simulated. */
export class AgentProcess {
  readonly machine: Machine;
  alive = true;
  /** What it does at its end: sockets are closed, pipes end. */
  readonly #atEnd = new Set<() => void>();
  readonly #onThrow: (error: unknown) => void;

  /** @param onThrow what no code of the agent has caught */
  constructor(machine: Machine, onThrow: (error: unknown) => void) {
    this.machine = machine;
    this.#onThrow = onThrow;
  }

  /** Runs code of the agent. At most once in a happening of the simulation. */
  enter(run: () => void): void {
    if (!this.alive) return;
    current = this;
    this.machine.sim.touched = true;
    try {
      run();
    } catch (error) {
      this.#onThrow(error);
    }
  }

  /** Something that it can read, now or when it goes on. */
  input(run: () => void): void {
    this.machine.when('agent', 'input', () => this.enter(run));
  }

  /** Like `input`, as a happening of its own. */
  inputLater(ms: number, run: () => void): void {
    this.machine.after('agent', ms, () => this.enter(run), 'input');
  }

  timer(run: () => void, ms: number, repeats: boolean): SimTimer {
    const timer = new SimTimer(this, run, Math.max(1, Math.trunc(Number.isFinite(ms) ? ms : 1)), repeats);
    return timer.refresh();
  }

  immediate(run: () => void): SimTimer {
    const timer = new SimTimer(this, run, 0, false);
    this.machine.after('agent', TURN_MS, () => timer.fire(), 'turn');
    return timer;
  }

  /** @returns takes it back */
  atEnd(run: () => void): () => void {
    this.#atEnd.add(run);
    return () => this.#atEnd.delete(run);
  }

  /** It is gone at once, as by SIGKILL or an exit; its kernel closes what it had open. */
  die(): void {
    if (!this.alive) return;
    this.alive = false;
    if (this.machine.agent === this) this.machine.agent = undefined;
    this.machine.version++;
    for (const run of this.#atEnd) run();
    this.#atEnd.clear();
  }
}

function lateness({ random }: Machine): number {
  return random() * (EARLY_MS + LATE_MS) - EARLY_MS;
}
