import type { Simulation } from './simulation.ts';

/** `ip` has made a change, in milliseconds. */
const IP_MS = 1;
/** A guardian needs from 5 to 25 ms until the VIPs are gone: measured 14 at the median, 30 at worst. */
const GUARDIAN_MS = 5;
const GUARDIAN_SPREAD_MS = 20;
const GUARDIAN_RETRY_MS = 100;
/** `valid_lft`, and how often the kernel sweeps. */
const LEASE_MS = 2_000;
const SWEEP_MS = 1_000;

/** What is stopped on a machine. `agent`: SIGSTOP. `node`: all processes. `vm`: the kernel, too. */
export type Pause = 'agent' | 'node' | 'vm';
/** Who does something; a pause holds up some of them. */
export type Actor = 'agent' | 'helper' | 'kernel';
const ACTORS: readonly Actor[] = ['agent', 'helper', 'kernel'];

const HELD: Readonly<Record<Pause, readonly Actor[]>> = {
  agent: ['agent'],
  node: ['agent', 'helper'],
  vm: ['agent', 'helper', 'kernel'],
};

/** A machine without its agent: addresses with a lease, `ip`, the guardian, and pauses of all that. */
export class SimMachine {
  /** Whether it has power. */
  on = true;
  /** The VIP is on its interface. */
  owns = false;
  /** The VIP is on `lo`, for connections that finish. */
  parked = false;
  /** It sends on to the peer what belongs there. */
  forwards = false;
  /** `ip` fails. */
  ipBroken = false;
  guardianRuns = false;
  /** How many guardians there were, and since when there is this one. */
  guardians = 0;
  guardianSinceMs = 0;
  paused: Pause | undefined;
  /** The clock stands still while the VM is paused. */
  #clockStops = false;
  #pausedAt = 0;
  #clockMs: number;
  #leases = 0;
  #waiting: {
    readonly actor: Actor;
    readonly at: number;
    readonly timer: boolean;
    readonly run: () => void;
  }[] = [];
  readonly #sim: Simulation;
  readonly #random: () => number;

  constructor(sim: Simulation, random: () => number) {
    this.#sim = sim;
    this.#random = random;
    // Monotonic clocks of two machines have nothing to do with each other.
    this.#clockMs = Math.floor(random() * 1e6);
  }

  /** The machine's monotonic clock in milliseconds. */
  get now(): number {
    return this.#sim.now + this.#clockMs;
  }

  /** Whether the VIP is on its interface and the kernel answers for it. */
  get serves(): boolean {
    return this.owns && this.paused !== 'vm';
  }

  holds(actor: Actor): boolean {
    return this.paused !== undefined && HELD[this.paused].includes(actor);
  }

  /** Runs as soon as the actor is not held up. */
  when(actor: Actor, run: () => void, timer = false): void {
    if (this.holds(actor)) this.#waiting.push({ actor, at: this.#sim.now, timer, run });
    else run();
  }

  /** A timer of the actor. */
  after(actor: Actor, ms: number, run: () => void): void {
    this.#sim.after(ms, () => this.when(actor, run, true));
  }

  pause(what: Pause, clockStops: boolean): void {
    if (!this.on || this.paused !== undefined) return;
    this.paused = what;
    this.#clockStops = what === 'vm' && clockStops;
    this.#pausedAt = this.#sim.now;
  }

  resume(): void {
    if (this.paused === undefined) return;
    this.paused = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    const pausedAt = this.#pausedAt;
    if (this.#clockStops) this.#clockMs -= this.#sim.now - pausedAt;
    // Which process comes first after a pause is a matter of luck; each keeps its order. But the agent's timers wait
    // until it has read what its sockets and pipes hold.
    const first = ACTORS[Math.floor(this.#random() * ACTORS.length)];
    const isLater = ({ actor, timer }: (typeof waiting)[number]) => Number(actor === 'agent' && timer);
    waiting.sort((a, b) => Number(b.actor === first) - Number(a.actor === first) || isLater(a) - isLater(b));
    for (const { actor, at, timer, run } of waiting)
      if (timer && this.#clockStops) this.after(actor, at - pausedAt, run);
      else run();
  }

  powerOff(): void {
    this.on = false;
    this.guardianRuns = false;
    this.paused = undefined;
    this.#waiting = [];
    this.clear();
  }

  /** @param done the outcome, in the name of the process that asked */
  ip(change: () => void, done: (error: string | undefined) => void): void {
    this.after('helper', IP_MS, () => {
      if (!this.on) return;
      if (!this.ipBroken) change();
      const error = this.ipBroken ? 'ip fails' : undefined;
      this.when('agent', () => done(error));
    });
  }

  addVips(): void {
    this.owns = true;
    const lease = ++this.#leases;
    this.after('kernel', LEASE_MS + this.#random() * SWEEP_MS, () => {
      if (this.#leases === lease) this.owns = false;
    });
  }

  removeVips(): void {
    this.owns = false;
    this.#leases++;
  }

  /** What the guardian does. @returns whether the VIPs are gone */
  clear(): boolean {
    if (this.ipBroken && this.on) return false;
    this.removeVips();
    this.parked = false;
    this.forwards = false;
    return true;
  }

  startGuardian(): void {
    this.guardianRuns = true;
    this.guardians++;
    this.guardianSinceMs = this.#sim.now;
  }

  /**
   * The guardian of now removes the VIPs, and tries again where it cannot.
   *
   * @param removed what it does afterwards
   * @param wanted whether it is still to go on
   */
  guard(removed: () => void, wanted: () => boolean): void {
    const guardian = this.guardians;
    const attempt = () => {
      if (!this.on || !this.guardianRuns || this.guardians !== guardian) return;
      if (this.clear()) removed();
      else if (wanted()) this.after('helper', GUARDIAN_RETRY_MS, attempt);
    };
    this.after('helper', GUARDIAN_MS + this.#random() * GUARDIAN_SPREAD_MS, attempt);
  }
}
