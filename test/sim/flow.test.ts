import fc from 'fast-check';
import t from 'tap';
import { type Flow, keyOf } from '../../lbd/flow/flow.ts';
import { FRAME_HEAD } from '../../lbd/session/sync-frame.ts';
import { FakeKernel, webFlow } from '../lbd/flow/flows.ts';
import { FlowNode } from './flow-node.ts';

/** Few, so that ports are used again. */
const FLOWS = 6;
/** TCP states that a connection may jump to. */
const STATES = [1, 3, 3, 3, 4, 7];

class World {
  readonly nodes: readonly [FlowNode, FlowNode];
  /** Frames on their way to node 0 and node 1. */
  readonly #wires: [Buffer[], Buffer[]] = [[], []];
  #up = false;

  constructor(nodes: readonly [FlowNode, FlowNode] = [new FlowNode(), new FlowNode()]) {
    this.nodes = nodes;
  }

  get active(): FlowNode {
    return this.nodes.find(({ role }) => role === 'active') ?? this.nodes[0];
  }

  get standby(): FlowNode {
    return this.nodes.find((node) => node !== this.active)!;
  }

  connect(): void {
    this.disconnect();
    this.#up = true;
    const [{ protocol: a, nowMs }, { protocol: b }] = this.nodes;
    a.connect(nowMs, b.tableMark);
    b.connect(nowMs, a.tableMark);
  }

  disconnect(): void {
    if (!this.#up) return;
    this.#up = false;
    for (const node of this.nodes) node.protocol.disconnect();
    for (const wire of this.#wires) wire.length = 0;
  }

  /** @returns whether a frame was put on the wire, or may be at the next try */
  pull(from: 0 | 1): boolean {
    const { protocol, nowMs } = this.nodes[from];
    const isDue = protocol.idleMs(nowMs) === 0;
    const frame = this.#up ? protocol.pull(nowMs) : undefined;
    // Nobody would have pulled it.
    if (frame !== undefined && !isDue) throw new Error('a frame that was not due');
    if (frame !== undefined) this.#wires[from === 0 ? 1 : 0].push(Buffer.from(frame.subarray(FRAME_HEAD)));
    return frame !== undefined || (this.#up && protocol.idleMs(nowMs) === 0);
  }

  /** @returns whether a frame arrived */
  deliver(to: 0 | 1): boolean {
    const frame = this.#wires[to].shift();
    if (frame !== undefined) this.nodes[to].protocol.receive(frame, this.nodes[to].nowMs);
    return frame !== undefined;
  }

  /** Runs until nothing moves any more. */
  settle(): void {
    for (let moved = true; moved; ) {
      moved = false;
      for (const i of [0, 1] as const) {
        this.nodes[i].listen(Number.POSITIVE_INFINITY);
        while (this.pull(i)) moved = true;
        while (this.deliver(i)) moved = true;
        while (this.nodes[i].write()) moved = true;
      }
    }
  }

  wait(ms: number): void {
    for (const node of this.nodes) {
      node.nowMs += ms;
      node.table.sweep(node.nowMs);
      node.protocol.watch(node.nowMs);
      node.writer.patrol(node.protocol.receiver.received, node.nowMs);
    }
  }
}

/** What a client does to the kernel of the active node. */
function traffic({ kernel, role }: FlowNode, number: number, choice: number): void {
  if (role !== 'active') return;
  const flow: Flow = webFlow(number, choice % 2 === 0 ? '10.0.0.21:80' : '10.0.0.22:80');
  const key = keyOf(flow.tuples);
  const known = kernel.flows.get(key);
  if (known === undefined) kernel.set({ ...flow, tcpState: STATES[choice % STATES.length]! });
  else if (choice % 5 === 0) kernel.remove(key);
  else kernel.set({ ...known, tcpState: STATES[choice % STATES.length]! });
}

/** Something that happens, with a name for the counterexample. */
class Step {
  readonly what: string;
  readonly run: (world: World) => void;

  constructor(what: string, run: (world: World) => void) {
    this.what = what;
    this.run = run;
  }

  toString(): string {
    return this.what;
  }
}

const one = fc.nat(1) as fc.Arbitrary<0 | 1>;
const always = (what: string, run: (world: World) => void) => fc.constant(new Step(what, run));
const onOne = (what: string, run: (world: World, i: 0 | 1) => void) =>
  one.map((i) => new Step(`${what} ${i}`, (world) => run(world, i)));

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .tuple(fc.nat(FLOWS - 1), fc.nat(30))
      .map(([n, choice]) => new Step(`flow ${n} ${choice}`, (world) => traffic(world.active, n, choice))),
  },
  { weight: 4, arbitrary: onOne('pull', (world, i) => world.pull(i)) },
  { weight: 4, arbitrary: onOne('deliver', (world, i) => world.deliver(i)) },
  { weight: 3, arbitrary: onOne('write', (world, i) => world.nodes[i].write()) },
  { weight: 4, arbitrary: onOne('listen', (world, i) => world.nodes[i].listen(2)) },
  { weight: 2, arbitrary: always('settle', (world) => world.settle()) },
  { weight: 1, arbitrary: onOne('dump', (world, i) => world.nodes[i].dump()) },
  { weight: 1, arbitrary: onOne('lost', (world, i) => world.nodes[i].writer.lost()) },
  { weight: 1, arbitrary: fc.nat(7000).map((ms) => new Step(`wait ${ms}`, (world) => world.wait(ms))) },
  { weight: 1, arbitrary: always('connect', (world) => world.connect()) },
  { weight: 1, arbitrary: always('disconnect', (world) => world.disconnect()) },
  {
    weight: 1,
    arbitrary: always('switchover', (world) => {
      const [former, next] = [world.active, world.standby];
      former.become('standby');
      next.become('active');
    }),
  },
  {
    weight: 1,
    arbitrary: always('switchover that lasts', (world) => {
      const [former, next] = [world.active, world.standby];
      former.become('finishing');
      next.become('active');
    }),
  },
  { weight: 1, arbitrary: always('finished', (world) => world.standby.become('standby')) },
);
/** Another program at the standby's table. */
const meddling: fc.Arbitrary<Step> = fc
  .nat(FLOWS - 1)
  .map((n) => new Step(`meddle ${n}`, (world) => world.standby.kernel.remove(keyOf(webFlow(n).tuples))));

t.test('whatever happens, both nodes hold the same flows in the end', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof({ weight: 20, arbitrary: step }, { weight: 1, arbitrary: meddling }), {
        maxLength: 150,
      }),
      (steps) => {
        const world = new World();
        world.nodes[0].become('active');
        world.connect();
        for (const it of steps) it.run(world);
        world.standby.become('standby');
        world.connect();
        world.settle();
        // The patrol finds what nobody told, such as a flow that somebody else removed; then the standby deletes what the
        // active node did not take over.
        for (let i = 0; i < 3; i++) {
          world.wait(6000);
          world.settle();
        }
        const { active, standby } = world;
        const [expected, found] = [active.living(), standby.living()];
        if (JSON.stringify(expected) !== JSON.stringify(found))
          throw new Error(`active has\n${expected.join('\n')}\nstandby has\n${found.join('\n')}`);
        return (
          standby.protocol.complete &&
          active.protocol.sender.filled &&
          active.writer.idle &&
          standby.writer.idle &&
          standby.protocol.receiver.digestEqual === true &&
          world.nodes.every(({ protocol }) => protocol.receiver.resyncs === 0)
        );
      },
    ),
    { numRuns: 400 },
  );
});

t.test('flows that were opened through the loser of a split go on at the winner', async (t) => {
  for (const lastsMs of [300, 20_000]) {
    const world = new World();
    const [loser, winner] = world.nodes;
    loser.become('active');
    world.connect();
    loser.kernel.set(webFlow(1));
    world.settle();
    world.wait(10_000);
    t.equal(winner.living().length, 1);
    // A short split breaks no TCP connection.
    if (lastsMs > 3000) world.disconnect();
    winner.become('active');
    for (let ms = 0; ms < lastsMs; ms += 100) world.wait(100);
    const [there, here] = [webFlow(2), webFlow(3, '10.0.0.22:80')];
    loser.kernel.set(there);
    winner.kernel.set(here);
    // It ended at the winner, and the loser has not heard of it.
    winner.kernel.remove(keyOf(webFlow(1).tuples));
    for (const node of world.nodes) node.listen(Number.POSITIVE_INFINITY);
    world.wait(100);
    loser.become('standby');
    if (lastsMs > 3000) world.connect();
    world.settle();
    const expected = [there, here].map(({ tuples }) => Buffer.from(tuples, 'latin1').toString('hex')).sort();
    t.same(winner.living(), expected, `the winner has both after ${lastsMs} ms`);
    for (let i = 0; i < 3; i++) {
      world.wait(6000);
      world.settle();
    }
    t.same(loser.living(), expected, 'and so has the loser, in the end');
    t.same(winner.living(), expected);
  }
});

/** Numbers of the flows that its kernel has. */
const numbersAt = (node: FlowNode) =>
  [...node.kernel.flows.values()].map(({ tuples }) => tuples.charCodeAt(4)).sort();

/** The second node follows the first one, which has the flows 1 and 2; then the link breaks. */
function parted(mark?: string): readonly [FlowNode, FlowNode] {
  const nodes = [new FlowNode(new FakeKernel(), 0, mark), new FlowNode(new FakeKernel(), 0, 'b')] as const;
  const world = new World(nodes);
  nodes[0].become('active');
  world.connect();
  for (const number of [1, 2]) nodes[0].kernel.set(webFlow(number));
  world.settle();
  world.wait(10_000);
  world.disconnect();
  return nodes;
}

/** The same machine with another process of lbd, which is active and has flow 3; both meet again. */
function returned(standby: FlowNode, kernel: FakeKernel, mark?: string): World {
  const world = new World([new FlowNode(kernel, standby.nowMs, mark), standby]);
  const [active] = world.nodes;
  active.dump();
  active.become('active');
  active.kernel.set(webFlow(3));
  active.listen(1);
  world.connect();
  world.settle();
  return world;
}

function later(world: World): void {
  for (let i = 0; i < 3; i++) {
    world.wait(6000);
    world.settle();
  }
}

t.test('an active node that lost its flows with its power gets them from its standby', async (t) => {
  const [, standby] = parted('1');
  const world = returned(standby, new FakeKernel(), '2');
  const [active] = world.nodes;
  t.same(numbersAt(active), [1, 2, 3]);
  world.wait(100);
  world.settle();
  active.kernel.remove(keyOf(webFlow(1).tuples));
  world.wait(100);
  world.settle();
  t.same(numbersAt(standby), [2, 3], 'and it alone says when they end');
  later(world);
  for (const node of world.nodes) t.same(numbersAt(node), [2, 3]);
  t.equal(standby.protocol.receiver.digestEqual, true);
});

t.test('what it cannot take over is deleted at the standby, too', async (t) => {
  const [, standby] = parted('1');
  const full = new FakeKernel();
  full.room = 0;
  const world = returned(standby, full, '2');
  t.same(numbersAt(standby), [1, 2, 3]);
  later(world);
  for (const node of world.nodes) t.same(numbersAt(node), [3]);
});

t.test('it gets them also where the standby stood still twice', async (t) => {
  const [, standby] = parted('1');
  const world = new World([new FlowNode(new FakeKernel(), standby.nowMs, '2'), standby]);
  world.nodes[0].become('active');
  world.connect();
  // Its snapshot has come, and not one flow has gone.
  while (world.pull(0)) world.deliver(1);
  while (standby.write());
  world.disconnect();
  t.same(numbersAt(returned(standby, new FakeKernel(), '3').nodes[0]), [1, 2, 3]);
});

t.test('it gets also what its standby had when that was active last', async (t) => {
  const [former, standby] = parted('1');
  const world = new World([former, standby]);
  former.become('standby');
  standby.become('active');
  world.connect();
  world.settle();
  standby.kernel.remove(keyOf(webFlow(1).tuples));
  standby.listen(1);
  world.disconnect();
  standby.become('standby');
  const after = returned(standby, new FakeKernel(), '2');
  t.same(numbersAt(after.nodes[0]), [2, 3]);
  later(after);
  for (const node of after.nodes) t.same(numbersAt(node), [2, 3]);
});

t.test('what a standby had of former times does not come back when it was active since', async (t) => {
  const [, standby] = parted('1');
  standby.become('active');
  standby.kernel.remove(keyOf(webFlow(1).tuples));
  standby.listen(1);
  standby.become('standby');
  while (standby.write());
  t.same(numbersAt(standby), [2]);
  const world = returned(standby, new FakeKernel(), '2');
  for (const node of world.nodes) t.same(numbersAt(node), [2, 3]);
});

for (const [what, mark] of [
  ['an lbd that restarts', '1'],
  ['a peer of the former release, which names no table,', undefined],
] as const)
  t.test(`${what} says which flows have ended`, async (t) => {
    const [active, standby] = parted(mark);
    active.kernel.remove(keyOf(webFlow(1).tuples));
    active.kernel.events.length = 0;
    const world = returned(standby, active.kernel, mark);
    for (const node of world.nodes) t.same(numbersAt(node), [2, 3]);
  });

t.test('what was acknowledged is there when the active node dies, at whatever moment', async (t) => {
  let reached = 0;
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 80 }),
      fc.array(fc.nat(7), { minLength: 300 }),
      (steps, moves) => {
        const world = new World();
        world.nodes[0].become('active');
        world.connect();
        for (const it of steps) it.run(world);
        const { active, standby } = world;
        active.listen(Number.POSITIVE_INFINITY);
        const [told, mark] = [active.living(), active.protocol.mark()];
        for (const move of moves) {
          if (active.protocol.linked && active.protocol.reached(mark)) break;
          const i = (move & 1) as 0 | 1;
          if (move < 2) world.pull(i);
          else if (move < 4) world.deliver(i);
          else if (move < 6) world.nodes[i].write();
          else world.nodes[i].listen(3);
        }
        if (!active.protocol.linked || !active.protocol.reached(mark)) return;
        reached++;
        const kept = new Set(standby.living());
        const lost = told.filter((it) => !kept.has(it));
        if (lost.length > 0) throw new Error(`lost ${lost.join(', ')}`);
      },
    ),
    { numRuns: 300 },
  );
  t.ok(reached > 50, 'it is often acknowledged');
});
