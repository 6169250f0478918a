import { keyOf, lives } from '../../lbd/flow/flow.ts';
import { FRAME_HEAD } from '../../lbd/session/sync-frame.ts';
import { FakeKernel, webFlow } from '../lbd/flow/flows.ts';
import { FlowNode } from './flow-node.ts';
import { type Moment, type NodeMoment, roleTimeline } from './role-timeline.ts';
import type { Outcome } from './series.ts';
import { randomFrom } from './simulation.ts';

/** A story of the agents takes much longer than one of the flows, so that several of these share its roles. */
const STORIES_PER_TIMELINE = 40;
const STEP_MS = 10;
/** That the kernel takes in that time. */
const BATCHES = 20;
const TICK_MS = 100;
/** Now and then the kernel takes nothing, for so long at most. */
const BUSY_MS = 300;
const MOST_FLOWS = 30;
/** The patrol finds what nobody told; then the standby deletes what the active node did not take over. */
const PATROLS = 3;
const PATROL_MS = 6_000;
const LAST_MS = 2_000;

let latest: { readonly seed: number; readonly moments: readonly Moment[] } | undefined;

function timelineOf(seed: number): readonly Moment[] {
  if (latest?.seed !== seed) latest = { seed, moments: roleTimeline(seed) };
  return latest.moments;
}

/** A connection that a client has. */
interface Connection {
  readonly number: number;
  readonly key: string;
  /** It may have got lost without anybody's fault. */
  isUnsure: boolean;
  /** Nodes whose kernel had it for sure. */
  readonly known: [boolean, boolean];
}

/** What a node must have told once the mark is reached. */
interface Batch {
  readonly mark: number;
  readonly connections: readonly Connection[];
}

/** A node and what is so of it. */
interface Place {
  readonly kernel: FakeKernel;
  node: FlowNode | undefined;
  moment: NodeMoment;
  tickMs: number;
  /** Its kernel takes nothing until then. */
  busyUntilMs: number;
  /** Its lbd has had a link. */
  hasMet: boolean;
  untold: Connection[];
  batches: Batch[];
}

const INDEXES = [0, 1] as const;
const NOTHING: NodeMoment = { role: 'standby', runs: false, stands: false, losses: 0, owns: false };

/**
 * The flow sync of two nodes whose roles are those that the real agents took in a story of several faults: a connection
 * that was acknowledged goes on at whoever serves then, one that was opened through the loser of a split is taken over,
 * and both kernels have the same in the end.
 */
export function flowRoles(seed: number): Outcome {
  return new Story(seed).play();
}

class Story {
  readonly lines: string[] = [];
  readonly problems: string[] = [];
  readonly #random: () => number;
  readonly #moments: readonly Moment[];
  readonly #places: readonly [Place, Place] = [newPlace(), newPlace()];
  /** Frames on their way to each node. */
  readonly #wires: [{ atMs: number; frame: Buffer }[], { atMs: number; frame: Buffer }[]] = [[], []];
  readonly #connections = new Map<number, Connection>();
  /** Of power, by node, at the latest link. */
  #losses: readonly number[] = [0, 0];
  #opened = 0;
  #nowMs = 0;
  #isUp = false;

  constructor(seed: number) {
    this.#random = randomFrom(seed);
    this.#moments = timelineOf(Math.ceil(seed / STORIES_PER_TIMELINE));
  }

  play(): Outcome {
    const [first] = this.#moments;
    this.#nowMs = first!.atMs;
    for (const [i, moment] of this.#moments.entries()) {
      this.#become(moment);
      const untilMs = this.#moments[i + 1]?.atMs ?? this.#nowMs + LAST_MS;
      for (; this.#nowMs < untilMs; this.#nowMs = Math.min(this.#nowMs + STEP_MS, untilMs)) {
        if (this.#random() < 0.4) this.#traffic(moment);
        this.#step();
      }
      if (this.problems.length > 0) return this;
    }
    this.#conclude();
    return this;
  }

  #become(moment: Moment): void {
    for (const i of INDEXES) {
      const place = this.#places[i];
      const before = place.moment;
      const now = moment.nodes[i];
      place.moment = now;
      if (now.losses > before.losses) this.#losePower(i);
      if (!now.runs && place.node !== undefined) {
        this.#log(`lbd of ${i} ends`);
        this.#disconnect();
        this.#forget(place);
        place.node = undefined;
      }
      if (now.runs && place.node === undefined) {
        this.#log(`lbd of ${i} starts`);
        this.#disconnect();
        place.node = new FlowNode(place.kernel, this.#nowMs, `${now.losses}`);
        place.node.dump();
        place.hasMet = false;
      }
      // What waited while it stood still may come before what its agent said, but it does not write yet.
      const goesOn = before.stands && (!now.stands || now.role !== before.role);
      if (goesOn && place.node !== undefined && this.#random() < 0.5) this.#turn(i, place.node, false);
      if (now.role !== before.role) {
        this.#log(`${i} is ${now.role}`);
        if (place.node !== undefined) {
          place.node.nowMs = this.#nowMs;
          place.node.hear(now.role);
        }
      }
      if (now.owns !== before.owns) this.#log(`clients ${now.owns ? 'reach' : 'do not reach'} ${i}`);
      if (now.stands !== before.stands) this.#log(`${i} ${now.stands ? 'stands still' : 'goes on'}`);
    }
    const isUp = moment.linked && this.#places.every(({ node }) => node !== undefined);
    if (isUp && !this.#isUp) this.#connect(moment);
    else if (!isUp) this.#disconnect();
  }

  #losePower(index: 0 | 1): void {
    this.#log(`${index} loses power`);
    const place = this.#places[index];
    place.kernel.flows.clear();
    this.#forget(place);
    for (const connection of this.#connections.values()) {
      connection.known[index] = false;
      if (!connection.known[index === 0 ? 1 : 0]) connection.isUnsure = true;
    }
  }

  /** What it has not told yet it may never tell. */
  #forget(place: Place): void {
    for (const connection of [...place.untold, ...place.batches.flatMap((it) => it.connections)])
      connection.isUnsure = true;
    place.untold = [];
    place.batches = [];
  }

  #connect({ nodes }: Moment): void {
    this.#log('a link');
    this.#isUp = true;
    for (const i of INDEXES) {
      const place = this.#places[i];
      const other = this.#places[i === 0 ? 1 : 0];
      const hasLost = nodes[i === 0 ? 1 : 0].losses !== this.#losses[i === 0 ? 1 : 0];
      // Its lbd is another one as well since the latest link, and takes what the other node does not have for ended.
      if (hasLost && !place.hasMet)
        for (const connection of this.#connections.values())
          if (!other.kernel.flows.has(connection.key)) connection.isUnsure = true;
      place.hasMet = true;
      place.node!.protocol.connect(this.#nowMs, other.node!.protocol.tableMark);
    }
    this.#losses = nodes.map(({ losses }) => losses);
  }

  #disconnect(): void {
    if (!this.#isUp) return;
    this.#log('no link');
    this.#isUp = false;
    for (const { node } of this.#places) node!.protocol.disconnect();
    for (const wire of this.#wires) wire.length = 0;
  }

  #traffic({ nodes }: Moment): void {
    const owners = INDEXES.filter((i) => nodes[i].owns);
    if (owners.length === 0) return;
    const open = [...this.#connections.keys()];
    const isNew = open.length < 3 || (open.length < MOST_FLOWS && this.#random() < 0.4);
    const number = isNew ? ++this.#opened : open[Math.floor(this.#random() * open.length)]!;
    // Neighbours ask the one that they heard last.
    const index = owners[number % owners.length]!;
    const { kernel } = this.#places[index];
    if (isNew) this.#open(index, number);
    else {
      const connection = this.#connections.get(number)!;
      const flow = kernel.flows.get(connection.key);
      if (flow === undefined || !lives(flow)) {
        if (connection.known[index] && !connection.isUnsure)
          this.#problem(`connection ${number} is not in the kernel of ${index}, which had it`);
        this.#log(`connection ${number} breaks at ${index}`);
        this.#connections.delete(number);
      } else if (this.#random() < 0.2) {
        kernel.remove(connection.key);
        this.#connections.delete(number);
      } else kernel.set({ ...flow, tcpState: 3 });
    }
  }

  #open(index: 0 | 1, number: number): void {
    const place = this.#places[index];
    const flow = webFlow(number, this.#random() < 0.5 ? '10.0.0.21:80' : '10.0.0.22:80');
    place.kernel.set(flow);
    const known: Connection['known'] = [index === 0, index === 1];
    const connection = { number, key: keyOf(flow.tuples), isUnsure: false, known };
    this.#connections.set(number, connection);
    if (place.node === undefined) connection.isUnsure = true;
    else place.untold.push(connection);
  }

  #step(): void {
    for (const i of INDEXES) {
      const { node, moment } = this.#places[i];
      if (node !== undefined && !moment.stands) this.#turn(i, node);
    }
  }

  #turn(i: 0 | 1, node: FlowNode, writes = true): void {
    const place = this.#places[i];
    node.nowMs = this.#nowMs;
    node.listen(Number.POSITIVE_INFINITY);
    node.assume();
    if (this.#nowMs >= place.tickMs) {
      place.tickMs = this.#nowMs + TICK_MS;
      node.table.sweep(node.nowMs);
      node.protocol.watch(node.nowMs);
      node.writer.patrol(node.protocol.receiver.received, node.nowMs);
    }
    if (this.#random() < 0.02) place.busyUntilMs = this.#nowMs + this.#random() * BUSY_MS;
    const most = writes && this.#nowMs >= place.busyUntilMs ? BATCHES : 0;
    for (let batches = 0; batches < most && node.write(); batches++);
    this.#tell(place, node, i);
    if (this.#isUp) this.#exchange(node, i);
  }

  #tell(place: Place, node: FlowNode, index: 0 | 1): void {
    const { protocol } = node;
    while (place.batches[0] !== undefined && this.#isUp && protocol.reached(place.batches[0].mark)) {
      const { connections } = place.batches.shift()!;
      if (node.role !== 'active') continue;
      const other = index === 0 ? 1 : 0;
      for (const connection of connections) {
        connection.known[other] = true;
        const isOpen = this.#connections.get(connection.number) === connection;
        if (isOpen && !this.#places[other].kernel.flows.has(connection.key))
          this.#problem(`${other} has acknowledged a connection that its kernel does not have`);
      }
    }
    if (place.untold.length === 0 || node.role !== 'active') return;
    place.batches.push({ mark: protocol.mark(), connections: place.untold });
    place.untold = [];
  }

  #exchange(node: FlowNode, index: 0 | 1): void {
    const wire = this.#wires[index];
    while (wire[0] !== undefined && wire[0].atMs <= this.#nowMs)
      node.protocol.receive(wire.shift()!.frame, node.nowMs);
    for (;;) {
      const isDue = node.protocol.idleMs(node.nowMs) === 0;
      const frame = node.protocol.pull(node.nowMs);
      if (frame === undefined) return;
      if (!isDue) this.#problem(`${index} has a frame that nobody would have pulled`);
      const atMs = this.#nowMs + this.#random() * 2 * STEP_MS;
      const other = this.#wires[index === 0 ? 1 : 0];
      other.push({
        atMs: Math.max(atMs, other.at(-1)?.atMs ?? 0),
        frame: Buffer.from(frame.subarray(FRAME_HEAD)),
      });
    }
  }

  #conclude(): void {
    for (let i = 0; i < PATROLS; i++) {
      this.#nowMs += PATROL_MS;
      const untilMs = this.#nowMs + 300;
      for (; this.#nowMs < untilMs; this.#nowMs += STEP_MS) this.#step();
    }
    const nodes = this.#places.map(({ node }) => node);
    const active = nodes.find((node) => node?.role === 'active');
    const standby = nodes.find((node) => node?.role === 'standby');
    if (active === undefined || standby === undefined) {
      this.#problem(`roles in the end: ${nodes.map((node) => node?.role)}`);
      return;
    }
    const [expected, found] = [active.living(), standby.living()];
    if (expected.join() !== found.join())
      this.#problem(
        `the active node has ${expected.length} connections, the standby ${found.length}, or others`,
      );
    const isDone =
      standby.protocol.complete && active.protocol.sender.filled && active.writer.idle && standby.writer.idle;
    if (!isDone || standby.protocol.receiver.digestEqual !== true) this.#problem('not in step in the end');
    for (const [number, { key, isUnsure }] of this.#connections)
      if (!isUnsure && !active.kernel.flows.has(key))
        this.#problem(`connection ${number} is lost in the end`);
  }

  #log(line: string): void {
    this.lines.push(`${this.#nowMs.toFixed(0).padStart(7)} ${line}`);
  }

  #problem(text: string): void {
    this.problems.push(text);
    this.#log(`!! ${text}`);
  }
}

function newPlace(): Place {
  return {
    kernel: new FakeKernel(),
    node: undefined,
    moment: NOTHING,
    tickMs: 0,
    busyUntilMs: 0,
    hasMet: false,
    untold: [],
    batches: [],
  };
}
