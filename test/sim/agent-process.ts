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

export interface SimTimer {
  cancelled: boolean;
  unref(): SimTimer;
  ref(): SimTimer;
  hasRef(): boolean;
  refresh(): SimTimer;
  [Symbol.toPrimitive](): number;
  [Symbol.dispose](): void;
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
    const { machine } = this;
    const delay = Math.max(1, Math.trunc(Number.isFinite(ms) ? ms : 1));
    let generation = 0;
    const timer = newTimer(() => {
      generation++;
      schedule(machine.now + delay);
    });
    const schedule = (due: number) => {
      const mine = generation;
      machine.after('agent', Math.max(0, due - machine.now + lateness(machine)), () => {
        if (timer.cancelled || !this.alive || mine !== generation) return;
        if (repeats) schedule(machine.now + delay);
        else timer.cancelled = true;
        this.enter(run);
      });
    };
    schedule(machine.now + delay);
    return timer;
  }

  immediate(run: () => void): SimTimer {
    const timer = newTimer(() => {});
    this.machine.after(
      'agent',
      TURN_MS,
      () => {
        if (!timer.cancelled) this.enter(run);
      },
      'turn',
    );
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
    for (const run of this.#atEnd) run();
    this.#atEnd.clear();
  }
}

function newTimer(refresh: () => void): SimTimer {
  const timer: SimTimer = {
    cancelled: false,
    unref: () => timer,
    ref: () => timer,
    hasRef: () => true,
    refresh: () => {
      refresh();
      return timer;
    },
    [Symbol.toPrimitive]: () => 0,
    [Symbol.dispose]: () => {
      timer.cancelled = true;
    },
  };
  return timer;
}

function lateness({ random }: Machine): number {
  return random() * (EARLY_MS + LATE_MS) - EARLY_MS;
}
