import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import {
  createSourceBuffers,
  OVER_LIMIT,
  SourceLimits,
  UNCOUNTED,
} from '../../../lbd/shared/source-limits.ts';
import { answering, OK, Plane, RawClient, RawOrigin } from '../harness.ts';

t.test('so many and no more, of each address on each frontend', async (t) => {
  const limits = new SourceLimits(createSourceBuffers(1), 0);
  const cells = [1, 2, 3].map(() => limits.enter(0, '192.0.2.1', 3));
  t.equal(new Set(cells).size, 1, 'one cell');
  t.ok(cells[0]! >= 0);
  t.equal(limits.enter(0, '192.0.2.1', 3), OVER_LIMIT);
  t.ok(limits.enter(0, '192.0.2.2', 3) >= 0, 'another address');
  t.ok(limits.enter(1, '192.0.2.1', 3) >= 0, 'another frontend');
  t.equal(limits.enter(0, '::ffff:192.0.2.1', 3), OVER_LIMIT, 'the same address in its IPv6 form');
  limits.leave(cells[0]!);
  t.equal(limits.enter(0, '192.0.2.1', 3), cells[0]);
  t.equal(limits.enter(0, '192.0.2.1', 3), OVER_LIMIT);
  t.equal(limits.enter(0, '192.0.2.1', 4), cells[0], 'a higher limit counts at once');
});

t.test('an IPv6 client is its /64', async (t) => {
  const limits = new SourceLimits(createSourceBuffers(1), 0);
  t.ok(limits.enter(0, '2001:db8:0:1::1', 1) >= 0);
  t.equal(limits.enter(0, '2001:db8:0:1:ffff::9', 1), OVER_LIMIT);
  t.ok(limits.enter(0, '2001:db8:0:2::1', 1) >= 0);
  t.ok(limits.enter(0, '::1', 1) >= 0);
});

t.test('what is no address is not counted', async (t) => {
  const limits = new SourceLimits(createSourceBuffers(1), 0);
  for (let i = 0; i < 3; i++) t.equal(limits.enter(0, '', 1), UNCOUNTED);
  limits.leave(UNCOUNTED);
});

t.test('as many clients as there are cells come and go, and none is left', async (t) => {
  const buffers = createSourceBuffers(1);
  const limits = new SourceLimits(buffers, 0);
  const held: number[] = [];
  let uncounted = 0;
  for (let i = 0; i < 50_000; i++) {
    const cell = limits.enter(0, `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, 1);
    if (cell === UNCOUNTED) uncounted++;
    else if (cell === OVER_LIMIT) t.fail(`client ${i} is taken for another one`);
    else held.push(cell);
  }
  t.ok(uncounted <= 10, `${uncounted} of 50,000 found their buckets full`);
  t.equal(new Set(held).size, held.length, 'each has a cell of its own');
  for (const cell of held) limits.leave(cell);
  const counts = new BigUint64Array(buffers.cells).filter((cell) => (cell & 0xffffffn) !== 0n);
  t.equal(counts.length, 0);
});

t.test('the connections of a worker that died are taken off', async (t) => {
  const buffers = createSourceBuffers(2);
  const [one, two, control] = [0, 1, -1].map((worker) => new SourceLimits(buffers, worker));
  const cell = one!.enter(0, '192.0.2.1', 3);
  two!.enter(0, '192.0.2.1', 3);
  two!.enter(0, '192.0.2.1', 3);
  t.equal(one!.enter(0, '192.0.2.1', 3), OVER_LIMIT);
  control!.forgetWorker(1);
  t.equal(one!.enter(0, '192.0.2.1', 3), cell);
  t.equal(one!.enter(0, '192.0.2.1', 3), cell);
  t.equal(one!.enter(0, '192.0.2.1', 3), OVER_LIMIT);
});

t.test('exact when workers enter and leave at the same time', async (t) => {
  const buffers = createSourceBuffers(2);
  const gauge = new SharedArrayBuffer(8);
  const source = `
    const { workerData, parentPort } = require('node:worker_threads');
    import(workerData.file).then(({ SourceLimits, OVER_LIMIT }) => {
      const limits = new SourceLimits(workerData.buffers, workerData.index);
      const inside = new Int32Array(workerData.gauge);
      let most = 0, refused = 0, cells = [];
      for (let i = 0; i < 40000; i++) {
        const cell = limits.enter(0, '192.0.2.1', 5);
        if (cell === OVER_LIMIT) { refused++; }
        else {
          most = Math.max(most, Atomics.add(inside, 0, 1) + 1);
          cells.push(cell);
        }
        if (cells.length > 0 && (cell === OVER_LIMIT || i % 3 === 0)) {
          Atomics.sub(inside, 0, 1);
          limits.leave(cells.pop());
        }
      }
      for (const cell of cells) { Atomics.sub(inside, 0, 1); limits.leave(cell); }
      parentPort.postMessage({ most, refused });
    });`;
  const file = new URL('../../../lbd/shared/source-limits.ts', import.meta.url).href;
  const workers = [0, 1].map(
    (index) => new Worker(source, { eval: true, workerData: { buffers, gauge, index, file } }),
  );
  const results = await Promise.all(workers.map((worker) => once(worker, 'message')));
  for (const [{ most, refused }] of results) {
    t.ok(most <= 5, `${most} at most`);
    t.ok(refused > 0);
  }
  const control = new SourceLimits(buffers, 0);
  for (let i = 0; i < 5; i++) t.ok(control.enter(0, '192.0.2.1', 5) >= 0, 'all have left');
});

t.test('http: 429, tcp: a reset, and the place is free again at the end', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  const request = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
  for (const mode of ['http', 'tcp'])
    await t.test(mode, async (t) => {
      const plane = await Plane.start(
        t,
        `
frontends: { web: { bind: ["127.0.0.1:PORT"], mode: ${mode}, pool: web, limits: { per_source: 2 } } }
pools: { web: { backends: { s1: { address: "127.0.0.1:${origin.port}" } } } }
`,
      );
      const clients = [await RawClient.open(t, plane.port), await RawClient.open(t, plane.port)];
      for (const client of clients) {
        client.write(request);
        t.equal(await client.until((text) => text === OK), OK);
      }
      const third = await RawClient.open(t, plane.port).catch(() => undefined);
      third?.write(request);
      const text = await third?.end();
      if (mode === 'tcp') t.equal(text ?? '', '');
      else t.match(text, /^HTTP\/1.1 429 Too Many Requests.*too many connections from your address\n$/s);
      t.equal(plane.control.frontendCounter(0, 'refused_source'), 1);
      t.equal(plane.control.frontendCounter(0, 'connections'), 2);
      clients[0]!.socket.resetAndDestroy();
      while (plane.control.frontendCounter(0, 'connections') > 1) await new Promise(setImmediate);
      const fourth = await RawClient.open(t, plane.port);
      fourth.write(request);
      t.equal(await fourth.until((text) => text === OK), OK);
    });
});
