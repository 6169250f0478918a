import { connect, type Socket } from 'node:net';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import type { Keys } from '../../../common/secret.ts';
import { ASLEEP } from '../../../lbd/session/layout.ts';
import { Registers } from '../../../lbd/session/registers.ts';
import { SessionSync } from '../../../lbd/session/sync-link.ts';
import { SessionTable } from '../../../lbd/session/table.ts';
import { Watchers } from '../../common/watchers.ts';

const ADDRESS = '127.0.0.1';
/** A secret that replaces it. */
const OTHER = Buffer.alloc(32, 2);
const PSK = Buffer.alloc(32, 1);
const TTL_MS = 3_600_000;

interface Options {
  readonly keys?: Keys;
  readonly cluster?: string;
  readonly peerPort?: number;
  readonly peer?: string;
  readonly hashKey?: Uint32Array;
}

/** A node whose `until` waits for its status to change. */
function node(t: Test, name: 'a' | 'b', options: Options = {}) {
  const hashKey = options.hashKey ?? Uint32Array.of(1, 2, 3, 4);
  const memory = SessionTable.create(16384);
  const table = new SessionTable(memory, 0, { hashKey });
  const worker = new SessionTable(memory, 1, { hashKey });
  const registers = new Registers(name);
  const watchers = new Watchers();
  const sync = new SessionSync({
    table,
    registers,
    self: { name, address: ADDRESS },
    peer: { name: options.peer ?? (name === 'a' ? 'b' : 'a'), address: ADDRESS },
    port: 0,
    ...(options.peerPort === undefined ? {} : { peerPort: options.peerPort }),
    keys: options.keys ?? [PSK],
    cluster: options.cluster ?? 'shop',
    log: pino({ level: 'silent' }),
    onStatus: watchers.changed,
  });
  t.teardown(() => sync.close());
  const until = (well: () => boolean) => watchers.until(well);
  const put = (client: number, backend: number) => {
    table.keyOfSource(7, `10.0.${client >> 8}.${client & 255}`);
    table.store(backend, TTL_MS);
  };
  const get = (client: number) => {
    table.keyOfSource(7, `10.0.${client >> 8}.${client & 255}`);
    return table.lookup(TTL_MS);
  };
  const putCookie = (value: string, backend: number) => {
    worker.keyOfCookie(7, value);
    worker.store(backend, TTL_MS);
  };
  const getCookie = (value: string) => {
    worker.keyOfCookie(7, value);
    return worker.peek();
  };
  const synced = () => until(() => sync.status().state === 'synced');
  return { table, registers, sync, until, put, get, putCookie, getCookie, synced };
}

async function pair(t: Test) {
  const b = node(t, 'b');
  await b.sync.start();
  const a = node(t, 'a', { peerPort: b.sync.port! });
  await a.sync.start();
  return { a, b };
}

t.test('what was there and what comes reaches the other node, in both directions', async (t) => {
  const b = node(t, 'b');
  for (let client = 0; client < 5000; client++) b.put(client, 1);
  await b.sync.start();
  const a = node(t, 'a', { peerPort: b.sync.port! });
  a.put(9000, 2);
  await a.sync.start();
  await Promise.all([a.synced(), b.synced()]);
  t.equal(a.table.size, 5001);
  t.equal(b.get(9000), 2);
  a.put(1, 3);
  a.registers.set('admin/web/s1', 'drain');
  t.ok(await a.sync.flush(5000));
  t.equal(b.get(1), 3);
  t.equal(b.registers.get('admin/web/s1'), 'drain');
  t.equal(a.sync.status().lag_ms, 0);
});

t.test('at rest it sleeps until something changes, again and again', async (t) => {
  const { a, b } = await pair(t);
  await Promise.all([a.synced(), b.synced()]);
  const asleep = () => Atomics.load(a.table.memory.words, ASLEEP) === 1;
  const eventually = async (well: () => boolean) => {
    while (!well()) await new Promise((resolve) => setTimeout(resolve, 2));
  };
  for (let client = 1; client <= 3; client++) {
    await eventually(asleep);
    a.put(client, 9);
    t.notOk(asleep());
    await eventually(() => b.get(client) === 9);
  }
  await eventually(asleep);
  a.registers.set('admin/web/s1', 'drain');
  await eventually(() => b.registers.get('admin/web/s1') === 'drain');
});

t.test('one node goes and comes back empty: it dials again and is filled', async (t) => {
  const { a, b } = await pair(t);
  b.put(1, 4);
  await Promise.all([a.synced(), b.synced()]);
  await a.sync.close();
  await b.until(() => b.sync.status().state === 'connecting');
  t.match(b.sync.status().why, /a closed the link/);
  t.notOk(await b.sync.flush(1), 'nobody is there');
  const again = node(t, 'a', { peerPort: b.sync.port! });
  await again.sync.start();
  await again.synced();
  t.equal(again.get(1), 4);
});

t.test('another secret is refused, and both sides say so', async (t) => {
  const b = node(t, 'b');
  b.put(1, 4);
  await b.sync.start();
  const a = node(t, 'a', { peerPort: b.sync.port!, keys: [OTHER] });
  await a.sync.start();
  await Promise.all([
    a.until(() => /b has another secret/.test(a.sync.status().why)),
    b.until(() => /a has another secret/.test(b.sync.status().why)),
  ]);
  t.equal(a.get(1), 0);
});

t.test('a secret is replaced on one node after the other, and the link is made at any time', async (t) => {
  const steps: readonly (readonly [a: Keys, b: Keys])[] = [
    [[OTHER, PSK], [PSK]],
    [[PSK], [OTHER, PSK]],
    [
      [OTHER, PSK],
      [OTHER, PSK],
    ],
    [[OTHER], [OTHER, PSK]],
    [[OTHER, PSK], [OTHER]],
  ];
  for (const [here, there] of steps) {
    const b = node(t, 'b', { keys: there });
    b.put(1, 4);
    await b.sync.start();
    const a = node(t, 'a', { peerPort: b.sync.port!, keys: here });
    await a.sync.start();
    await a.synced();
    t.equal(a.get(1), 4);
    await Promise.all([a.sync.close(), b.sync.close()]);
  }
});

t.test('keys that come by a reload serve the next link', async (t) => {
  const b = node(t, 'b', { keys: [OTHER] });
  await b.sync.start();
  const a = node(t, 'a', { peerPort: b.sync.port! });
  await a.sync.start();
  await a.until(() => /b has another secret/.test(a.sync.status().why));
  a.sync.rekey([OTHER, PSK]);
  await a.synced();
});

for (const older of ['a', 'b'] as const)
  t.test(
    `the secret was replaced: the lbd that joins takes the hash key of ${older}, which has sessions`,
    async (t) => {
      const b = node(t, 'b', { hashKey: Uint32Array.of(5, 6, 7, 8) });
      await b.sync.start();
      const a = node(t, 'a', { peerPort: b.sync.port! });
      const [had, joins] = older === 'a' ? [a, b] : [b, a];
      had.putCookie('JSESSIONID-1', 4);
      await a.sync.start();
      await Promise.all([a.synced(), b.synced()]);
      t.equal(joins.getCookie('JSESSIONID-1'), 4, 'its workers, too');
      joins.putCookie('JSESSIONID-2', 5);
      await joins.sync.flush(60_000);
      t.equal(had.getCookie('JSESSIONID-2'), 5);
    },
  );

t.test('two lbd without a session agree on a hash key, too', async (t) => {
  const b = node(t, 'b', { hashKey: Uint32Array.of(5, 6, 7, 8) });
  await b.sync.start();
  const a = node(t, 'a', { peerPort: b.sync.port! });
  await a.sync.start();
  await Promise.all([a.synced(), b.synced()]);
  a.putCookie('JSESSIONID-1', 4);
  await a.sync.flush(60_000);
  t.equal(b.getCookie('JSESSIONID-1'), 4);
});

t.test('two lbd with sessions by different hash keys refuse each other, and say what helps', async (t) => {
  const b = node(t, 'b', { hashKey: Uint32Array.of(5, 6, 7, 8) });
  b.putCookie('JSESSIONID-1', 4);
  await b.sync.start();
  const a = node(t, 'a', { peerPort: b.sync.port! });
  a.putCookie('JSESSIONID-2', 5);
  await a.sync.start();
  await a.until(() => /restart lbd of the standby/.test(a.sync.status().why));
  t.equal(a.getCookie('JSESSIONID-2'), 5);
});

t.test('another cluster with the same secret is refused', async (t) => {
  const b = node(t, 'b');
  await b.sync.start();
  const a = node(t, 'a', { peerPort: b.sync.port!, cluster: 'bank' });
  await a.sync.start();
  await a.until(() => /cluster or node names differ/.test(a.sync.status().why));
  await b.until(() => /cluster or node names differ/.test(b.sync.status().why));
  t.equal(a.sync.status().state, 'connecting');
});

t.test('nobody listens: it says so, and goes on trying', async (t) => {
  const b = node(t, 'b');
  await b.sync.start();
  const port = b.sync.port!;
  await b.sync.close();
  const a = node(t, 'a', { peerPort: port });
  await a.sync.start();
  await a.until(() => /b does not listen/.test(a.sync.status().why));
  t.pass();
});

t.test('strangers at the port cost nothing: the link stays up', async (t) => {
  const { a, b } = await pair(t);
  await Promise.all([a.synced(), b.synced()]);
  const strangers: Socket[] = [];
  for (let i = 0; i < 20; i++) {
    const socket = connect(b.sync.port!, ADDRESS);
    socket.on('error', () => {});
    socket.end('GET / HTTP/1.1\r\n\r\n');
    strangers.push(socket);
  }
  await Promise.all(
    strangers.map((socket) => socket.closed || new Promise((resolve) => socket.once('close', resolve))),
  );
  a.put(5, 5);
  t.ok(await a.sync.flush(5000));
  t.equal(b.get(5), 5);
  t.strictSame(b.sync.status().why, '');
});

t.test('a port that is taken is an error for the operator', async (t) => {
  const b = node(t, 'b');
  await b.sync.start();
  const twin = new SessionSync({
    table: b.table,
    registers: b.registers,
    self: { name: 'b', address: ADDRESS },
    peer: { name: 'a', address: ADDRESS },
    port: b.sync.port!,
    keys: [PSK],
    cluster: 'shop',
    log: pino({ level: 'silent' }),
  });
  await t.rejects(twin.start(), { code: 'SYNC_BIND', message: /127\.0\.0\.1 port \d+: another process/ });
  await twin.close();
});
