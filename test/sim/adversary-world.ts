import { Simulation } from './simulation.ts';

export const INTERVAL_MS = 100;
export const LIFETIME_MS = 1_000;
/** After a fault, the two nodes hear each other again by then, whatever is played back. */
const SETTLED_MS = 1_500;
/** While all is well each node hears the other at least so often. */
const SILENCE_MS = 500;
const PATHS = 2;
const UNTIL_MS = 12_000;

/** A datagram, and who sent it when: what a receiver cannot know. */
export interface Sent<D> {
  readonly datagram: D;
  readonly by: SimProcess<D>;
  readonly atMs: number;
}

/** What runs in a process: the code under test. */
export interface Speaker<D> {
  /** One round, for each path. */
  speak(id: number): readonly (readonly D[])[];
  hear(datagram: D, path: number): void;
  /** After a pause. */
  renew(): void;
}

export interface SpeakerHost {
  /** Monotonic, of this node. */
  now(): number;
  /** `id` of the heartbeat that counts as fresh. */
  onFresh(id: number): void;
}

export type CreateSpeaker<D> = (node: 'lb1' | 'lb2', host: SpeakerHost, random: () => number) => Speaker<D>;

export class SimProcess<D> {
  readonly node: SimSide<D>;
  readonly bornMs: number;
  diedMs: number | undefined;
  speaker!: Speaker<D>;

  constructor(node: SimSide<D>, bornMs: number) {
    this.node = node;
    this.bornMs = bornMs;
  }
}

/** A node: one process after the other, a clock of its own, and the way to the other node. */
export class SimSide<D> {
  readonly name: 'lb1' | 'lb2';
  readonly driftPpm: number;
  readonly offsetMs: number;
  peer!: SimSide<D>;
  process: SimProcess<D> | undefined;
  isPaused = false;
  /** Of what this node sends. */
  readonly cuts = new Array<boolean>(PATHS).fill(false);
  /** When this node last heard something fresh. */
  freshMs = 0;
  readonly counted = new Set<number>();
  /** The latest process of the peer that was believed to live. */
  believed: SimProcess<D> | undefined;
  /** When the process here went on after a pause. */
  renewedMs = 0;

  constructor(name: 'lb1' | 'lb2', random: () => number) {
    this.name = name;
    this.driftPpm = (random() - 0.5) * 400;
    this.offsetMs = Math.floor(random() * 1e7);
  }
}

/** Two nodes, faults, and somebody who has recorded everything and plays anything back at any time to both. */
export class AdversaryWorld<D> {
  readonly problems: string[] = [];
  readonly #sim = new Simulation();
  readonly #random: () => number;
  readonly #create: CreateSpeaker<D>;
  readonly #sides: readonly [SimSide<D>, SimSide<D>];
  readonly #recorded: Sent<D>[] = [];
  readonly #byId = new Map<number, Sent<D>>();
  #ids = 0;
  /** When something was last broken. */
  #wellMs = 0;

  constructor(random: () => number, create: CreateSpeaker<D>) {
    this.#random = random;
    this.#create = create;
    this.#sides = [new SimSide('lb1', random), new SimSide('lb2', random)];
    const [lb1, lb2] = this.#sides;
    lb1.peer = lb2;
    lb2.peer = lb1;
  }

  async run(): Promise<void> {
    for (const side of this.#sides) this.#start(side);
    const faults = 2 + Math.floor(this.#random() * 6);
    for (let i = 0; i < faults; i++) this.#sim.at(this.#random() * (UNTIL_MS - 3_000), () => this.#fault());
    this.#sim.at(UNTIL_MS - 2_500, () => this.#heal());
    this.#attack();
    this.#look();
    for (let ms = 0; ms <= UNTIL_MS; ms += INTERVAL_MS) {
      this.#sim.runUntil(ms, () => {});
      // What was sent is out.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #start(side: SimSide<D>): void {
    if (side.process !== undefined) return;
    const process = new SimProcess<D>(side, this.#sim.now);
    const host: SpeakerHost = {
      now: () => side.offsetMs + this.#sim.now * (1 + side.driftPpm / 1e6),
      onFresh: (id) => this.#judge(side, id),
    };
    process.speaker = this.#create(side.name, host, this.#random);
    side.process = process;
    this.#beat(side, process);
  }

  #beat(side: SimSide<D>, process: SimProcess<D>): void {
    if (side.process !== process) return;
    if (!side.isPaused) this.#speak(side, process);
    this.#sim.after(INTERVAL_MS + this.#random() * 5, () => this.#beat(side, process));
  }

  #speak(side: SimSide<D>, process: SimProcess<D>): void {
    const id = ++this.#ids;
    for (const [path, datagrams] of process.speaker.speak(id).entries())
      for (const datagram of datagrams) {
        const sent = { datagram, by: process, atMs: this.#sim.now };
        this.#recorded.push(sent);
        this.#byId.set(id, sent);
        if (side.cuts[path] || this.#random() < 0.02) continue;
        this.#deliver(side.peer, sent, path, this.#random() * 4);
        if (this.#random() < 0.02) this.#deliver(side.peer, sent, path, this.#random() * 300);
      }
  }

  #deliver(to: SimSide<D>, { datagram }: Sent<D>, path: number, delayMs: number): void {
    this.#sim.after(delayMs, () => {
      const { process } = to;
      if (process === undefined) return;
      if (to.isPaused) this.#deliver(to, { datagram } as Sent<D>, path, 20);
      else process.speaker.hear(datagram, path);
    });
  }

  #fault(): void {
    const side = this.#sides[this.#random() < 0.5 ? 0 : 1];
    const forMs = 200 + this.#random() * 3_000;
    const choice = Math.floor(this.#random() * 4);
    if (choice === 0) {
      this.#kill(side);
      this.#sim.after(forMs, () => this.#start(side));
    } else if (choice === 1) {
      side.isPaused = true;
      this.#sim.after(forMs, () => this.#resume(side));
    } else {
      const cut = side.cuts.map(() => choice === 2 || this.#random() < 0.5);
      for (const [path, isCut] of cut.entries()) side.cuts[path] = isCut;
      // What is sent while nothing comes through is what an adversary would keep for later.
      if (this.#random() < 0.5) this.#sim.after(forMs * this.#random(), () => this.#kill(side));
      this.#sim.after(forMs, () => side.cuts.fill(false));
      this.#sim.after(forMs + 100, () => this.#start(side));
    }
  }

  #kill(side: SimSide<D>): void {
    if (side.process === undefined) return;
    side.process.diedMs = this.#sim.now;
    side.process = undefined;
  }

  #resume(side: SimSide<D>): void {
    if (!side.isPaused) return;
    side.isPaused = false;
    side.process?.speaker.renew();
    side.renewedMs = this.#sim.now;
  }

  #heal(): void {
    for (const side of this.#sides) {
      this.#resume(side);
      side.cuts.fill(false);
      this.#start(side);
    }
  }

  /** One or many recorded datagrams, to their receiver or back to their sender. */
  #attack(): void {
    const count = this.#random() < 0.1 ? 40 : 1 + Math.floor(this.#random() * 3);
    const order = this.#random();
    for (let i = 0; i < count && this.#recorded.length > 0; i++) {
      const back = order < 0.5 ? this.#random() : this.#random() ** 4;
      const sent = this.#recorded[Math.floor((1 - back) * (this.#recorded.length - 1))]!;
      const to = this.#random() < 0.9 ? sent.by.node.peer : sent.by.node;
      this.#deliver(to, sent, Math.floor(this.#random() * PATHS), i * 2);
    }
    this.#sim.after(5 + this.#random() * 60, () => this.#attack());
  }

  #judge(side: SimSide<D>, id: number): void {
    const { now } = this.#sim;
    const sent = this.#byId.get(id)!;
    side.freshMs = now;
    if (sent.by.node === side) this.problems.push(`${side.name} takes its own word for the peer's`);
    if (now - sent.atMs > LIFETIME_MS * 1.001)
      this.problems.push(`${now}: ${side.name} takes what was sent ${now - sent.atMs} ms ago for news`);
    if (side.counted.has(id)) this.problems.push(`${now}: ${side.name} counts heartbeat ${id} twice`);
    side.counted.add(id);
    if (sent.atMs < side.renewedMs)
      this.problems.push(`${now}: ${side.name} takes what was sent before its pause for news`);
    if (side.believed !== undefined && sent.by.bornMs < side.believed.bornMs)
      this.problems.push(`${now}: ${side.name} goes back to a former process of its peer`);
    side.believed = sent.by;
  }

  #look(): void {
    const { now } = this.#sim;
    const isWell = ({ process, isPaused, cuts }: SimSide<D>) =>
      process !== undefined && !isPaused && !cuts.includes(true);
    if (!this.#sides.every(isWell)) this.#wellMs = now;
    if (now - this.#wellMs > SETTLED_MS)
      for (const side of this.#sides)
        if (now - side.freshMs > SILENCE_MS)
          this.problems.push(
            `${now}: ${side.name} has not heard a peer that is well for ${now - side.freshMs} ms`,
          );
    this.#sim.after(50, () => this.#look());
  }
}
