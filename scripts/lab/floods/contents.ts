import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  createIdentity,
  encodeHeartbeat,
  groupHash,
  type Heartbeat,
  NO_NONCE,
} from '../../../ha-agent/heartbeat.ts';
import { encodeV2 } from '../../../ha-agent/heartbeat-v2.ts';
import {
  encodeQuestion,
  type LeaseQuestion,
  leaseIdentity,
  NO_TOKEN,
  nodeHash,
} from '../../../ha-agent/lease-message.ts';
import type { DatagramOrder } from './order.ts';
import { refusal } from './raw-sender.ts';

/** The lab's cluster. */
const CLUSTER = 'lab';
/** Real heartbeats that are recorded, of both nodes. */
const RECORDED = 4;
const NOISE_BYTES = 200;
/** More than any heartbeat has, in several fragments. */
const OVERSIZE_BYTES = 9000;
/** Too few for any heartbeat. */
const TRUNCATED_BYTES = 60;

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

const QUESTION: LeaseQuestion = {
  ...{ operation: 'take', node: nodeHash('lb1'), group: groupHash('default'), process: '4'.repeat(16) },
  ...{ token: NO_TOKEN, counter: 1, timeMs: 1000, epoch: 1, silenceMs: 0 },
};

/** Datagrams that go out in turn. Some of what an attacker sends is recorded first, so that takes a moment. */
export async function contentOf(order: DatagramOrder): Promise<Buffer[]> {
  const { content, claims, own, group } = order;
  const forged = (cluster: string, senders: readonly string[]) =>
    senders.map((sender) =>
      encodeHeartbeat(createIdentity(randomBytes(32), cluster, sender, 'nobody'), HEARTBEAT),
    );
  switch (content) {
    case 'noise':
      return [randomBytes(NOISE_BYTES)];
    case 'oversize':
      return [randomBytes(OVERSIZE_BYTES)];
    case 'truncated':
      return forged(CLUSTER, claims).map((data) => data.subarray(0, TRUNCATED_BYTES));
    case 'future version':
      return forged(CLUSTER, claims).map((data) => {
        data[4] = 255;
        return data;
      });
    case 'another cluster':
      return forged('another', claims);
    case 'a third node':
      return forged(CLUSTER, ['lb3']);
    case 'another secret':
      return forged(CLUSTER, claims);
    case 'forged':
      // The last release's format names no key, so that each costs a signature.
      return claims.map((sender) =>
        encodeV2(createIdentity(randomBytes(32), CLUSTER, sender, 'nobody'), HEARTBEAT, {
          nonce: HEARTBEAT.nonce,
          echo: NO_NONCE,
          helloEcho: NO_NONCE,
        }),
      );
    case 'altered':
      return (await record(own, group)).map((data) => {
        data[data.length - 1]! ^= 1;
        return data;
      });
    case 'replayed':
      return await record(own, group);
    case 'refusal': {
      const { to, port, forgedSource } = order;
      return [refusal({ address: to, port }, forgedSource!)];
    }
    case 'question':
      return [encodeQuestion(leaseIdentity(CLUSTER, randomBytes(32)), QUESTION)];
  }
}

/** Heartbeats as they come, from the group. */
async function record(own: string, group: DatagramOrder['group']): Promise<Buffer[]> {
  const socket = createSocket({ type: 'udp4', reusePort: true });
  const recorded: Buffer[] = [];
  const enough = new Promise<void>((resolve) => {
    socket.on('message', (data) => {
      if (recorded.push(data) === RECORDED) resolve();
    });
  });
  socket.bind(group.port, group.address);
  await once(socket, 'listening');
  socket.addMembership(group.address, own);
  await enough;
  socket.close();
  return recorded;
}
