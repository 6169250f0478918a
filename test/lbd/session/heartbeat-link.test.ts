import { EventEmitter, once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { MAX_HEARTBEAT_BYTES } from '../../../common/control.ts';
import { KeyRing, type SyncPurpose } from '../../../lbd/session/key-ring.ts';
import { Registers } from '../../../lbd/session/registers.ts';
import { SessionSync } from '../../../lbd/session/sync-link.ts';
import { dialTls } from '../../../lbd/session/sync-tls.ts';
import { SessionTable } from '../../../lbd/session/table.ts';
import { Watchers } from '../../common/watchers.ts';

const ADDRESS = '127.0.0.1';
const PSK = Buffer.alloc(32, 1);
const RING = new KeyRing({ cluster: 'shop', dialer: 'a', listener: 'b' }, [PSK]);
const TTL_MS = 3_600_000;
const DATAGRAM = Buffer.alloc(152, 7);

interface Options {
  readonly peerPort?: number;
  /** false: as the last release, which knows no heartbeats on its way. */
  readonly carries?: boolean;
  readonly maxAgeMs?: number;
}

function node(t: Test, name: 'a' | 'b', { peerPort, carries = true, maxAgeMs = 60_000 }: Options = {}) {
  const table = new SessionTable(SessionTable.create(262_144), 0, { hashKey: Uint32Array.of(1, 2, 3, 4) });
  const watchers = new Watchers();
  const heard = new EventEmitter();
  const sync = new SessionSync({
    table,
    registers: new Registers(name),
    self: { name, address: ADDRESS },
    peer: { name: name === 'a' ? 'b' : 'a', address: ADDRESS },
    port: 0,
    ...(peerPort === undefined ? {} : { peerPort }),
    keys: [PSK],
    cluster: 'shop',
    log: pino({ level: 'silent' }),
    heartbeats: carries
      ? {
          maxAgeMs: () => maxAgeMs,
          onHeartbeat: (datagram) => heard.emit('heartbeat', Buffer.from(datagram)),
          onState: watchers.changed,
        }
      : undefined,
    onStatus: watchers.changed,
  });
  t.teardown(() => sync.close());
  const next = async (): Promise<Buffer> => (await once(heard, 'heartbeat'))[0] as Buffer;
  const until = (well: () => boolean) => watchers.until(well);
  const carried = () => until(() => sync.carriage?.up === true);
  const synced = () => until(() => sync.status().state === 'synced');
  return { table, sync, next, heard, until, carried, synced };
}

async function pair(t: Test, one: Options = {}, other: Options = {}) {
  const b = node(t, 'b', other);
  await b.sync.start();
  const a = node(t, 'a', { ...one, peerPort: b.sync.port! });
  await a.sync.start();
  return { a, b };
}

/** A peer that knows the secret, and does only what the test makes it do. */
async function dial(t: Test, port: number, purpose: SyncPurpose): Promise<TLSSocket> {
  const socket = dialTls(RING, ADDRESS, port, ADDRESS, purpose);
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

t.test('heartbeats travel beside the session sync, both ways', async (t) => {
  const { a, b } = await pair(t);
  await Promise.all([a.carried(), b.carried()]);
  const [there, back] = [b.next(), a.next()];
  t.ok(a.sync.carry(DATAGRAM));
  t.ok(b.sync.carry(Buffer.alloc(MAX_HEARTBEAT_BYTES, 3)));
  t.same(await there, DATAGRAM);
  t.same(await back, Buffer.alloc(MAX_HEARTBEAT_BYTES, 3));
});

t.test('a peer of the last release is in step as before, and gets none', async (t) => {
  for (const [one, other] of [
    [{}, { carries: false }],
    [{ carries: false }, {}],
  ]) {
    const { a, b } = await pair(t, one, other);
    await Promise.all([a.synced(), b.synced()]);
    const upgraded = one?.carries === undefined ? a : b;
    t.match(upgraded.sync.carriage, { up: false, why: /does not carry heartbeats: it is an older release/ });
    t.notOk(upgraded.sync.carry(DATAGRAM));
    t.equal((upgraded === a ? b : a).sync.carriage, undefined);
    t.match(a.sync.warnings(), []);
  }
});

t.test('they do not wait behind a snapshot that nobody reads', async (t) => {
  const b = node(t, 'b');
  for (let client = 0; client < 200_000; client++) {
    b.table.keyOfSource(7, `10.${client >> 16}.${(client >> 8) & 255}.${client & 255}`);
    b.table.store(1, TTL_MS);
  }
  await b.sync.start();
  const sessions = await dial(t, b.sync.port!, 'sessions');
  sessions.pause();
  const heartbeats = await dial(t, b.sync.port!, 'heartbeats');
  await b.carried();
  const came = once(heartbeats, 'data');
  t.ok(b.sync.carry(DATAGRAM));
  const [chunk] = (await came) as [Buffer];
  t.same(chunk.subarray(2), DATAGRAM);
});

t.test('while one is not acknowledged for an interval, newer ones are dropped, not hoarded', async (t) => {
  const b = node(t, 'b', { maxAgeMs: 0 });
  await b.sync.start();
  const silent = await dial(t, b.sync.port!, 'heartbeats');
  await b.carried();
  t.ok(b.sync.carry(DATAGRAM));
  await once(silent, 'data');
  t.notOk(b.sync.carry(DATAGRAM));
  silent.write(Buffer.alloc(2));
  while (!b.sync.carry(DATAGRAM)) await new Promise((resolve) => setImmediate(resolve));
  t.pass('an acknowledgement makes room');
});

t.test('a link on which nothing is acknowledged ends, and says so', async (t) => {
  const b = node(t, 'b', { maxAgeMs: 0 });
  await b.sync.start();
  const silent = await dial(t, b.sync.port!, 'heartbeats');
  await b.carried();
  b.sync.carry(DATAGRAM);
  silent.resume();
  await b.until(() => b.sync.carriage?.up === false);
  t.match(b.sync.carriage?.why, /lbd of a has acknowledged no heartbeat for 1000 ms/);
});

t.test('one that was cut is dialled anew', async (t) => {
  const { a, b } = await pair(t);
  await Promise.all([a.carried(), b.carried()]);
  const other = await dial(t, b.sync.port!, 'heartbeats');
  await a.until(() => a.sync.carriage?.up === false);
  other.destroy();
  await a.carried();
  await b.carried();
  const there = b.next();
  t.ok(a.sync.carry(DATAGRAM));
  t.same(await there, DATAGRAM);
});

t.test('nonsense ends the connection, and the session sync goes on', async (t) => {
  for (const [bytes, why] of [
    [Buffer.from([0xff, 0xff]), /a heartbeat of 65535 bytes/],
    [Buffer.alloc(2), /acknowledged a heartbeat that was not sent/],
  ] as const) {
    const { a, b } = await pair(t, { carries: false });
    await Promise.all([a.synced(), b.synced()]);
    const liar = await dial(t, b.sync.port!, 'heartbeats');
    await b.carried();
    liar.resume().write(bytes);
    await b.until(() => b.sync.carriage?.up === false);
    t.match(b.sync.carriage?.why, why);
    t.equal(b.sync.status().state, 'synced');
  }
});

t.test('a flood does not reach the agent', async (t) => {
  const b = node(t, 'b');
  await b.sync.start();
  let heard = 0;
  b.heard.on('heartbeat', () => heard++);
  const flood = await dial(t, b.sync.port!, 'heartbeats');
  await b.carried();
  const frame = Buffer.concat([Buffer.from([0, DATAGRAM.length]), DATAGRAM]);
  const all = 50_000;
  flood.resume().end(Buffer.concat(Array.from({ length: all }, () => frame)));
  await b.until(() => b.sync.carriage?.up === false);
  t.ok(heard > 0);
  t.ok(heard < all / 2, `${heard} of ${all}`);
});
