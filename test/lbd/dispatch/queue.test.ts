import type net from 'node:net';
import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { Backend } from '../../../lbd/dispatch/backend.ts';
import { Pool } from '../../../lbd/dispatch/pool.ts';
import { PoolQueue, type QueueUser } from '../../../lbd/dispatch/queue.ts';
import { Deadlines } from '../../../lbd/io/deadlines.ts';
import { createSharedBuffers, GATE_CLOSED, GATE_OPEN, SharedState } from '../../../lbd/shared/shared.ts';
import { settled } from '../../common/settled.ts';
import { answering, OK, Plane, RawClient, RawOrigin } from '../harness.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

/** Backends of one pool and its queues in several workers, in one thread. */
class World {
  readonly buffers = createSharedBuffers(3);
  readonly control = new SharedState(this.buffers, -1);
  readonly log: string[] = [];
  readonly workers: { shared: SharedState; deadlines: Deadlines; backends: Backend[]; queue: PoolQueue }[];

  constructor(limits: readonly number[], length = 100) {
    for (const slot of limits.keys()) this.control.setGate(slot, GATE_OPEN, 1);
    this.workers = [0, 1, 2].map((worker) => {
      const shared = new SharedState(this.buffers, worker);
      const backends = limits.map((limit, slot) => {
        const config = {
          name: `s${slot}`,
          address: { host: '127.0.0.1', port: 1 },
          weight: 1,
          maxConnections: limit,
        };
        const backend = new Backend('web', config as ConstructorParameters<typeof Backend>[1], slot, shared);
        backend.maxConnections = limit;
        return backend;
      });
      const deadlines = new Deadlines();
      const queue = new PoolQueue(
        { backends, config: { queue: { length, timeoutMs: 1_000 } } },
        shared,
        deadlines,
      );
      return { shared, deadlines, backends, queue };
    });
  }

  /** A client of a worker that goes anywhere, or to one backend only. */
  client(name: string, worker: number, slot = -1): QueueUser {
    const { backends, shared } = this.workers[worker]!;
    return {
      chooseAgain: () =>
        backends.find(
          (backend) =>
            (slot < 0 ? shared.eligible(backend.slot) : backend.slot === slot) &&
            shared.active(backend.slot) < backend.maxConnections,
        ),
      onTurn: (backend) => this.log.push(`${name} ${backend.name}`),
      onQueueTimeout: () => this.log.push(`${name} timed out`),
    };
  }

  enter(worker: number, slot: number, stuck = false): boolean {
    const { backends, queue } = this.workers[worker]!;
    return queue.enter(backends[slot]!, stuck);
  }

  leave(worker: number, slot: number): void {
    const { shared, queue } = this.workers[worker]!;
    shared.leave(slot);
    queue.onLeft(slot);
  }

  async until(lines: number): Promise<void> {
    while (this.log.length < lines) await new Promise(setImmediate);
  }

  /** Everything that was going to happen has happened. */
  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  }
}

t.test('first come, first served, over all workers', async (t) => {
  const world = new World([1]);
  t.ok(world.enter(0, 0));
  t.notOk(world.enter(1, 0), 'full');
  for (const [name, worker] of [
    ['a', 1],
    ['b', 0],
    ['c', 2],
    ['d', 1],
    ['e', 1],
    ['f', 0],
  ] as const)
    t.ok(world.workers[worker]!.queue.join(world.client(name, worker), -1));
  t.equal(world.control.queues.waiting(0), 6);
  const owner = { a: 1, b: 0, c: 2, d: 1, e: 1, f: 0 } as Record<string, number>;
  let last = 0;
  for (let i = 1; i <= 6; i++) {
    world.leave(last, 0);
    await world.until(i);
    t.equal(world.control.active(0), 1, 'never more than the limit');
    last = owner[world.log.at(-1)![0]!]!;
  }
  t.strictSame(world.log, ['a s0', 'b s0', 'c s0', 'd s0', 'e s0', 'f s0']);
  t.equal(world.control.queues.waiting(0), 0);
  for (const { deadlines } of world.workers) t.equal(deadlines.size, 0);
});

t.test('nobody overtakes who waits', async (t) => {
  const world = new World([1]);
  world.enter(0, 0);
  world.workers[1]!.queue.join(world.client('a', 1), -1);
  world.workers[0]!.shared.leave(0);
  t.notOk(world.enter(2, 0), 'there is room, but not for a newcomer');
  world.workers[0]!.queue.onLeft(0);
  await world.until(1);
  t.strictSame(world.log, ['a s0']);
});

t.test('who is stuck waits for its backend, and does not hold up the others', async (t) => {
  const world = new World([1, 1]);
  world.enter(0, 0);
  world.enter(0, 1);
  const { queue } = world.workers[0]!;
  queue.join(world.client('stuck to s0', 0, 0), 0);
  queue.join(world.client('any', 0), -1);
  queue.join(world.client('stuck to s1', 0, 1), 1);
  world.leave(0, 1);
  await world.until(1);
  await world.settle();
  t.strictSame(world.log, ['stuck to s1 s1'], 'who has no other choice goes first');
  world.leave(0, 1);
  await world.until(2);
  t.equal(world.log[1], 'any s1');
  world.leave(0, 0);
  await world.until(3);
  t.equal(world.log[2], 'stuck to s0 s0');
});

t.test('who is stuck in another worker goes before a newcomer of this one', async (t) => {
  const world = new World([1]);
  world.enter(0, 0);
  world.workers[1]!.queue.join(world.client('stuck', 1, 0), 0);
  world.workers[0]!.shared.leave(0);
  t.notOk(world.enter(0, 0));
  world.workers[0]!.queue.onLeft(0);
  await world.until(1);
  t.strictSame(world.log, ['stuck s0']);
});

t.test('the queue has an end and a time-out', async (t) => {
  const world = new World([1], 2);
  world.enter(0, 0);
  const { queue, deadlines } = world.workers[0]!;
  t.ok(queue.join(world.client('a', 0), -1));
  t.ok(world.workers[1]!.queue.join(world.client('b', 1), -1));
  t.equal(queue.join(world.client('c', 0), -1), undefined, 'full, over all workers');
  for (let ms = 0; ms < 1_300; ms += 100) deadlines.sweep(deadlines.now + 100);
  t.strictSame(world.log, ['a timed out']);
  t.equal(deadlines.size, 0);
  t.ok(queue.join(world.client('d', 0), -1), 'there is room again');
});

t.test('who gives up leaves no gap', async (t) => {
  const world = new World([1]);
  world.enter(0, 0);
  const { queue } = world.workers[0]!;
  const first = queue.join(world.client('a', 0), -1)!;
  const stuck = queue.join(world.client('s', 0, 0), 0)!;
  queue.join(world.client('b', 0), -1);
  queue.leave(first);
  queue.leave(stuck);
  queue.leave(stuck);
  t.equal(queue.size, 1);
  world.leave(0, 0);
  await world.until(1);
  t.strictSame(world.log, ['b s0']);
});

t.test('a backend that comes back is noticed without a word', async (t) => {
  const world = new World([1, 1]);
  world.control.setGate(1, GATE_CLOSED, 1);
  world.enter(0, 0);
  const { queue, deadlines } = world.workers[0]!;
  queue.join(world.client('a', 0), -1);
  await world.settle();
  world.control.setGate(1, GATE_OPEN, 1);
  for (let ms = 0; ms < 300; ms += 100) deadlines.sweep(deadlines.now + 100);
  t.strictSame(world.log, ['a s1']);
});

t.test('a worker that dies gives up its turns', async (t) => {
  const world = new World([1]);
  world.enter(0, 0);
  world.workers[1]!.queue.join(world.client('dead', 1), -1);
  world.workers[2]!.queue.join(world.client('next', 2), -1);
  world.control.forgetWorker(1);
  // What the dead one would do is not done: its queue is not there any more.
  world.workers[1]!.queue.enter = () => false;
  world.leave(0, 0);
  await world.until(1);
  t.strictSame(world.log, ['next s0']);
});

t.test('a reload moves the queue to the row of another backend', async (t) => {
  const world = new World([1, 1]);
  world.enter(0, 0);
  world.enter(0, 1);
  for (const { queue, backends } of world.workers) {
    queue.join(world.client('x', 0), -1);
    queue.setPool({ backends: [backends[1]!], config: { queue: { length: 5, timeoutMs: 1_000 } } });
  }
  t.equal(world.control.queues.waiting(0), 0);
  t.equal(world.control.queues.waiting(1), 3);
  world.leave(0, 1);
  await world.until(1);
  t.strictSame(world.log, ['x s1']);
});

t.test('a request or connection that ends is told to the queue of its pool', async (t) => {
  const plane = await Plane.start(t, httpYaml([1]));
  const shared = new SharedState(createSharedBuffers(1), 0);
  const poolConfig = plane.config.pools[0]!;
  const backend = new Backend('web', poolConfig.backends[0]!, 0, shared);
  const pool = new Pool(poolConfig, [backend], shared, plane.sessions, 0);
  const told: number[] = [];
  pool.queue = { enter: () => shared.tryEnter(0, 1), onLeft: (slot: number) => told.push(slot) } as never;
  t.ok(pool.enter(0));
  t.notOk(pool.enter(0));
  pool.leave(0);
  t.strictSame(told, [0]);
  t.equal(shared.active(0), 0);
});

// Through a running data plane.

/** An origin that answers when it is told to, and counts what it works on. */
async function slowOrigin(t: Test) {
  const waiting: net.Socket[] = [];
  let most = 0;
  const origin = await RawOrigin.start(t, (socket, data) => {
    for (const _ of data.matchAll(/\r\n\r\n/g)) waiting.push(socket);
    most = Math.max(most, waiting.length);
  });
  return {
    origin,
    get most() {
      return most;
    },
    get waiting() {
      return waiting.length;
    },
    answer() {
      waiting.shift()!.write(OK);
    },
  };
}

function httpYaml(ports: readonly number[], { pool = '', limit = 1 } = {}): string {
  const backends = ports.map(
    (port, i) => `s${i + 1}: { address: "127.0.0.1:${port}", max_connections: ${limit} }`,
  );
  return `
frontends: { web: { bind: ["127.0.0.1:PORT"], mode: http, pool: web } }
pools: { web: { ${pool} backends: { ${backends.join(', ')} } } }
`;
}

t.test('http: a backend never works on more than its limit, and all are served in turn', async (t) => {
  const slow = await slowOrigin(t);
  const plane = await Plane.start(t, httpYaml([slow.origin.port], { limit: 2 }));
  const clients: RawClient[] = [];
  for (let i = 0; i < 6; i++) {
    const client = await RawClient.open(t, plane.port);
    client.write(i % 2 === 0 ? GET : `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab${i}`);
    clients.push(client);
    await settled(() => slow.waiting + plane.control.queues.waiting(0) === i + 1);
  }
  t.equal(plane.control.queues.waiting(0), 4);
  for (const [i, client] of clients.entries()) {
    slow.answer();
    t.equal(await client.until((text) => text === OK), OK, `client ${i}, in its turn`);
    await settled(() => slow.waiting === Math.min(2, 5 - i));
  }
  t.equal(slow.most, 2);
  t.equal(plane.active, 0);
  const bodies = slow.origin.received.join('').match(/ab\d/g)!.toSorted();
  t.strictSame(bodies, ['ab1', 'ab3', 'ab5'], 'and no body is lost');
});

t.test('http: time-out and a full queue are a 503 with their cause', async (t) => {
  const slow = await slowOrigin(t);
  const text = httpYaml([slow.origin.port], { pool: 'queue: { length: 1, timeout: 150ms },' });
  const plane = await Plane.start(t, text);
  const [first, second, third] = [
    await RawClient.open(t, plane.port),
    await RawClient.open(t, plane.port),
    await RawClient.open(t, plane.port),
  ];
  first.write(GET);
  await settled(() => slow.waiting === 1);
  second.write(GET);
  await settled(() => plane.control.queues.waiting(0) === 1);
  third.write(GET);
  t.match(await third.until((text) => text.endsWith('busy\n')), /^HTTP\/1.1 503 .*all backends are busy\n$/s);
  t.match(
    await second.until((text) => text.endsWith('time\n')),
    /^HTTP\/1.1 503 .*no backend had room in time\n$/s,
  );
  t.equal(plane.control.frontendCounter(0, 'refused_queue_full'), 1);
  t.equal(plane.control.frontendCounter(0, 'refused_queue_timeout'), 1);
  slow.answer();
  await first.until((text) => text === OK);
  second.write(GET);
  await settled(() => slow.waiting === 1);
  slow.answer();
  t.match(await second.until((text) => text.endsWith(OK)), OK, 'the connection goes on after the 503');
});

t.test('http: the total time of a request includes its wait', async (t) => {
  const slow = await slowOrigin(t);
  const text = httpYaml([slow.origin.port], { pool: 'timeouts: { total: 1s },' });
  const plane = await Plane.start(t, text);
  const [first, second] = [await RawClient.open(t, plane.port), await RawClient.open(t, plane.port)];
  first.write(GET);
  await settled(() => slow.waiting === 1);
  second.write(GET);
  t.match(
    await second.until((text) => text.endsWith('\n')),
    /^HTTP\/1.1 504 .*the request took too long\n$/s,
  );
  t.equal(plane.control.queues.waiting(0), 0);
  await first.until((text) => text.endsWith('\n'));
  t.equal(plane.active, 0);
  const errors = plane.control.backendCounter(plane.slot('web/s1'), 'errors');
  t.equal(errors, 1, 'only the first one was at the backend');
});

t.test('tied: a client whose address has just been noted belongs to that backend', async (t) => {
  const plane = await Plane.start(t, httpYaml([1, 2], { pool: 'stick: { source: ip },' }));
  const shared = new SharedState(createSharedBuffers(1), 0);
  const config = plane.config.pools[0]!;
  for (const slot of [0, 1]) shared.setGate(slot, GATE_OPEN, 1);
  const backends = config.backends.map((backend, slot) => new Backend('web', backend, slot, shared));
  const pool = new Pool(config, backends, shared, plane.sessions, 0);
  const index = pool.choose('192.0.2.1', 1, undefined, 0, undefined);
  t.notOk(pool.stuck);
  t.ok(pool.tied, 'if it has to wait, then for this one');
  t.equal(pool.choose('192.0.2.1', 1, undefined, 0, undefined), index);
  t.ok(pool.stuck);
});

t.test('http: queue length 0 refuses at once', async (t) => {
  const slow = await slowOrigin(t);
  const plane = await Plane.start(t, httpYaml([slow.origin.port], { pool: 'queue: { length: 0 },' }));
  const [first, second] = [await RawClient.open(t, plane.port), await RawClient.open(t, plane.port)];
  first.write(GET);
  await settled(() => slow.waiting === 1);
  second.write(GET);
  t.match(await second.until((text) => text.endsWith('busy\n')), 'HTTP/1.1 503 ');
});

t.test('http: a client that leaves the queue is not served, and holds up nobody', async (t) => {
  const slow = await slowOrigin(t);
  const plane = await Plane.start(t, httpYaml([slow.origin.port]));
  const clients = [];
  for (let i = 0; i < 3; i++) {
    const client = await RawClient.open(t, plane.port);
    client.write(GET);
    clients.push(client);
    await settled(() => slow.waiting + plane.control.queues.waiting(0) === i + 1);
  }
  plane.plane.cut(plane.slot('web/s1'));
  await clients[0]!.end();
  await settled(() => slow.waiting === 2);
  await clients[1]!.until(() => slow.waiting === 2);
  t.equal(plane.control.queues.waiting(0), 1);
});

t.test('http: a stuck client waits for its own backend although another one is free', async (t) => {
  const [one, two] = [await slowOrigin(t), await slowOrigin(t)];
  const text = httpYaml([one.origin.port, two.origin.port], { pool: 'stick: { cookie: ID },' });
  const plane = await Plane.start(t, text);
  const sticky = GET.replace('\r\n\r\n', '\r\nCookie: ID=s1\r\n\r\n');
  const [first, second] = [await RawClient.open(t, plane.port), await RawClient.open(t, plane.port)];
  first.write(sticky);
  await settled(() => one.waiting === 1);
  second.write(sticky);
  await settled(() => plane.control.queues.waiting(0) === 1);
  const third = await RawClient.open(t, plane.port);
  third.write(GET);
  await settled(() => two.waiting === 1);
  one.answer();
  await first.until((text) => text === OK);
  await settled(() => one.waiting === 1);
  one.answer();
  t.equal(await second.until((text) => text === OK), OK, 'no new cookie');
});

t.test('http: a reload that lifts the limit lets all go', async (t) => {
  const slow = await slowOrigin(t);
  const text = httpYaml([slow.origin.port]);
  const plane = await Plane.start(t, text);
  for (let i = 0; i < 3; i++) {
    const client = await RawClient.open(t, plane.port);
    client.write(GET);
    await settled(() => slow.waiting + plane.control.queues.waiting(0) === i + 1);
  }
  const lifted = text.replace('max_connections: 1', 'max_connections: 3').replaceAll('PORT', `${plane.port}`);
  await plane.apply(parseConfig(lifted, '/test.yaml', { cpus: 1 }));
  await settled(() => slow.waiting === 3);
  t.equal(plane.control.queues.waiting(0), 0);
});

t.test('tcp: connections wait, in turn, then relay; a time-out is a reset', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  const plane = await Plane.start(
    t,
    `
frontends: { db: { bind: ["127.0.0.1:PORT"], mode: tcp, pool: db } }
pools: { db: { queue: { timeout: 500ms }, backends: { s1: { address: "127.0.0.1:${origin.port}", max_connections: 1 } } } }
`,
  );
  const first = await RawClient.open(t, plane.port);
  first.write(GET);
  await first.until((text) => text === OK);
  const second = await RawClient.open(t, plane.port);
  second.write(GET);
  await settled(() => plane.control.queues.waiting(0) === 1);
  first.socket.resetAndDestroy();
  t.equal(await second.until((text) => text === OK), OK);
  const third = await RawClient.open(t, plane.port);
  await third.end();
  t.equal(third.closed, 'reset');
  t.equal(plane.control.frontendCounter(0, 'refused_queue_timeout'), 1);
  second.socket.resetAndDestroy();
  await settled(() => plane.active === 0);
});
