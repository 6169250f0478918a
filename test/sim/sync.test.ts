import t from 'tap';
import { random, SyncWorld } from './sync-world.ts';

const SEEDS = 100;
const KEYS = 300;
const BACKENDS = 5;

t.test('both nodes write, the link breaks anywhere, a node restarts: equal at rest', async (t) => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const dice = random(seed);
    const world = new SyncWorld(dice);
    for (let step = 0; step < 250; step++) {
      // Now and then more than a worker's ring holds.
      for (let change = dice(dice(20) === 0 ? 120 : 20); change > 0; change--) {
        const node = world.nodes[dice(2)]!;
        const kind = dice(10);
        if (kind === 0) node.remove(dice(KEYS));
        else if (kind === 1) node.registers.set(`admin/web/s${dice(8)}`, dice(100));
        else if (kind < 4) node.lookup(dice(KEYS));
        else node.store(dice(KEYS), 1 + dice(BACKENDS));
      }
      const event = dice(60);
      if (event === 0) world.cut();
      else if (event === 1) world.restart(dice(2) as 0 | 1);
      else if (event < 6 && !world.linked) world.connect();
      world.step();
      if (world.failures().length > 0) break;
    }
    world.settle();
    const [a, b] = world.nodes;
    const name = `seed ${seed}`;
    if (
      !t.strictSame(world.failures(), [], `${name}: no breach of the protocol`) ||
      !t.strictSame(a.content(), b.content(), `${name}: same entries`) ||
      !t.equal(a.table.size, b.table.size, `${name}: same size`) ||
      !t.strictSame(a.registerLines(), b.registerLines(), `${name}: same registers`) ||
      !t.strictSame(statuses(world), ['synced true', 'synced true'], `${name}: both say so`)
    )
      return;
  }
});

t.test('one node writes, the link breaks anywhere: the other one ends with every last write', async (t) => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const dice = random(seed);
    const world = new SyncWorld(dice);
    const [a, b] = world.nodes;
    const expected = new Map<number, number>();
    for (let step = 0; step < 150; step++) {
      for (let change = dice(10); change > 0; change--) {
        const key = dice(KEYS);
        const backend = dice(BACKENDS + 1);
        if (backend === 0) a.remove(key);
        else a.store(key, backend);
        expected.set(key, backend);
      }
      const event = dice(30);
      if (event === 0) world.cut();
      else if (event < 8 && !world.linked) world.connect();
      world.step();
    }
    world.settle();
    const found = [...expected.keys()].map((key) => b.lookup(key));
    if (!t.strictSame(found, [...expected.values()], `seed ${seed}`)) return;
  }
});

t.test('a node that comes back empty gets everything and keeps nothing back', async (t) => {
  const world = new SyncWorld(random(7), 8192);
  for (let key = 0; key < 5000; key++) world.nodes[0].store(key, 1 + (key % 3));
  world.settle();
  t.equal(world.nodes[1].table.size, 5000);
  world.restart(1);
  world.nodes[1].store(9000, 2);
  world.settle();
  t.equal(world.nodes[1].table.size, 5001);
  t.equal(world.nodes[0].lookup(9000), 2);
});

t.test('after a short break the updates resume where they stopped, without a comparison first', async (t) => {
  const world = new SyncWorld(random(3));
  world.nodes[0].store(1, 1);
  world.settle();
  world.cut();
  world.nodes[0].store(2, 2);
  world.connect();
  const seen = new Set<string>();
  world.until(() => {
    for (const node of world.nodes) seen.add(node.protocol.status(world.nowMs).state);
    return world.nodes[1].lookup(2) !== 0;
  });
  t.equal(world.nodes[1].lookup(2), 2);
  t.notOk(seen.has('snapshot'), 'no resync');
});

t.test('an update that was lost before the link broke is not taken for one that resumes', async (t) => {
  const world = new SyncWorld(random(9));
  const [a, b] = world.nodes;
  world.settle();
  for (let key = 0; key < 500; key++) a.store(key, 3);
  a.protocol.tick(world.nowMs);
  world.connect();
  const states: string[] = [];
  world.until(() => {
    if (b.table.size === 500) return true;
    states.push(b.protocol.status(world.nowMs).state);
    return false;
  });
  t.equal(b.table.size, 500);
  t.notOk(states.includes('synced'), 'never says that it is in step before it is');
  world.settle();
  t.strictSame(statuses(world), ['synced true', 'synced true']);
});

t.test('a worker that floods its ring loses nothing in the end', async (t) => {
  for (let seed = 1; seed <= 50; seed++) {
    const world = new SyncWorld(random(seed));
    const [a, b] = world.nodes;
    world.settle();
    for (let key = 0; key < 500; key++) a.store(key, 3);
    const mark = a.protocol.mark(world.nowMs);
    if (!t.notOk(a.protocol.reached(mark), 'the peer cannot have it yet')) return;
    world.until(() => a.protocol.reached(mark));
    if (!t.equal(b.table.size, 500, `seed ${seed}: it has, once this node says so`)) return;
  }
});

t.test('a peer that restarts does not have what its former process had acknowledged', async (t) => {
  for (let seed = 1; seed <= 50; seed++) {
    const world = new SyncWorld(random(seed), 8192);
    const [a] = world.nodes;
    for (let key = 0; key < 3000; key++) a.store(key, 3);
    const mark = a.protocol.mark(world.nowMs);
    world.settle();
    if (!t.ok(a.protocol.reached(mark), 'it has, before it restarts')) return;
    world.restart(1);
    if (!t.notOk(a.protocol.reached(mark), 'without a link nobody knows')) return;
    world.connect();
    world.until(() => a.protocol.reached(mark));
    if (!t.equal(world.nodes[1].table.size, 3000, `seed ${seed}: it has, once this node says so`)) return;
  }
});

t.test('what is known to be missing does not wait for the slow comparison at rest', async (t) => {
  const world = new SyncWorld(random(11), 1 << 17);
  const [a, b] = world.nodes;
  world.settle();
  const rollingMs = world.nowMs + 2000;
  world.until(() => world.nowMs > rollingMs);
  for (let key = 0; key < 6000; key++) a.store(key, 3);
  const mark = a.protocol.mark(world.nowMs);
  const sinceMs = world.nowMs;
  world.until(() => a.protocol.reached(mark));
  t.equal(b.table.size, 6000);
  t.ok(world.nowMs - sinceMs < 3000, `took ${world.nowMs - sinceMs} simulated ms`);
});

function statuses(world: SyncWorld): string[] {
  return world.nodes.map((node) => {
    const { state, digest_equal } = node.protocol.status(world.nowMs);
    return `${state} ${digest_equal}`;
  });
}
