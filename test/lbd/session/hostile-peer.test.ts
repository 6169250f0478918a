import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { KeyRing } from '../../../lbd/session/key-ring.ts';
import { Registers } from '../../../lbd/session/registers.ts';
import { RECORD_WORDS } from '../../../lbd/session/scan.ts';
import {
  bytesFrame,
  FRAME,
  FrameBuilder,
  MAX_RECORDS,
  UPDATES_HEAD,
  wordsFrame,
} from '../../../lbd/session/sync-frame.ts';
import { helloFrame, registerFrame } from '../../../lbd/session/sync-hello.ts';
import { SessionSync } from '../../../lbd/session/sync-link.ts';
import { dialTls } from '../../../lbd/session/sync-tls.ts';
import { SessionTable } from '../../../lbd/session/table.ts';
import { keptBytes } from '../../common/kept-bytes.ts';
import { Watchers } from '../../common/watchers.ts';

/** The node under test listens as `b`; the peer's address is another one than that of strangers. */
const SELF = '127.0.0.1';
const PEER = '127.0.0.2';
const STRANGER = '127.0.0.3';
const PSK = Buffer.alloc(32, 1);
const RING = new KeyRing({ cluster: 'shop', dialer: 'a', listener: 'b' }, [PSK]);
const START = wordsFrame(FRAME.start, [0, 0, 0]);

async function victim(t: Test) {
  const table = new SessionTable(SessionTable.create(16384), 0, { hashKey: Uint32Array.of(1, 2, 3, 4) });
  const logged: string[] = [];
  const watchers = new Watchers();
  const sync = new SessionSync({
    table,
    registers: new Registers('b', (key) => (key.startsWith('backend/') ? 'ours' : 'unknown')),
    self: { name: 'b', address: SELF },
    peer: { name: 'a', address: PEER },
    port: 0,
    keys: [PSK],
    cluster: 'shop',
    log: pino({ base: null }, { write: (line) => logged.push(JSON.parse(line).msg) }),
    onStatus: watchers.changed,
  });
  await sync.start();
  t.teardown(() => sync.close());
  const until = (well: () => boolean) => watchers.until(well);
  const hello = helloFrame({
    ...{ cluster: 'shop', node: 'a', boot: '00000000000000aa', capacity: 16384, clock: 1, known: null },
    keyFingerprint: table.keyFingerprint,
  });
  /** Somebody who knows the secret. What it reads is thrown away. */
  const liar = async (): Promise<TLSSocket> => {
    const socket = dialTls(RING, SELF, sync.port!, PEER);
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    await once(socket, 'secureConnect');
    socket.resume();
    return socket;
  };
  /** A peer as it should be, from the peer's address. */
  const honest = async (): Promise<SessionSync> => {
    const peer = new SessionSync({
      table: new SessionTable(SessionTable.create(16384), 0, { hashKey: Uint32Array.of(1, 2, 3, 4) }),
      registers: new Registers('a'),
      self: { name: 'a', address: PEER },
      peer: { name: 'b', address: SELF },
      ...{ port: 0, peerPort: sync.port!, keys: [PSK], cluster: 'shop' },
      log: pino({ level: 'silent' }),
    });
    t.teardown(() => peer.close());
    await peer.start();
    return peer;
  };
  const put = (client: number) => {
    table.keyOfSource(7, `10.0.${client >> 8}.${client & 255}`);
    table.store(1, 3_600_000);
  };
  return { table, sync, until, hello, liar, honest, put, logged };
}

/** Updates from `sequence` on, as many as a frame holds, each of them legal. */
function updates(sequence: number): Buffer {
  const frame = new FrameBuilder(FRAME.updates, UPDATES_HEAD + MAX_RECORDS * RECORD_WORDS);
  frame.words.set([sequence, 0, MAX_RECORDS, 1]);
  for (let i = 0; i < MAX_RECORDS; i++)
    frame.words.set([sequence + i, 2, 3, 4, 7, 1, 5, 3, 100], UPDATES_HEAD + i * RECORD_WORDS);
  return frame.finish(UPDATES_HEAD + MAX_RECORDS * RECORD_WORDS);
}

/** Unlike `once` it is no error when the other end resets the connection. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}

function head(length: number, type: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(length);
  bytes.writeUInt32LE(type, 4);
  return bytes;
}

const LIES: readonly (readonly [what: string, bytes: readonly Buffer[], why: RegExp])[] = [
  ['noise', [Buffer.from('GET / HTTP/1.1\r\n\r\n')], /unknown type/],
  ['noise after the greeting', [START, Buffer.alloc(100_000, 0xff)], /unknown type/],
  ['a frame of 4 GiB', [START, head(0xffffffff, FRAME.entries)], /with 4294967295 bytes, expected/],
  ['updates out of sequence', [START, updates(1000)], /updates from 1000, .* expected from 0/],
  ['an acknowledgement of what was never sent', [START, wordsFrame(FRAME.ack, [9, 0, 0, 0])], /not sent/],
  [
    'a register of an unknown kind',
    [START, registerFrame({ key: 'junk', value: 1, version: 1, origin: 'a' })],
    /a register of an unknown kind: "junk"/,
  ],
  [
    'a register from the end of time',
    [START, registerFrame({ key: 'backend/web/s1', value: 1, version: 2 ** 48, origin: 'a' })],
    /a register whose version is 281474976710656 ahead/,
  ],
  [
    'a clock from the end of time',
    [START, wordsFrame(FRAME.entries, [0x7fffffff])],
    /a clock of sessions that is/,
  ],
  [
    'an entry from the end of time',
    [START, wordsFrame(FRAME.entries, [1, 1, 2, 3, 4, 7, 1, 5, 0x7fffffff, 100])],
    /a clock of sessions that is/,
  ],
  ['a greeting of another version', [bytesFrame(FRAME.hello, Buffer.alloc(4))], /version 0 of session sync/],
];

for (const [what, bytes, why] of LIES)
  t.test(`a peer that knows the secret and sends ${what} is dropped, and the status says why`, async (t) => {
    const { sync, liar, hello, until, honest, table } = await victim(t);
    const socket = await liar();
    const closed = closeOf(socket);
    socket.write(Buffer.concat([hello, ...bytes]));
    await until(() => why.test(sync.status().why));
    await closed;
    t.match(sync.warnings(), [
      /^session sync: the link was dropped once since the start, the last time \d+ s ago: /,
    ]);
    t.match(sync.warnings(), [why]);
    t.equal(table.size, 0);
    await honest();
    await until(() => sync.status().state === 'synced');
    t.match(sync.warnings(), [why], 'shown even when all is well again');
  });

t.test('a clock that was pushed as far as it goes still orders what comes after', async (t) => {
  const { sync, liar, hello, until, honest, table, put } = await victim(t);
  const socket = await liar();
  socket.write(Buffer.concat([hello, START, wordsFrame(FRAME.entries, [2 ** 30])]));
  await until(() => table.clock >= 2 ** 30);
  socket.destroy();
  const peer = await honest();
  await until(() => sync.status().state === 'synced');
  put(1);
  table.store(2, 3_600_000);
  t.ok(table.clock > 2 ** 30 && table.clock < 2 ** 30 + 2 ** 20, 'it goes on from there');
  t.ok(await sync.flush(5000));
  t.equal(peer.status().entries, 1);
});

t.test('a peer that floods and never reads: the thread goes on, and memory is bounded', async (t) => {
  const { sync, table, liar, hello, until, put } = await victim(t);
  const socket = await liar();
  socket.pause();
  socket.write(Buffer.concat([hello, START]));
  await until(() => sync.status().state === 'snapshot');
  const before = await keptBytes();
  const closed = closeOf(socket);
  for (let frame = 0; frame < 600; frame++) {
    // What the node wants to tell meanwhile.
    for (let client = 0; client < 500; client++) put((frame * 500 + client) & 0xffff);
    if (!socket.write(updates(frame * MAX_RECORDS)))
      await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed]);
    await turn();
  }
  t.ok(table.size <= table.capacity);
  const kept = ((await keptBytes()) - before) / 2 ** 20;
  t.ok(kept < 8, `38 MiB came, ${kept.toFixed(1)} MiB are kept`);
  socket.destroy();
  await until(() => sync.status().state === 'connecting');
});

t.test('a peer that dials again and again is slowed down, and served once it behaves', async (t) => {
  const { sync, until, honest } = await victim(t);
  let refused = 0;
  for (let i = 0; i < 40; i++) {
    const socket = dialTls(RING, SELF, sync.port!, PEER);
    socket.on('error', () => {});
    const through = await Promise.race([
      new Promise<true>((resolve) => socket.once('secureConnect', () => resolve(true))),
      closeOf(socket).then(() => false),
    ]);
    if (!through) refused++;
    socket.destroy();
  }
  t.ok(refused > 0, 'the limit shows');
  await honest();
  await until(() => sync.status().state === 'synced');
});

t.test('strangers that hold every place keep the peer neither out nor off', async (t) => {
  const { sync, until, honest, logged } = await victim(t);
  const strangers: Socket[] = [];
  for (let i = 0; i < 200; i++) {
    const socket = connect({ port: sync.port!, host: SELF, localAddress: STRANGER });
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    strangers.push(socket);
  }
  let closed = 0;
  await new Promise<void>((resolve) => {
    for (const socket of strangers)
      void closeOf(socket).then(() => {
        if (++closed === strangers.length - 4) resolve();
      });
  });
  t.equal(strangers.filter((socket) => !socket.closed).length, 4, 'the rest is refused without a handshake');
  await honest();
  await until(() => sync.status().state === 'synced');
  t.match(sync.warnings(), [
    /^session sync: strangers at the port were refused 196 times, the last one: 127\.0\.0\.3, too many handshakes$/,
    /^session sync: too many strangers come to the port: for a moment the kernel drops most of them$/,
  ]);
  t.equal(logged.filter((line) => /a stranger/.test(line)).length, 1, 'logged once');
  t.equal(logged.filter((line) => /too many strangers/.test(line)).length, 1);
  t.equal(sync.status().why, '');
});
