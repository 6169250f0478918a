import t from 'tap';
import { initialState, reportOf, step } from '../../ha-agent/election.ts';
import type {
  ElectionAction,
  ElectionConfig,
  ElectionEvent,
  ElectionState,
} from '../../ha-agent/election-types.ts';
import {
  askAtMs,
  beat,
  due,
  type LeaseOutcome,
  type LeaseState,
  leaseState,
  reachesWitness,
  receive,
  want,
} from '../../ha-agent/lease.ts';
import { type WitnessState, witnessState, witnessStep } from '../../ha-agent/lease-witness.ts';
import { randomFrom, Simulation } from './simulation.ts';

/** `SEED=1234` plays one run, `SEEDS=100000` more of them. */
const SEEDS = process.env.SEED === undefined ? Number(process.env.SEEDS ?? 500) : 1;
const FROM = Number(process.env.SEED ?? 1);
const INTERVAL_MS = 100;
const LEASE_MS = 250;
const GROUP = '1111111111111111';
/** Less than it takes until a node without the other one counts as alone. */
const RUN_MS = 9_000;
/** An address comes and goes within so long after it was asked for. */
const IP_MS = 2;
/** After the last fault: the lease is over, the other one is missed, and the role is taken. */
const SETTLED_MS = 2_500;
/** A node that was free until now may have taken over, and not know yet that it is not any more. */
const CROSSED_MS = 400;

type Happening = ElectionEvent extends infer E ? (E extends ElectionEvent ? Omit<E, 'now'> : never) : never;
type Name = 'lb1' | 'lb2' | 'witness';

class World {
  readonly sim = new Simulation();
  readonly random: () => number;
  readonly cut = new Set<string>();
  readonly nodes: readonly [Node, Node];
  readonly log: string[] = [];
  problem = '';
  isWitnessUp = true;
  #witness: WitnessState;
  /** When a node was free of the witness last. */
  #freeMs = Number.NEGATIVE_INFINITY;

  constructor(seed: number) {
    this.random = randomFrom(seed);
    this.nodes = [new Node(this, 'lb1', 'lb2'), new Node(this, 'lb2', 'lb1')];
    this.#witness = witnessState(Buffer.alloc(32, seed), LEASE_MS, -LEASE_MS * 2);
  }

  /** One way: late by some milliseconds, seldom by many, seldom lost. */
  travel(from: Name, to: Name, arrive: () => void): void {
    if (this.random() < 0.02) return;
    const delayMs = 0.1 + this.random() * (this.random() < 0.03 ? 60 : 1);
    this.sim.after(delayMs, () => {
      if (!this.cut.has(`${from}>${to}`)) arrive();
    });
  }

  ask(node: Node, question: Parameters<typeof witnessStep>[1]): void {
    this.travel(node.name, 'witness', () => {
      if (!this.isWitnessUp) return;
      const { state, answer } = witnessStep(this.#witness, question, this.sim.now);
      this.#witness = state;
      if (answer !== undefined) this.travel('witness', node.name, () => node.answered(answer));
    });
  }

  restartWitness(): void {
    this.#witness = witnessState(Buffer.alloc(32, this.random() * 255), LEASE_MS, this.sim.now);
    this.isWitnessUp = true;
  }

  watch(): void {
    const { now } = this.sim;
    if (this.nodes.some(({ state }) => state?.lease.isFree)) this.#freeMs = now;
    const isBound =
      now > this.#freeMs + CROSSED_MS &&
      this.nodes.every(({ state }) => !(state?.lease.wordUntilMs + 2 * IP_MS > now));
    if (isBound && this.nodes.every((node) => node.hasVip))
      this.problem ||= `two owners at ${this.sim.now.toFixed(1)}`;
  }

  get owner(): string {
    return this.nodes
      .filter((node) => node.hasVip)
      .map(({ name }) => name)
      .join();
  }

  note(text: string): void {
    this.log.push(`${this.sim.now.toFixed(1)} ${text}`);
  }
}

class Node {
  readonly name: 'lb1' | 'lb2';
  hasVip = false;
  isUp = false;
  state!: ElectionState;
  readonly #world: World;
  readonly #config: ElectionConfig;
  readonly #peer: 'lb1' | 'lb2';
  #lease!: LeaseState;
  #process = '';
  #round = 0;
  #heard = 0;
  #reaches = true;
  #wakeAt = 0;
  #ipMs = 0;

  constructor(world: World, name: 'lb1' | 'lb2', peer: 'lb1' | 'lb2') {
    this.#world = world;
    this.name = name;
    this.#peer = peer;
    this.#config = {
      self: { name, address: name === 'lb1' ? '10.0.0.1' : '10.0.0.2', priority: name === 'lb1' ? 150 : 100 },
      peer: { name: peer, address: peer === 'lb1' ? '10.0.0.1' : '10.0.0.2' },
      intervalMs: INTERVAL_MS,
      deadAfter: 3,
      preemptDelayMs: undefined,
      trackLbd: false,
      announceCount: 1,
      announceRefreshMs: 0,
      secondChance: false,
      drainMs: 0,
      leaseMs: LEASE_MS,
    };
  }

  get #now(): number {
    return this.#world.sim.now;
  }

  get #leaseConfig() {
    const node = this.name === 'lb1' ? 'aaaaaaaaaaaaaaaa' : 'bbbbbbbbbbbbbbbb';
    return { node, process: this.#process, intervalMs: INTERVAL_MS, timeMs: LEASE_MS, awayMs: 1_000 };
  }

  get role(): string {
    return this.state.role;
  }

  start(): void {
    if (this.isUp) return;
    const { random } = this.#world;
    this.isUp = true;
    this.#process = Array.from({ length: 16 }, () => Math.floor(random() * 16).toString(16)).join('');
    this.state = initialState(this.#config, this.#now);
    this.#lease = leaseState(this.#now);
    this.#reaches = true;
    this.#wakeAt = 0;
    this.#heard = 0;
    this.dispatch({ type: 'start' });
    this.#tick(this.#process);
  }

  /** Without power: the address is gone with the machine. */
  powerOff(): void {
    this.isUp = false;
    this.hasVip = false;
    this.#world.note(`${this.name} power off`);
  }

  dispatch(happening: Happening): void {
    if (!this.isUp) return;
    const before = this.state.role;
    const { state, actions, wakeAtMs } = step(this.#config, this.state, {
      ...happening,
      now: this.#now,
    } as ElectionEvent);
    this.state = state;
    if (state.role !== before) this.#world.note(`${this.name} ${state.role}: ${state.why}`);
    const process = this.#process;
    for (const action of actions) this.#act(action, process);
    if (wakeAtMs === this.#wakeAt) return;
    this.#wakeAt = wakeAtMs;
    this.#later(process, wakeAtMs - this.#now, () => {
      if (this.#wakeAt === wakeAtMs) this.dispatch({ type: 'wake' });
    });
  }

  hear(
    from: { process: string; round: number; report: ReturnType<typeof reportOf> },
    isRestart: boolean,
  ): void {
    if (!isRestart && from.round <= this.#heard) return;
    this.#heard = from.round;
    this.dispatch({ type: 'heartbeat', report: from.report, restarted: isRestart });
  }

  answered(answer: Parameters<typeof receive>[2]): void {
    if (!this.isUp) return;
    this.#do(receive(this.#lease, this.#leaseConfig, answer, this.#now));
    this.#tell();
  }

  #heardProcess = '';

  #tick(process: string): void {
    this.#later(process, INTERVAL_MS + this.#world.random() * 2, () => {
      this.dispatch({ type: 'tick' });
      this.#do(beat(this.#lease, this.#leaseConfig, this.#now));
      if (this.#reaches !== reachesWitness(this.#lease, this.#leaseConfig, this.#now)) this.#tell();
      this.#tick(process);
    });
  }

  #tell(): void {
    this.#reaches = reachesWitness(this.#lease, this.#leaseConfig, this.#now);
    const lease = this.#lease.groups.get(GROUP);
    if (lease === undefined) return;
    const { heldUntilMs, takenUntilMs, highestEpoch } = lease;
    const { silenceMs, heardMs = 0 } = this.#lease;
    const view = {
      reachesWitness: this.#reaches,
      heardMs,
      heldUntilMs,
      takenUntilMs,
      epoch: highestEpoch,
      silenceMs,
    };
    this.dispatch({ type: 'lease', view });
  }

  #act(action: ElectionAction, process: string): void {
    const world = this.#world;
    // One after the other, as the host does them.
    const ip = (change: () => void, then: Happening) => {
      this.#ipMs = Math.max(this.#ipMs, this.#now) + 0.2 + world.random() * IP_MS;
      this.#later(process, this.#ipMs - this.#now, () => {
        change();
        this.dispatch(then);
      });
    };
    if (action.type === 'send') {
      for (let i = 0; i < action.copies; i++) this.#send();
    } else if (action.type === 'add-vips')
      ip(
        () => {
          this.hasVip = true;
        },
        { type: 'vips-added', error: undefined },
      );
    else if (action.type === 'renew-vips') ip(() => {}, { type: 'vips-renewed', error: undefined });
    else if (action.type === 'remove-vips')
      ip(
        () => {
          this.hasVip = false;
        },
        { type: 'vips-removed', error: undefined },
      );
    else if (action.type === 'tell-lbd' && action.role === 'active')
      this.#later(process, 1, () => this.dispatch({ type: 'promoted', epoch: action.epoch }));
    else if (action.type === 'probe-vips')
      this.#later(process, 1, () => this.dispatch({ type: 'vips-probed', answers: undefined }));
    else if (action.type === 'want-lease')
      this.#do(want(this.#lease, this.#leaseConfig, GROUP, action.isWanted, action.epoch, this.#now));
  }

  #send(): void {
    const peer = this.#world.nodes.find(({ name }) => name === this.#peer)!;
    const round = ++this.#round;
    const process = this.#process;
    const report = reportOf(this.#config, this.state, this.#now);
    this.#world.travel(this.name, this.#peer, () => {
      if (!peer.isUp) return;
      const isRestart = peer.#heardProcess !== process;
      peer.#heardProcess = process;
      peer.hear({ process, round, report }, isRestart);
    });
  }

  #do({ state, questions }: LeaseOutcome): void {
    this.#lease = state;
    for (const question of questions) this.#world.ask(this, question);
    const at = askAtMs(state);
    if (at === Number.POSITIVE_INFINITY) return;
    this.#later(this.#process, Math.max(0.1, at - this.#now), () => {
      if (askAtMs(this.#lease) <= this.#now) this.#do(due(this.#lease, this.#leaseConfig, this.#now));
    });
  }

  #later(process: string, ms: number, run: () => void): void {
    this.#world.sim.after(ms, () => {
      if (this.isUp && this.#process === process) run();
    });
  }
}

const PARTS = ['lb1>lb2', 'lb2>lb1', 'lb1>witness', 'witness>lb1', 'lb2>witness', 'witness>lb2'] as const;

/** Directions that are lost at the end of a run stay lost, and the outcome is judged. */
function play(seed: number, witnessMayEnd: boolean): World {
  const world = new World(seed);
  const { sim, random } = world;
  for (const node of world.nodes) sim.at(random() * 50, () => node.start());
  const lastMs = RUN_MS - SETTLED_MS;
  for (let i = 0; i < 5; i++) {
    const at = 1_000 + random() * (lastMs - 1_000);
    const lost = PARTS.filter(() => random() < 0.4);
    const dice = random();
    sim.at(at, () => {
      world.note(`lost: ${lost.join(' ')}`);
      world.cut.clear();
      for (const part of lost) world.cut.add(part);
    });
    const node = world.nodes[random() < 0.5 ? 0 : 1];
    if (dice < 0.3) {
      const offMs = Math.min(at + random() * 400, lastMs - 500);
      sim.at(offMs, () => node.powerOff());
      sim.at(Math.min(offMs + 400 + random() * 1_000, lastMs), () => node.start());
    } else if (dice < 0.5 && witnessMayEnd) {
      const endsMs = Math.min(at + random() * 400, lastMs - 500);
      sim.at(endsMs, () => {
        world.note('the witness ends');
        world.isWitnessUp = false;
      });
      sim.at(Math.min(endsMs + 100 + random() * 600, lastMs), () => world.restartWitness());
    }
  }
  sim.runUntil(RUN_MS, () => world.watch());
  return world;
}

/** The pairs that hear each other both ways. */
function links(cut: ReadonlySet<string>) {
  const both = (a: Name, b: Name) => !cut.has(`${a}>${b}`) && !cut.has(`${b}>${a}`);
  return { pair: both('lb1', 'lb2'), lb1: both('lb1', 'witness'), lb2: both('lb2', 'witness') };
}

t.test('partitions of three machines', (t) => {
  const problems: string[] = [];
  for (let seed = FROM; seed < FROM + SEEDS && problems.length < 5; seed++) {
    const world = play(seed, seed % 2 === 0);
    const { owner } = world;
    const { pair, lb1, lb2 } = links(world.cut);
    const someLost = world.cut.size > 0;
    if (world.problem !== '') problems.push(`SEED=${seed}: ${world.problem}`);
    else if (world.nodes.some(({ state }) => state.lease.isFree)) continue;
    else if ((pair || lb1 || lb2) && owner === '')
      problems.push(`SEED=${seed}: nobody serves (${[...world.cut].join(' ')})`);
    else if (someLost && !pair && lb1 !== lb2 && owner !== (lb1 ? 'lb1' : 'lb2'))
      problems.push(`SEED=${seed}: ${owner} serves (${[...world.cut].join(' ')})`);
    if (process.env.SEED !== undefined) t.comment(world.log.join('\n'));
  }
  t.same(problems, []);
  t.end();
});
