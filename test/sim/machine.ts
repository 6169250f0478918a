import type { AgentProcess } from './agent-process.ts';
import type { Child } from './child.ts';
import { DriftingClock } from './drifting-clock.ts';
import { Kernel } from './kernel.ts';
import { Happening, type Simulation } from './simulation.ts';

/** What is stopped on a machine. `agent`: SIGSTOP. `all`: all processes. `vm`: the kernel, too. */
export type Pause = 'agent' | 'all' | 'vm';
/** Who does something; a pause holds up some of them. */
export type Actor = 'agent' | 'helper' | 'kernel';
/** What an actor does next: a timer went off, something can be read, or a turn of its event loop is over. */
export type Reason = 'timer' | 'input' | 'turn';

const ACTORS: readonly Actor[] = ['agent', 'helper', 'kernel'];
const HELD: Readonly<Record<Pause, readonly Actor[]>> = {
  agent: ['agent'],
  all: ['agent', 'helper'],
  vm: ['agent', 'helper', 'kernel'],
};

interface Waiting {
  readonly actor: Actor;
  readonly reason: Reason;
  readonly run: () => void;
}

/** Something that an actor of a machine does at a time of that machine's clock. */
class Due extends Happening {
  readonly actor: Actor;
  readonly reason: Reason;
  readonly dueMs: number;
  readonly boot: number;
  readonly run: () => void;
  readonly #machine: Machine;

  constructor(machine: Machine, actor: Actor, dueMs: number, run: () => void, reason: Reason) {
    super();
    this.#machine = machine;
    this.actor = actor;
    this.dueMs = dueMs;
    this.boot = machine.boot;
    this.run = run;
    this.reason = reason;
  }

  happen(): void {
    this.#machine.due(this);
  }
}

/** How long a program takes for one thing, in milliseconds, or what else it does. */
export type Pace = () => number | 'hang' | 'fail' | 'die';

/** A machine: a clock of its own, a kernel, and processes that can be stopped. */
export class Machine {
  readonly name: string;
  readonly address: string;
  readonly sim: Simulation;
  readonly random: () => number;
  readonly kernel: Kernel;
  /** By program: what is not here is fast. */
  readonly paces = new Map<string, Pace>();
  /** Programs that are not installed. */
  readonly missing = new Set<string>();
  readonly log: (line: string) => void;
  /** Counts what may change who answers for an address, or who believes that it does. */
  version = 0;
  /** Programs that run, by pid. */
  readonly children = new Map<number, Child>();
  /** Since when there is the guardian of now, in simulated milliseconds. */
  guardianSinceMs = 0;
  on = true;
  /** When it went on after a pause, in simulated milliseconds. */
  resumedMs = Number.NEGATIVE_INFINITY;
  paused: Pause | undefined;
  agent: AgentProcess | undefined;
  readonly #clock: DriftingClock;
  #boot = 0;
  #pids = 100;
  #waiting: Waiting[] = [];
  /** Milliseconds by which the wall clock is wrong. */
  wallMs = 0;

  /** @param drift of its clock, as a share: 500 ppm are 0.0005 */
  constructor(
    sim: Simulation,
    name: string,
    address: string,
    random: () => number,
    drift: number,
    log: (line: string) => void,
  ) {
    this.sim = sim;
    this.name = name;
    this.address = address;
    this.random = random;
    this.log = (line) => log(`${name} ${line}`);
    // Monotonic clocks of two machines have nothing to do with each other.
    this.#clock = new DriftingClock(drift, Math.floor(random() * 1e6));
    this.kernel = new Kernel(this);
  }

  /** Its monotonic clock in milliseconds, to the microsecond. */
  get now(): number {
    return Math.floor(this.#clock.at(this.sim.now) * 1000) / 1000;
  }

  newPid(): number {
    return ++this.#pids;
  }

  holds(actor: Actor): boolean {
    return this.paused !== undefined && HELD[this.paused].includes(actor);
  }

  /** Runs now, or as soon as the actor is not held up; never after the power was off. */
  when(actor: Actor, reason: Reason, run: () => void): void {
    if (!this.on) return;
    if (this.holds(actor)) this.#waiting.push({ actor, reason, run });
    else run();
  }

  /** Runs after so many milliseconds of its own clock. */
  after(actor: Actor, ms: number, run: () => void, reason: Reason = 'timer'): void {
    this.sim.add(this.sim.now + ms / this.#clock.rate, new Due(this, actor, this.now + ms, run, reason));
  }

  /** Its time may have come. */
  due(it: Due): void {
    if (this.#boot !== it.boot || !this.on) return;
    if (this.holds(it.actor)) {
      this.#waiting.push({ actor: it.actor, reason: it.reason, run: () => this.due(it) });
      return;
    }
    const left = it.dueMs - this.now;
    if (left > 0.002) this.sim.add(this.sim.now + left / this.#clock.rate, it);
    else it.run();
  }

  /** Counts how often it was switched on. */
  get boot(): number {
    return this.#boot;
  }

  pause(what: Pause, clockStops = false): void {
    if (!this.on || this.paused !== undefined) return;
    this.log(
      `${what === 'agent' ? 'the agent is' : `${what} is`} stopped${clockStops ? ', its clock too' : ''}`,
    );
    this.paused = what;
    this.version++;
    if (what === 'vm' && clockStops) this.#clock.stop(this.sim.now);
  }

  resume(): void {
    if (this.paused === undefined) return;
    this.log('goes on');
    this.resumedMs = this.sim.now;
    this.paused = undefined;
    this.version++;
    this.#clock.go(this.sim.now);
    const waiting = this.#waiting;
    this.#waiting = [];
    // Which process comes first after a pause is a matter of luck, and where it was stopped: before its timers or after
    // them. Each keeps its order.
    const first = ACTORS[Math.floor(this.random() * ACTORS.length)];
    const timersFirst = this.random() < 0.3;
    const rank = ({ actor, reason }: Waiting) =>
      (actor === first ? 0 : 10) + (reason === 'turn' ? 2 : Number((reason === 'timer') !== timersFirst));
    waiting.sort((a, b) => rank(a) - rank(b));
    for (const { actor, reason, run } of waiting) this.sim.after(0, () => this.when(actor, reason, run));
  }

  powerOff(): void {
    this.log('power off');
    this.agent?.die();
    this.on = false;
    this.version++;
    this.#boot++;
    this.paused = undefined;
    this.#clock.go(this.sim.now);
    this.#waiting = [];
    this.children.clear();
    this.kernel.reset();
  }

  powerOn(): void {
    this.on = true;
    this.version++;
  }

  /** What a program does next. @param usual milliseconds at most */
  pace(program: string, usual: number): number | 'hang' | 'fail' | 'die' {
    const pace = this.paces.get(program);
    return pace === undefined ? (0.3 + 0.7 * this.random()) * usual : pace();
  }
}
