import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { createIdentity, encodeHeartbeat, groupHash, type Heartbeat } from '../../ha-agent/heartbeat.ts';
import { freeDatagramPort } from '../common/free-port.ts';
import { ADDRESS, End, meet } from './exchange-end.ts';

const GROUP = 'blue';
/** More than wait in a socket. */
const BURST = 2000;
const STEP = 100;
const ROUNDS = 50;

/** Whoever is at this address and port, in one process with the ends: as a forged source in a real network. */
async function attacker(t: Test, from: { address: string; port: number }, port: number): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', reusePort: true });
  t.teardown(() => socket.close());
  socket.bind(from.port, from.address);
  await once(socket, 'listening');
  socket.connect(port, ADDRESS.lb2);
  await once(socket, 'connect');
  socket.on('error', () => {});
  return socket;
}

const IDENTITY = createIdentity(Buffer.alloc(32, 1), 'shop', 'lb1', 'lb2');
const HEARTBEAT: Omit<Heartbeat, 'version'> = {
  ...{ role: 'active', priority: 150, epoch: 7, intervalMs: 100, healthy: true, request: false },
  ...{ probe: false, finishing: false, forwards: false, ahead: false, group: groupHash(GROUP), path: 0 },
  ...{ counter: 2 ** 40, sentMs: 2 ** 40, configDigest: '1'.repeat(16), sectionDigests: '' },
  ...{ nonce: '2'.repeat(16), keys: [], paths: [], echoes: [] },
};

/** All that can be seen of the peer elsewhere is right: the name of the key as well. */
function copied(): Buffer {
  const forger = createIdentity(randomBytes(32), 'shop', 'lb1', 'lb2');
  return encodeHeartbeat(forger, HEARTBEAT, { ...forger.keys[0]!, id: IDENTITY.keys[0]!.id });
}

for (const [who, isPeer, recorded] of [
  ['a stranger', false, undefined],
  ["the peer's own address and port", true, undefined],
  // It is authentic, and has no pass.
  ['somebody who has recorded what the peer said before an upgrade', true, IDENTITY],
] as const)
  t.test(`a heartbeat comes through a flood from ${who}`, async (t) => {
    const port = await freeDatagramPort();
    const [lb1, lb2] = [new End('lb1', [GROUP]), new End('lb2', [GROUP])];
    for (const { exchange } of [lb1, lb2]) {
      await exchange.open([{ type: 'unicast', port }], new Set());
      t.teardown(() => exchange.close());
    }
    await meet(lb1, lb2, [GROUP]);
    const flood = await attacker(
      t,
      isPeer ? { address: ADDRESS.lb1, port } : { address: '127.0.0.3', port: 0 },
      port,
    );
    if (recorded !== undefined) {
      const { length } = lb2.heard;
      flood.send(encodeHeartbeat(recorded, HEARTBEAT));
      await lb2.until(() => lb2.heard.length > length);
    }
    const data = copied();
    const isFlooded = () =>
      lb2.exchange.warnings().some((line) => / is flooded: the kernel drops/.test(line));
    while (!isFlooded()) {
      for (let i = 0; i < STEP; i++) flood.send(data);
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.match(lb2.exchange.status(300)[0], { dropped: { auth: Number } }, 'and what came is counted');
    t.match(lb2.troubles.join(), / is flooded/, 'it is told');
    // What waited in the socket when the filter came is read first.
    let left = ROUNDS;
    for (; left > 0 && !lb2.heard.includes(`${GROUP} active`); left--) {
      for (let i = 0; i < BURST; i++) flood.send(data);
      await lb1.send(GROUP, 'active');
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.ok(left > 0, 'it was heard');
  });

t.test('a path on which all comes late is filtered as well as the one on which it comes first', async (t) => {
  const [lb1, lb2] = [new End('lb1', [GROUP]), new End('lb2', [GROUP])];
  const ports = [await freeDatagramPort(), await freeDatagramPort()];
  for (const { exchange } of [lb1, lb2]) {
    await exchange.open(
      ports.map((port) => ({ type: 'unicast', port })),
      new Set(),
    );
    t.teardown(() => exchange.close());
  }
  await meet(lb1, lb2, [GROUP]);
  const flood = await attacker(t, { address: ADDRESS.lb1, port: ports[1]! }, ports[1]!);
  const warned = (words: string) => lb2.exchange.warnings().some((line) => line.includes(words));
  const data = copied();
  while (!warned('is flooded')) {
    for (let i = 0; i < STEP; i++) flood.send(data);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const received = () => lb2.exchange.status(300)[1]!.received;
  const before = received();
  for (let left = ROUNDS; left > 0; left--) {
    for (let i = 0; i < BURST; i++) flood.send(data);
    await lb1.send(GROUP);
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(received() > before, 'heartbeats come');
  t.notOk(warned('somebody has copied'), 'and what is not of the peer does not');
});
