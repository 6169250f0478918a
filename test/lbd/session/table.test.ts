import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { BACKEND, EXPIRY, KEY_WORDS, LOCK, SEQUENCE, TICK_MS, VERSION } from '../../../lbd/session/layout.ts';
import { RECORD_WORDS, readRecord } from '../../../lbd/session/scan.ts';
import { SessionTable } from '../../../lbd/session/table.ts';
import type { HammerData } from './hammer.ts';

const HASH_KEY = Uint32Array.of(1, 2, 3, 4);
const POOL = 7;
const TTL_MS = 60_000;

/** A table with a clock that stands still until it is moved. */
function fixture(capacity = 1024) {
  const clock = { ms: 5000 };
  const buffer = SessionTable.create(capacity);
  const on = (writer: number) =>
    new SessionTable(buffer, writer, { hashKey: HASH_KEY, nowMs: () => clock.ms });
  return { clock, buffer, main: on(0), worker: on(1), other: on(2) };
}

function put(table: SessionTable, client: number, backend: number, ttlMs = TTL_MS): void {
  table.keyOfSource(POOL, address(client));
  table.store(backend, ttlMs);
}

function get(table: SessionTable, client: number, ttlMs = TTL_MS): number {
  table.keyOfSource(POOL, address(client));
  return table.lookup(ttlMs);
}

function address(client: number): string {
  return `10.${(client >> 16) & 255}.${(client >> 8) & 255}.${client & 255}`;
}

function changes(table: SessionTable): number {
  return table.changes.drain(new Int32Array(4096), 4096);
}

t.test('what one thread stores, another one finds', async (t) => {
  const { worker, other } = fixture();
  put(worker, 1, 0xfffffff0);
  t.equal(get(other, 1), 0xfffffff0);
  t.equal(get(other, 2), 0);
  put(other, 1, 5);
  t.equal(get(worker, 1), 5, 'moved');
  t.equal(worker.size, 1);
});

t.test('keys: pools and kinds are apart, notations of one address are one', async (t) => {
  const { worker } = fixture();
  worker.keyOfSource(POOL, '10.0.0.1');
  worker.store(1, TTL_MS);
  worker.keyOfSource(POOL + 1, '10.0.0.1');
  t.equal(worker.lookup(TTL_MS), 0, 'another pool');
  worker.keyOfCookie(POOL, '10.0.0.1');
  t.equal(worker.lookup(TTL_MS), 0, 'a cookie');
  worker.keyOfSource(POOL, '::ffff:10.0.0.1');
  t.equal(worker.lookup(TTL_MS), 1);
  t.notOk(worker.keyOfSource(POOL, 'nonsense'));
  t.notOk(worker.store(1, TTL_MS), 'no key, no store');
  t.equal(worker.lookup(TTL_MS), 0);
});

t.test('cookies: told apart to the last character, and never kept', async (t) => {
  const { worker, buffer, main } = fixture();
  const secret = 'JSESSIONID-4f2a9c-Q';
  const values = [secret, `${secret}x`, secret.slice(0, -1), '', 'é'.repeat(3000)];
  for (const [i, value] of values.entries()) {
    worker.keyOfCookie(POOL, value);
    worker.store(i + 1, TTL_MS);
  }
  for (const [i, value] of values.entries()) {
    worker.keyOfCookie(POOL, value);
    t.equal(worker.lookup(TTL_MS), i + 1);
  }
  const memory = Buffer.from(buffer);
  t.notOk(memory.includes(secret.slice(0, 8)) || memory.includes(Buffer.from(secret.slice(0, 8), 'utf16le')));
  t.match(main.entries(9)[0]?.key, /^[0-9a-f]{16}$/);
  const elsewhere = new SessionTable(buffer, 3, { hashKey: Uint32Array.of(1, 2, 3, 5) });
  elsewhere.keyOfCookie(POOL, secret);
  t.equal(elsewhere.lookup(TTL_MS), 0, 'another secret, another key');
  t.not(elsewhere.keyFingerprint, worker.keyFingerprint);
});

t.test('an entry lives for its time from the last use', async (t) => {
  const { clock, worker, main } = fixture();
  put(worker, 1, 1, 1000);
  clock.ms += 900;
  t.equal(get(worker, 1, 1000), 1);
  clock.ms += 900;
  t.equal(get(worker, 1, 1000), 1, 'the look-up counted');
  clock.ms += 1010;
  t.equal(get(worker, 1, 1000), 0);
  t.equal(main.size, 1, 'still takes room');
  t.equal(main.sweep(main.memory.buckets), 1);
  t.equal(main.size, 0);
});

t.test('the clock may wrap', async (t) => {
  const { clock, worker } = fixture();
  clock.ms = (2 ** 31 - 10) * 10;
  put(worker, 1, 1, 1000);
  clock.ms += 500;
  t.equal(get(worker, 1, 1000), 1);
  clock.ms += 1010;
  t.equal(get(worker, 1, 1000), 0);
});

t.test('entries list what is live', async (t) => {
  const { main, worker } = fixture();
  put(worker, 1, 9);
  put(worker, 2, 9);
  worker.remove();
  t.strictSame(main.entries(10), [
    { pool: POOL, kind: 'source', key: '10.0.0.1', backend: 9, expiresInMs: TTL_MS },
  ]);
  t.strictSame(main.entries(0), []);
});

t.test('filled to 80 %, next to nothing is evicted', async (t) => {
  const { worker, main } = fixture(65536);
  const clients = Math.floor(65536 * 0.8);
  for (let client = 0; client < clients; client++) put(worker, client, 1);
  t.ok(main.evictions < clients / 1000, `${main.evictions} of ${clients}`);
  t.equal(main.size, clients - main.evictions);
});

t.test('when full, the oldest of its buckets goes', async (t) => {
  const { clock, worker, main } = fixture();
  for (let client = 0; client < 3000; client++) {
    put(worker, client, 1);
    clock.ms += 10;
  }
  t.ok(main.size <= 1024 && main.size > 1000, `size ${main.size}`);
  let newest = 0;
  for (let client = 2900; client < 3000; client++) if (get(worker, client) !== 0) newest++;
  t.equal(newest, 100, 'the newest are all there');
  t.equal(get(worker, 0), 0, 'the oldest is gone');
});

t.test('changes that the peer must hear of', async (t) => {
  const { clock, worker, main } = fixture();
  put(worker, 1, 1, 8000);
  t.equal(changes(main), 1, 'a new entry');
  clock.ms += 500;
  get(worker, 1, 8000);
  t.equal(changes(main), 0, 'a touch that adds little');
  clock.ms += 600;
  get(worker, 1, 8000);
  t.equal(changes(main), 1, 'a touch that adds an eighth of its life');
  put(worker, 1, 1, 8000);
  t.equal(changes(main), 0, 'nothing new');
  put(worker, 1, 2, 8000);
  worker.remove();
  t.equal(changes(main), 2, 'a move, a removal');
  t.notOk(main.changes.takeOverflow());
  for (let client = 0; client < 100; client++) put(worker, client, 1);
  t.equal(changes(main), 32, 'what the ring holds');
  t.ok(main.changes.takeOverflow());
  t.notOk(main.changes.takeOverflow(), 'told once');
});

t.test('merge: the higher version wins, then the higher backend, whatever the order', async (t) => {
  const states: [backend: number, version: number][] = [
    [5, 3],
    [0xfffffff0, 3],
    [7, 2],
    [0, 4],
    [6, 4],
  ];
  for (const order of [
    states,
    [...states].reverse(),
    [states[2]!, states[4]!, states[0]!, states[3]!, states[1]!],
  ]) {
    const { main } = fixture();
    for (const [backend, version] of order) main.merge(record(backend, version), 0);
    main.keyOfSource(POOL, '10.0.0.9');
    t.equal(main.lookup(TTL_MS), 6);
    t.equal(main.size, 1);
  }
});

t.test('merge: the longer life wins between equals, and nothing is reported', async (t) => {
  const { clock, main } = fixture();
  t.ok(main.merge(record(5, 3, 100), 0));
  t.ok(main.merge(record(5, 3, 200), 0));
  t.notOk(main.merge(record(5, 3, 50), 0));
  t.notOk(main.merge(record(9, 2, 500), 0), 'an older state adds no life');
  clock.ms += 1500;
  main.keyOfSource(POOL, '10.0.0.9');
  t.equal(main.lookup(10), 5);
  clock.ms += 500;
  t.equal(main.lookup(10), 0);
  t.equal(changes(main), 0);
});

t.test('a removed key stays removed, and a new store beats the tombstone', async (t) => {
  const { main, worker } = fixture();
  main.merge(record(5, 3), 0);
  worker.keyOfSource(POOL, '10.0.0.9');
  t.ok(worker.remove());
  t.notOk(worker.remove());
  t.notOk(main.merge(record(5, 3), 0), "the peer's old copy");
  t.equal(main.size, 0);
  worker.store(8, TTL_MS);
  t.equal(worker.lookup(TTL_MS), 8);
  t.notOk(main.merge(record(9, 4), 0));
  t.equal(main.clear(), 1);
  t.equal(worker.lookup(TTL_MS), 0);
});

t.test('merge: what the peer removed takes the place of nothing that lives', async (t) => {
  const { worker, main } = fixture();
  for (let client = 0; client < 3000; client++) put(worker, client, 1);
  const [size, evictions] = [main.size, main.evictions];
  for (let client = 5000; client < 6000; client++) {
    const tombstone = record(0, 40, 100_000);
    tombstone[3] = 0x0a000000 + client;
    main.merge(tombstone, 0);
  }
  t.equal(main.evictions, evictions);
  t.equal(main.size, size);
});

t.test('merge: of entries with about the same life, those that are there stay', async (t) => {
  const { worker, main } = fixture();
  for (let client = 0; client < 3000; client++) put(worker, client, 1);
  const { evictions } = main;
  const merge = (lifeTicks: number) => {
    for (let client = 5000; client < 5100; client++) {
      const entry = record(1, 40, lifeTicks);
      entry[3] = 0x0a000000 + client;
      main.merge(entry, 0);
    }
  };
  merge(TTL_MS / TICK_MS + 2);
  t.equal(main.evictions, evictions, 'time on the way seems to be life');
  merge(TTL_MS / TICK_MS + 200);
  t.ok(main.evictions > evictions, 'one that lives longer takes a place');
});

t.test('a key that was evicted and stored anew beats what the peer remembers', async (t) => {
  const { clock, main, worker } = fixture();
  main.merge(record(5, 40, 1), 0);
  clock.ms += 100;
  main.sweep(main.memory.buckets);
  main.tickClock();
  worker.keyOfSource(POOL, '10.0.0.9');
  worker.store(6, TTL_MS);
  t.notOk(main.merge(record(5, 40), 0));
  t.equal(worker.lookup(TTL_MS), 6);
});

t.test('locks of a dead worker are freed, its half-written entry is gone, the count is right', async (t) => {
  const { main, worker } = fixture();
  put(worker, 1, 1);
  put(worker, 2, 2);
  const { memory } = main;
  const record = new Int32Array(RECORD_WORDS);
  const slot = Array.from({ length: 1024 }, (_, i) => i).find(
    (i) => readRecord(memory, i, record, 0) === 'found' && record[BACKEND] === 1,
  )!;
  // What a kill in the middle of a store leaves: lock held, sequence odd, tag 0, count not yet changed.
  const bucket = memory.bucketAt(slot >>> 3);
  memory.words[bucket + LOCK] = 2;
  memory.words[bucket + SEQUENCE]!++;
  memory.words[memory.tagAt(slot)] = 0;
  t.notOk(memory.tryLock(slot >>> 3));
  t.equal(get(worker, 1), 0, 'readers do not wait');
  t.equal(main.releaseWriter(2), 0, 'another worker');
  t.equal(main.releaseWriter(1), 1);
  t.equal(main.size, 1);
  put(main, 1, 3);
  t.equal(get(main, 1), 3);
  t.equal(get(main, 2), 2);
});

t.test('a lock that is never given back costs a store, not the loop', async (t) => {
  const { main, worker } = fixture();
  put(worker, 1, 1);
  for (let bucket = 0; bucket < main.memory.buckets; bucket++)
    main.memory.words[main.memory.bucketAt(bucket) + LOCK] = 9;
  t.equal(get(worker, 1), 1, 'reads go on');
  worker.keyOfSource(POOL, address(1));
  t.notOk(worker.store(2, TTL_MS));
  t.equal(main.contended, 1);
});

t.test('threads on the same buckets lose and tear nothing', async (t) => {
  const buffer = SessionTable.create(1024);
  const main = new SessionTable(buffer, 0, { hashKey: HASH_KEY });
  const keys = 200;
  const workers = [1, 2, 3].map((writer) => {
    const workerData: HammerData = { buffer, writer, keys, rounds: 150 };
    return new Worker(new URL('./hammer.ts', import.meta.url), { workerData });
  });
  const results = Promise.all(workers.map((worker) => once(worker, 'message')));
  const scratch = new Int32Array(4096);
  let running = true;
  const exits = Promise.all(workers.map((worker) => once(worker, 'exit'))).then(() => {
    running = false;
  });
  let reported = 0;
  while (running) {
    reported += main.changes.drain(scratch, scratch.length);
    main.sweep(64);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await exits;
  let dropped = 0;
  for (const [result] of await results) {
    t.match(result, { torn: 0, lost: 0 });
    dropped += result.dropped;
  }
  t.equal(main.contended, dropped, 'a machine too busy to give back a lock in time shows');
  t.equal(main.size, keys);
  t.equal(main.entries(1024).length, keys, 'no key twice');
  t.equal(main.evictions, 0);
  t.ok(reported > 0);
});

t.test('a table of an impossible size is refused', async (t) => {
  for (const capacity of [0, 1000, 512, 2 ** 25, 1.5])
    t.throws(() => SessionTable.create(capacity), { message: new RegExp(`it is ${capacity}$`) });
  for (const capacity of [1024, 2048, 1 << 16, 1 << 20])
    t.ok(SessionTable.create(capacity).byteLength <= capacity * 64, `${capacity}: at most 64 bytes an entry`);
});

/** 10.0.0.9 as the peer sends it. */
function record(backend: number, version: number, lifeTicks = 1000): Int32Array {
  const words = new Int32Array(RECORD_WORDS);
  words.set([0, 0, 0xffff, 0x0a000009, POOL, 1]);
  words[BACKEND] = backend;
  words[VERSION] = version;
  words[EXPIRY] = lifeTicks;
  return words;
}

t.equal(KEY_WORDS, BACKEND, 'a record begins like an entry');
