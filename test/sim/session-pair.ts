import { FRAME_HEAD } from '../../lbd/session/sync-frame.ts';
import type { DriftingClock } from './drifting-clock.ts';
import { SessionNode } from './session-node.ts';

/** `lbd` takes changes from its workers about so often while there are any, and looks at its link so often at rest. */
const [TICK_MS, REST_MS] = [4, 250];
const REDIAL_MS = [50, 500] as const;
/** Bytes that a socket takes before it asks to wait. */
const HIGH_WATER = 65_536;
const SLOW_TICK_MS = 1000;
/** Buckets of an eighth of the table are swept each second, so that a round takes no longer than a story. */
const SWEEP_SHARE = 8 * 8;

export interface SessionPairOptions {
  random(): number;
  readonly capacities: readonly [number, number];
  readonly clocks: readonly [DriftingClock, DriftingClock];
  readonly ttlMs: number;
  /** Longest time on the way. */
  readonly tripMs: number;
  log(line: string): void;
}

/** One direction of a connection. */
interface Wire {
  /** In order; `bytes` undefined: the end. */
  readonly chunks: { readonly atMs: number; readonly bytes: Buffer | undefined }[];
  held: number;
}

/** A connection between both, as each of them sees it. */
interface Connection {
  /** Towards node 0 and node 1. */
  readonly wires: readonly [Wire, Wire];
  readonly open: [boolean, boolean];
  readonly nodes: readonly [SessionNode, SessionNode];
}

/**
 * Two nodes with the real table and protocol, each with a clock of its own, and between them connections as TCP makes
 * them: bytes keep their order, arrive in pieces, wait while the network is cut, and end anywhere. Around the protocol
 * stands what `SessionSync` does with it: ticks, pumping, and another connection when one has ended.
 */
export class SessionPair {
  /** The true time, in milliseconds. */
  nowMs = 0;
  readonly nodes: [SessionNode, SessionNode];
  /** Nothing passes; connections stay until somebody notices. */
  cut = false;
  readonly paused: [boolean, boolean] = [false, false];
  /** What no link between two honest nodes ends by. */
  readonly breaches: string[] = [];
  /** By type. */
  readonly #sent = new Map<number, number>();
  /** The longest that bytes were on their way. */
  longestTripMs = 0;
  /** Called before a node forgets all. */
  onRestart: (index: 0 | 1) => void = () => {};

  readonly #options: SessionPairOptions;
  #boots = 1;
  #connection: Connection | undefined;
  #dialMs = 0;
  readonly #tickMs: [number, number] = [0, 0];
  readonly #slowMs: [number, number] = [SLOW_TICK_MS, SLOW_TICK_MS];

  constructor(options: SessionPairOptions) {
    this.#options = options;
    this.nodes = [this.#boot(0), this.#boot(1)];
  }

  monotonicMs(index: 0 | 1): number {
    return this.#options.clocks[index].at(this.nowMs);
  }

  /** True time that their clocks have not counted. */
  get lostMs(): number {
    return this.#options.clocks.reduce((sum, clock) => sum + clock.lostMs(this.nowMs), 0);
  }

  /**
   * How much longer than it should an entry may live: a life that is told counts from when it is read, and by that
   * clock.
   */
  get graceMs(): number {
    return this.lostMs + 3 * this.longestTripMs + 100;
  }

  /** Both ends of a connection are there. */
  get linked(): boolean {
    return this.#connection?.open[0] === true && this.#connection.open[1];
  }

  /** A node's end of the connection leads to the process that the other node runs now. */
  reaches(index: 0 | 1): boolean {
    const connection = this.#connection;
    return (
      connection?.open[index] === true &&
      connection.nodes[index === 0 ? 1 : 0] === this.nodes[index === 0 ? 1 : 0]
    );
  }

  /** A worker has changed something: `lbd` is awake at once. */
  wake(index: 0 | 1): void {
    this.#tickMs[index] = Math.min(this.#tickMs[index], this.nowMs);
  }

  /** Both ends learn of it at once; of what was on its way some bytes arrive. */
  reset(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    for (const wire of connection.wires) {
      const keep = Math.floor(this.#options.random() * (wire.chunks.length + 1));
      const part = wire.chunks[keep]?.bytes;
      wire.chunks.length = Math.min(keep, wire.chunks.length);
      if (part !== undefined) {
        const bytes = part.subarray(0, Math.floor(this.#options.random() * part.length));
        wire.chunks.push({ atMs: this.nowMs, bytes });
      }
      wire.chunks.push({ atMs: this.nowMs, bytes: undefined });
    }
  }

  /** Somebody else with the secret has the link to a node for a moment, and says this. */
  listenTo(index: 0 | 1, says: Buffer): void {
    for (const i of [0, 1] as const) this.#close(i);
    const { protocol, name } = this.nodes[index];
    const nowMs = this.monotonicMs(index);
    protocol.connect(nowMs);
    for (let at = 0; at < says.length && protocol.failure === undefined; ) {
      const end = at + 1 + Math.floor(this.#options.random() * 2_000);
      at += protocol.receive(says.subarray(at, end), nowMs);
      for (let frames = 0; frames < 100 && protocol.pull(nowMs) !== undefined; frames++);
    }
    this.#options.log(`${name} was lied to: ${protocol.failure ?? 'it noticed nothing'}`);
    protocol.disconnect();
  }

  /** `lbd` of a node is killed and starts with nothing. */
  restart(index: 0 | 1): void {
    this.onRestart(index);
    this.#close(index);
    this.nodes[index] = this.#boot(index);
    this.#tickMs[index] = this.nowMs;
  }

  /** The machine stands still, perhaps with its clock. */
  pause(index: 0 | 1, clockStops: boolean): void {
    this.paused[index] = true;
    if (clockStops) this.#options.clocks[index].stop(this.nowMs);
  }

  resume(index: 0 | 1): void {
    this.paused[index] = false;
    this.#options.clocks[index].go(this.nowMs);
    this.#tickMs[index] = this.nowMs;
  }

  /** Goes on until then. */
  runUntil(untilMs: number): void {
    for (;;) {
      const nextMs = Math.max(this.nowMs, this.#nextMs());
      if (nextMs > untilMs) break;
      this.nowMs = nextMs;
      for (const index of [0, 1] as const) if (!this.paused[index]) this.#turn(index);
      this.#dial();
    }
    this.nowMs = untilMs;
  }

  /** How many frames of a type were sent. */
  frames(type: number): number {
    return this.#sent.get(type) ?? 0;
  }

  /** The latest comparisons found no difference. */
  get isEqual(): boolean {
    return this.nodes.every(
      ({ protocol }, index) => protocol.status(this.monotonicMs(index as 0 | 1)).digest_equal === true,
    );
  }

  /** Nothing is on its way but a sign of life, and both say that all is well. */
  get isSettled(): boolean {
    return (
      this.linked &&
      this.#connection!.wires.every(({ held }) => held <= FRAME_HEAD) &&
      this.nodes.every(({ protocol }, index) => {
        const { state, lag_ms } = protocol.status(this.monotonicMs(index as 0 | 1));
        return state === 'synced' && lag_ms === 0;
      })
    );
  }

  #boot(index: 0 | 1): SessionNode {
    const [name, peer] = index === 0 ? ['a', 'b'] : ['b', 'a'];
    return new SessionNode({
      ...{ name: name!, peer: peer!, boot: this.#boots++ },
      ...{ capacity: this.#options.capacities[index], ttlMs: this.#options.ttlMs },
      nowMs: () => this.monotonicMs(index),
    });
  }

  #nextMs(): number {
    let nextMs = Number.POSITIVE_INFINITY;
    for (const index of [0, 1] as const) {
      if (this.paused[index]) continue;
      nextMs = Math.min(nextMs, this.#tickMs[index], this.#slowMs[index]);
      const first = this.#connection?.open[index] ? this.#connection.wires[index].chunks[0] : undefined;
      if (first !== undefined && !this.cut) nextMs = Math.min(nextMs, first.atMs);
    }
    return this.#canDial ? Math.min(nextMs, this.#dialMs) : nextMs;
  }

  #turn(index: 0 | 1): void {
    const { protocol, table } = this.nodes[index];
    if (this.nowMs >= this.#slowMs[index]) {
      this.#slowMs[index] = this.nowMs + SLOW_TICK_MS;
      table.sweep(Math.ceil(table.capacity / SWEEP_SHARE));
      table.tickClock();
    }
    const wasRead = this.#read(index);
    const isDue = this.nowMs >= this.#tickMs[index];
    if (!wasRead && !isDue) return;
    const taken = isDue ? protocol.tick(this.monotonicMs(index)) : 0;
    this.#send(index);
    if (protocol.failure !== undefined && this.#connection?.open[index]) this.#fail(index, protocol.failure);
    const idleMs = taken > 0 ? 0 : protocol.idleMs(this.monotonicMs(index));
    const dueMs = this.nowMs + Math.min(Math.max(idleMs, TICK_MS), REST_MS);
    this.#tickMs[index] = isDue ? dueMs : Math.min(this.#tickMs[index], dueMs);
  }

  /** @returns whether there was anything */
  #read(index: 0 | 1): boolean {
    const connection = this.#connection;
    if (this.cut || !connection?.open[index]) return false;
    const wire = connection.wires[index];
    const { protocol } = this.nodes[index];
    let wasRead = false;
    for (
      let chunk = wire.chunks[0];
      chunk !== undefined && chunk.atMs <= this.nowMs;
      chunk = wire.chunks[0]
    ) {
      wire.chunks.shift();
      wasRead = true;
      if (chunk.bytes === undefined) {
        this.#close(index);
        return true;
      }
      wire.held -= chunk.bytes.length;
      this.longestTripMs = Math.max(this.longestTripMs, this.nowMs - chunk.atMs + this.#options.tripMs);
      // In two pieces, wherever.
      const half = Math.floor(this.#options.random() * chunk.bytes.length);
      for (const bytes of [chunk.bytes.subarray(0, half), chunk.bytes.subarray(half)])
        for (let at = 0; at < bytes.length && protocol.failure === undefined; )
          at += protocol.receive(bytes.subarray(at), this.monotonicMs(index));
      if (protocol.failure !== undefined) return true;
    }
    return wasRead;
  }

  #send(index: 0 | 1): void {
    const connection = this.#connection;
    if (!connection?.open[index]) return;
    const wire = connection.wires[index === 0 ? 1 : 0];
    while (wire.held < HIGH_WATER) {
      const frame = this.nodes[index].protocol.pull(this.monotonicMs(index));
      if (frame === undefined) return;
      const type = frame.readUInt32LE(4);
      this.#sent.set(type, (this.#sent.get(type) ?? 0) + 1);
      this.#push(wire, frame);
    }
  }

  #push(wire: Wire, bytes: Buffer | undefined): void {
    const before = wire.chunks.at(-1)?.atMs ?? 0;
    const atMs = Math.max(before, this.nowMs + this.#options.random() * this.#options.tripMs);
    wire.chunks.push({ atMs, bytes });
    wire.held += bytes?.length ?? 0;
  }

  #fail(index: 0 | 1, cause: string): void {
    this.#options.log(`${this.nodes[index].name}: ${cause}`);
    if (!/ (was silent|did not greet|has acknowledged nothing|has not gone on)/.test(cause))
      this.breaches.push(`${this.nodes[index].name}: ${cause}`);
    this.#close(index);
  }

  /** One end closes; the other one reads so behind what was on its way. */
  #close(index: 0 | 1): void {
    const connection = this.#connection;
    if (!connection?.open[index]) return;
    connection.open[index] = false;
    this.nodes[index].protocol.disconnect();
    this.#push(connection.wires[index === 0 ? 1 : 0], undefined);
    const [leastMs, mostMs] = REDIAL_MS;
    if (index === 0) this.#dialMs = this.nowMs + leastMs + this.#options.random() * (mostMs - leastMs);
  }

  get #canDial(): boolean {
    return !this.cut && this.#connection?.open[0] !== true && !this.paused[0] && !this.paused[1];
  }

  /**
   * The first node dials, once its end of the former connection is gone; the second one leaves the former for the new
   * one.
   */
  #dial(): void {
    if (!this.#canDial || this.nowMs < this.#dialMs) return;
    this.#close(1);
    this.#connection = { wires: [newWire(), newWire()], open: [true, true], nodes: [...this.nodes] };
    for (const index of [0, 1] as const) {
      this.nodes[index].protocol.connect(this.monotonicMs(index));
      this.#send(index);
      this.#tickMs[index] = this.nowMs;
    }
  }
}

function newWire(): Wire {
  return { chunks: [], held: 0 };
}
