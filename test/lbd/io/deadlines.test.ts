import t from 'tap';
import { Deadlines, type Timed } from '../../../lbd/io/deadlines.ts';

class Item implements Timed {
  deadline = 0;
  listed = -1;
  fired = 0;
  readonly #then: () => void;

  constructor(then: () => void = () => {}) {
    this.#then = then;
  }

  onDeadline(): void {
    this.fired++;
    this.#then();
  }
}

/** Deadlines whose time moves by hand, in sweeps as often as in life. */
function clock(): { deadlines: Deadlines; pass(ms: number): void; stall(ms: number): void } {
  const deadlines = new Deadlines(100);
  return {
    deadlines,
    pass(ms) {
      for (let left = ms; left > 0; left -= 100) deadlines.sweep(deadlines.now + 100);
    },
    stall(ms) {
      deadlines.sweep(deadlines.now + ms);
    },
  };
}

t.test('an item fires once, at its time and not before', async (t) => {
  const { deadlines, pass } = clock();
  const item = new Item();
  deadlines.add(item);
  item.deadline = deadlines.in(1_000);
  pass(1_000);
  t.equal(item.fired, 0, 'the last sweep may have been an interval ago, so one more is due');
  pass(100);
  t.equal(item.fired, 1);
  pass(10_000);
  t.equal(item.fired, 1);
  t.equal(deadlines.size, 1, 'it stays until it is removed');
  deadlines.remove(item);
  t.equal(deadlines.size, 0);
});

t.test('no deadline, or one that was moved, does not fire', async (t) => {
  const { deadlines, pass } = clock();
  const never = new Item();
  const moved = new Item();
  deadlines.add(never);
  deadlines.add(moved);
  for (let i = 0; i < 10; i++) {
    moved.deadline = deadlines.in(500);
    pass(400);
  }
  t.strictSame([never.fired, moved.fired], [0, 0]);
  pass(500);
  t.strictSame([never.fired, moved.fired], [0, 1]);
});

t.test('adding twice and removing twice do nothing more', async (t) => {
  const { deadlines } = clock();
  const item = new Item();
  deadlines.add(item);
  deadlines.add(item);
  t.equal(deadlines.size, 1);
  deadlines.remove(item);
  deadlines.remove(item);
  t.equal(deadlines.size, 0);
  t.equal(item.listed, -1);
});

t.test('items that remove themselves or others while they fire', async (t) => {
  for (const order of ['itself', 'the next', 'the one before', 'all'] as const)
    await t.test(order, async (t) => {
      const { deadlines, pass } = clock();
      const items: Item[] = Array.from({ length: 50 }, (_, i) => {
        const item = new Item(() => {
          if (order === 'itself') deadlines.remove(item);
          else if (order === 'the next') deadlines.remove(items[(i + 1) % 50]!);
          else if (order === 'the one before') deadlines.remove(items[(i + 49) % 50]!);
          else for (const other of items) deadlines.remove(other);
        });
        deadlines.add(item);
        item.deadline = deadlines.in(100);
        return item;
      });
      pass(1_000);
      t.ok(items.every((item) => item.fired <= 1));
      t.ok(
        items.every((item) => item.fired === 1 || item.listed === -1),
        'who is still listed has fired',
      );
      const listed = deadlines.all();
      t.strictSame(
        listed.map((item) => item.listed),
        listed.map((_, i) => i),
        'each knows its place',
      );
    });
});

t.test('time in which the thread did not run does not count', async (t) => {
  const { deadlines, pass, stall } = clock();
  const item = new Item();
  const unset = new Item();
  deadlines.add(item);
  deadlines.add(unset);
  item.deadline = deadlines.in(1_000);
  pass(500);
  stall(60_000);
  t.equal(item.fired, 0, 'it gets the rest of its time');
  pass(400);
  t.equal(item.fired, 0);
  pass(200);
  t.equal(item.fired, 1);
  t.equal(unset.deadline, 0);
});

t.test('a deadline set by a callback after a stall, before its sweep, is whole', async (t) => {
  const { deadlines, pass, stall } = clock();
  const item = new Item();
  deadlines.add(item);
  item.deadline = deadlines.in(1_000);
  stall(5_000);
  pass(900);
  t.equal(item.fired, 0);
});

t.test('it sweeps by itself between start and stop', async (t) => {
  const deadlines = new Deadlines(1);
  t.teardown(() => deadlines.stop());
  let beats = 0;
  await new Promise<void>((resolve) => {
    const item = new Item(resolve);
    deadlines.add(item);
    item.deadline = deadlines.in(1);
    deadlines.start(() => beats++);
  });
  t.ok(beats >= 2, 'twice an interval it says that the thread runs');
});
