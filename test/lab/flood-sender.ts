/**
 * Sends datagrams of one kind to a heartbeat port as fast as it is told, on a host of the lab:
 *
 *     node test/lab/flood-sender.ts HOST KIND ADDRESS PORT RATE MILLISECONDS
 *
 * HOST is where it runs. ADDRESS is a node's own one or the group; `replayed` first listens for heartbeats of that
 * group. Prints how many datagrams the kernel took.
 */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isMulticast } from '../../common/address.ts';
import {
  createIdentity,
  encodeHeartbeat,
  groupHash,
  type Heartbeat,
  NO_NONCE,
} from '../../ha-agent/heartbeat.ts';
import { encodeV2 } from '../../ha-agent/heartbeat-v2.ts';
import { ADDRESS, type Host, NODES } from '../../scripts/lab/hosts.ts';

export const FLOODS = [
  'noise',
  'truncated',
  'future version',
  'another cluster',
  'a third node',
  'another secret',
  'forged',
  'replayed',
] as const;
export type Flood = (typeof FLOODS)[number];

/** Sent without a pause in between; then the rate is looked at. */
const BURST = 64;
/** A slow sender goes on for longer: fewer are no flood. */
const MIN_SENT = 2000;
/** Real heartbeats that are recorded for a replay, of both nodes. */
const RECORDED = 16;

const HEARTBEAT: Heartbeat = {
  ...{ role: 'active', priority: 254, epoch: 0xffffffff, intervalMs: 100, healthy: true, request: true },
  ...{
    probe: true,
    finishing: false,
    forwards: true,
    group: groupHash('default'),
    counter: 2 ** 47,
    path: 0,
  },
  ...{ configDigest: '1'.repeat(16), sectionDigests: '', nonce: '2'.repeat(16), keys: [], paths: [] },
  ...{ version: 3, sentMs: 2 ** 47, ahead: false, echoes: [{ nonce: '3'.repeat(16), sentMs: 1 }] },
};
const NOISE_BYTES = 200;
/** Too few for any heartbeat. */
const TRUNCATED_BYTES = 60;

/** What goes out in turn. A node claims to be itself, the client to be either: then both take it, whoever gets it. */
async function datagrams(kind: Flood, host: Host, address: string, port: number): Promise<Buffer[]> {
  const senders = NODES.filter((node) => node === host || host === 'client');
  const forged = (cluster: string, senders: readonly string[]) =>
    senders.map((sender) =>
      encodeHeartbeat(createIdentity(randomBytes(32), cluster, sender, 'nobody'), HEARTBEAT),
    );
  switch (kind) {
    case 'noise':
      return [randomBytes(NOISE_BYTES)];
    case 'truncated':
      return forged('lab', senders).map((data) => data.subarray(0, TRUNCATED_BYTES));
    case 'future version':
      return forged('lab', senders).map((data) => {
        data[4] = 255;
        return data;
      });
    case 'another cluster':
      return forged('another', senders);
    case 'a third node':
      return forged('lab', ['lb3']);
    case 'another secret':
      return forged('lab', senders);
    case 'forged':
      // The last release's format names no key, so that each costs a signature.
      return senders.map((sender) =>
        encodeV2(createIdentity(randomBytes(32), 'lab', sender, 'nobody'), HEARTBEAT, {
          nonce: HEARTBEAT.nonce,
          echo: NO_NONCE,
          helloEcho: NO_NONCE,
        }),
      );
    case 'replayed':
      return await record(ADDRESS[host], address, port);
  }
}

/** Heartbeats as they come, from the group. */
async function record(own: string, group: string, port: number): Promise<Buffer[]> {
  const socket = createSocket({ type: 'udp4', reusePort: true });
  const recorded: Buffer[] = [];
  const enough = new Promise<void>((resolve) => {
    socket.on('message', (data) => {
      if (recorded.push(data) === RECORDED) resolve();
    });
  });
  socket.bind(port, group);
  await once(socket, 'listening');
  socket.addMembership(group, own);
  await enough;
  socket.close();
  return recorded;
}

async function flood(socket: Socket, data: readonly Buffer[], rate: number, forMs: number): Promise<number> {
  const start = performance.now();
  let sent = 0;
  for (;;) {
    const elapsedMs = performance.now() - start;
    if (elapsedMs >= forMs && sent >= MIN_SENT) return sent;
    // What could not be sent in time is not made up for.
    if (sent < (elapsedMs * rate) / 1000)
      for (let i = 0; i < BURST; i++) socket.send(data[sent++ % data.length]!);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

if (import.meta.main) {
  const [host, kind, address, port, rate, forMs] = process.argv.slice(2);
  const own = ADDRESS[host as Host];
  const data = await datagrams(kind as Flood, host as Host, address!, Number(port));
  const socket = createSocket('udp4');
  socket.bind(0, own);
  await once(socket, 'listening');
  if (isMulticast(address!)) {
    socket.setMulticastInterface(own);
    socket.setMulticastTTL(1);
  }
  socket.connect(Number(port), address);
  await once(socket, 'connect');
  // A receiver that is gone is no reason to stop.
  socket.on('error', () => {});
  process.stdout.write(`${await flood(socket, data, Number(rate), Number(forMs))}\n`);
  socket.close();
}
