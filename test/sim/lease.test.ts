import t from 'tap';
import {
  askAtMs,
  beat,
  due,
  type LeaseConfig,
  type LeaseOutcome,
  type LeaseState,
  leaseState,
  receive,
  want,
} from '../../ha-agent/lease.ts';
import type { LeaseAnswer, LeaseQuestion } from '../../ha-agent/lease-message.ts';
import { type WitnessState, witnessState, witnessStep } from '../../ha-agent/lease-witness.ts';
import { randomFrom, Simulation } from './simulation.ts';

/** `SEED=1234` plays one run, `SEEDS=100000` more of them. */
const SEEDS = process.env.SEED === undefined ? Number(process.env.SEEDS ?? 2_000) : 1;
const FROM = Number(process.env.SEED ?? 1);
const RUN_MS = 12_000;
/** All faults end here. */
const CALM_MS = 9_000;
const LEASE_MS = 250;
const LONGEST_MS = 500;
const GROUPS = ['1111111111111111', '2222222222222222'];
/** Clocks differ by up to 5 % in speed: more than is promised, less than the margin. */
const MAX_DRIFT = 0.025;

/** A clock of its own: another start, another speed. */
class Clock {
  readonly #offset: number;
  readonly #rate: number;

  constructor(random: () => number) {
    this.#offset = random() * 1e6;
    this.#rate = 1 + (random() * 2 - 1) * MAX_DRIFT;
  }

  at(realMs: number): number {
    return this.#offset + realMs * this.#rate;
  }

  /** How long it takes in real time. */
  lasts(ms: number): number {
    return ms / this.#rate;
  }
}

/** Something that runs, may be stopped for a while, and hears then what waited. */
class Runner {
  readonly clock: Clock;
  #stopped = false;
  #waiting: (() => void)[] = [];

  constructor(random: () => number) {
    this.clock = new Clock(random);
  }

  run(job: () => void): void {
    if (this.#stopped) this.#waiting.push(job);
    else job();
  }

  stop(): void {
    this.#stopped = true;
  }

  goOn(): void {
    this.#stopped = false;
    const jobs = this.#waiting;
    this.#waiting = [];
    for (const job of jobs) this.run(job);
  }
}

class World {
  readonly sim = new Simulation();
  readonly random: () => number;
  readonly nodes: readonly [Holder, Holder];
  readonly witness: Runner;
  witnessUp = true;
  problem = '';
  #state: WitnessState;
  /** Everything that was ever sent, for the adversary to send again. */
  readonly #recorded: (() => void)[] = [];
  readonly #cut = new Map<Holder, { to: boolean; from: boolean }>();

  constructor(seed: number) {
    this.random = randomFrom(seed);
    this.witness = new Runner(this.random);
    this.nodes = [new Holder(this, 'aaaaaaaaaaaaaaaa'), new Holder(this, 'bbbbbbbbbbbbbbbb')];
    for (const node of this.nodes) this.#cut.set(node, { to: false, from: false });
    this.#state = this.#newWitness();
  }

  play(): void {
    for (const node of this.nodes) node.start();
    for (let i = 0; i < 14; i++) this.#fault(this.random() * CALM_MS);
    // The adversary goes on to the end.
    for (let i = 0; i < 60; i++) this.sim.at(this.random() * RUN_MS, () => this.#replay());
    this.sim.at(CALM_MS, () => this.#calm());
    this.sim.runUntil(RUN_MS, () => this.#judge());
    this.#conclude();
  }

  ask(from: Holder, question: LeaseQuestion): void {
    this.#travel(
      () => this.#cut.get(from)!.to,
      () => this.witness.run(() => this.#answer(from, question)),
    );
  }

  #answer(from: Holder, question: LeaseQuestion): void {
    if (!this.witnessUp) return;
    const { state, answer } = witnessStep(this.#state, question, this.witness.clock.at(this.sim.now));
    this.#state = state;
    if (answer === undefined) return;
    this.#travel(
      () => this.#cut.get(from)!.from,
      () => from.runner.run(() => from.hear(answer)),
    );
  }

  /** Lost, late, overtaken, twice, or as it should be. */
  #travel(isCut: () => boolean, arrive: () => void): void {
    this.#recorded.push(arrive);
    const isCalm = this.sim.now >= CALM_MS;
    const copies = isCalm ? 1 : this.random() < 0.1 ? 0 : this.random() < 0.1 ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const isLate = !isCalm && this.random() < 0.1;
      const delayMs = 0.1 + this.random() * (isLate ? 900 : 3);
      this.sim.after(delayMs, () => {
        if (!isCut()) arrive();
      });
    }
  }

  #replay(): void {
    const old = this.#recorded[Math.floor(this.random() * this.#recorded.length)];
    old?.();
  }

  #fault(atMs: number): void {
    const node = this.nodes[this.random() < 0.5 ? 0 : 1];
    const cut = this.#cut.get(node)!;
    const faults: readonly (readonly [begin: () => void, end: () => void])[] = [
      [() => node.runner.stop(), () => node.runner.goOn()],
      [() => node.end(), () => node.start()],
      [() => this.witness.stop(), () => this.witness.goOn()],
      [() => (this.witnessUp = false), () => this.#restartWitness()],
      [() => (cut.to = true), () => (cut.to = false)],
      [() => (cut.from = true), () => (cut.from = false)],
    ];
    const [begin, end] = faults[Math.floor(this.random() * faults.length)]!;
    this.sim.at(atMs, begin);
    this.sim.at(Math.min(atMs + this.random() * 1_500, CALM_MS), end);
  }

  #restartWitness(): void {
    this.#state = this.#newWitness();
    this.witnessUp = true;
  }

  #newWitness(): WitnessState {
    const seed = Buffer.from(Array.from({ length: 32 }, () => Math.floor(this.random() * 256)));
    return witnessState(seed, LONGEST_MS, this.witness.clock.at(this.sim.now));
  }

  #calm(): void {
    const [a, b] = this.nodes;
    for (const node of this.nodes) {
      node.runner.goOn();
      node.start();
      node.isCalm = true;
    }
    for (const group of GROUPS) {
      a.want(group, true);
      b.want(group, false);
    }
  }

  #judge(): void {
    const [a, b] = this.nodes;
    for (const group of GROUPS)
      if (a.believes(group) && b.believes(group)) this.problem ||= `two hold ${group} at ${this.sim.now}`;
  }

  #conclude(): void {
    const [a, b] = this.nodes;
    for (const group of GROUPS) {
      if (!a.believes(group)) this.problem ||= `nobody holds ${group} at the end`;
      if (b.believes(group)) this.problem ||= `it holds ${group} and does not want it`;
    }
  }
}

class Holder {
  readonly runner: Runner;
  isCalm = false;
  readonly #world: World;
  readonly #node: string;
  #config: LeaseConfig | undefined;
  #state: LeaseState = leaseState(0);

  constructor(world: World, node: string) {
    this.#world = world;
    this.#node = node;
    this.runner = new Runner(world.random);
  }

  get #now(): number {
    return this.runner.clock.at(this.#world.sim.now);
  }

  believes(group: string): boolean {
    return this.#config !== undefined && (this.#state.groups.get(group)?.heldUntilMs ?? 0) > this.#now;
  }

  start(): void {
    if (this.#config !== undefined) return;
    const { random } = this.#world;
    const process = Array.from({ length: 16 }, () => Math.floor(random() * 16).toString(16)).join('');
    const config = { node: this.#node, process, intervalMs: 100, timeMs: LEASE_MS, awayMs: 1_000 };
    this.#config = config;
    this.#state = leaseState(this.#now);
    for (const group of GROUPS) this.want(group, random() < 0.5);
    this.#beat(config);
    this.#changeMind(config);
  }

  end(): void {
    this.#config = undefined;
  }

  want(group: string, isWanted: boolean): void {
    if (this.#config !== undefined)
      this.#do(want(this.#state, this.#config, group, isWanted, 1, this.#now), this.#config);
  }

  hear(answer: LeaseAnswer): void {
    if (this.#config !== undefined)
      this.#do(receive(this.#state, this.#config, answer, this.#now), this.#config);
  }

  #beat(config: LeaseConfig): void {
    this.runner.run(() => {
      if (this.#config !== config) return;
      this.#do(beat(this.#state, config, this.#now), config);
      this.#after(config.intervalMs, () => this.#beat(config));
    });
  }

  #changeMind(config: LeaseConfig): void {
    const { random } = this.#world;
    this.#after(random() * 800, () =>
      this.runner.run(() => {
        if (this.#config !== config || this.isCalm) return;
        this.want(GROUPS[random() < 0.5 ? 0 : 1]!, random() < 0.6);
        this.#changeMind(config);
      }),
    );
  }

  #do({ state, questions }: LeaseOutcome, config: LeaseConfig): void {
    this.#state = state;
    for (const question of questions) this.#world.ask(this, question);
    const at = askAtMs(state);
    if (at === Number.POSITIVE_INFINITY) return;
    this.#after(Math.max(0, at - this.#now), () =>
      this.runner.run(() => {
        if (this.#config === config && askAtMs(this.#state) <= this.#now)
          this.#do(due(this.#state, config, this.#now), config);
      }),
    );
  }

  #after(ms: number, run: () => void): void {
    this.#world.sim.after(this.runner.clock.lasts(ms), run);
  }
}

t.test('two processes never believe to hold a lease at once, and who wants it gets it', (t) => {
  const problems: string[] = [];
  for (let seed = FROM; seed < FROM + SEEDS && problems.length < 5; seed++) {
    const world = new World(seed);
    world.play();
    if (world.problem !== '') problems.push(`SEED=${seed}: ${world.problem}`);
  }
  t.same(problems, []);
  t.end();
});
