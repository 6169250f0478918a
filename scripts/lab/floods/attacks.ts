import { join } from 'node:path';
import { SOCKETS } from '../../../common/control.ts';
import type { DropCause } from '../../../ha-agent/heartbeat.ts';
import { KeyRing } from '../../../lbd/session/key-ring.ts';
import { ADDRESS, type Host, INTERFACE, NODES, type NodeName, PREFIX, VIP } from '../hosts.ts';
import type { Pair } from '../pair.ts';
import {
  GROUP,
  METRICS_PORT,
  MULTICAST_PORT,
  type PairConfigOptions,
  SYNC_PORT,
  UNICAST_PORT,
} from '../pair-config.ts';
import { WITNESS_PORT } from '../witness.ts';
import type { After, Content, DatagramOrder, HandshakeOrder, Order, StreamOrder, Target } from './order.ts';

/** Where floods are measured, and for how long each lasts. */
export interface Scene {
  /** The active node, which listens for the session sync as well. */
  readonly active: NodeName;
  /** Its run directory. */
  readonly runDirectory: string;
  /** Each flood ends by itself after so long. */
  readonly forMs: number;
  /** Datagrams a second, at most; connections a second are a share of it. */
  readonly perSecond: number;
}

/** `stranger`: a user of the active node that owns nothing; `operator`: one who may use its sockets; else a host. */
export type Attacker = 'stranger' | 'operator' | Extract<Host, 'client'>;

/** One kind of flood. */
export interface Attack {
  readonly name: string;
  readonly by: Attacker;
  /** Floods that run at the same time. */
  orders(scene: Scene): readonly Order[];
  /** How the nodes that it hits count its datagrams; undefined: they do not, or it has none. */
  readonly cause?: DropCause;
  /** How the kernel refuses each of its connections; undefined: it does not. */
  readonly refused?: 'EACCES';
  /** The pair has a witness that grants leases. */
  readonly needsWitness?: true;
}

const REQUEST = 'GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n';
const STATUS = 'GET /v1/status HTTP/1.1\r\nHost: node\r\n\r\n';
const HALF = 'GET /metrics HTTP/1.1\r\nHost: no';
const LONG_BODY = 'POST /v1/reload HTTP/1.1\r\nHost: node\r\nContent-Length: 1048576\r\n\r\n';
const PACKET_BYTES = 65_536;
/** Each costs the sender as much as so many datagrams. */
const CONNECTION_COST = 20;
const HANDSHAKE_COST = 200;
const MANY = 256;

function streams(
  { forMs, perSecond }: Scene,
  to: Target,
  text: string,
  { times = 1, after = 'read', connections = 32 }: { times?: number; after?: After; connections?: number },
): StreamOrder {
  const rate = perSecond / CONNECTION_COST;
  return { kind: 'streams', to, text, times, after, connections, perSecond: rate, forMs };
}

interface StreamAttack {
  readonly name: string;
  readonly text: string;
  readonly times?: number;
  readonly after?: After;
  readonly connections?: number;
}

/** Connections to one port, from a user of the node and from a host of the network. */
function onPort(port: number, attacks: readonly StreamAttack[], local = '127.0.0.1'): Attack[] {
  return attacks.flatMap(({ name, text, ...how }) =>
    (['stranger', 'client'] as const).map((by) => ({
      name,
      by,
      orders: (scene: Scene) => [
        streams(
          scene,
          { host: by === 'client' || local === '' ? ADDRESS[scene.active] : local, port },
          text,
          how,
        ),
      ],
    })),
  );
}

function onSocket(socket: keyof typeof SOCKETS, by: Attacker, attack: StreamAttack): Attack {
  const { name, text, ...how } = attack;
  const orders = (scene: Scene) => [
    streams(scene, { path: join(scene.runDirectory, SOCKETS[socket]) }, text, how),
  ];
  return { name, by, orders, ...(by === 'stranger' && { refused: 'EACCES' }) };
}

const METRICS = onPort(METRICS_PORT, [
  {
    name: 'metrics: 64 KiB of pipelined requests',
    text: REQUEST,
    times: Math.floor(PACKET_BYTES / REQUEST.length),
  },
  { name: 'metrics: readers that do not read', text: REQUEST, after: 'hold', connections: MANY },
  { name: 'metrics: half requests', text: HALF, after: 'hold', connections: MANY },
  { name: 'metrics: connections that are reset', text: '', after: 'reset', connections: MANY },
  { name: 'metrics: 64 KiB of junk', text: 'x', times: PACKET_BYTES },
]);

const CONTROL = (['lbd', 'agent'] as const).flatMap((socket) => [
  onSocket(socket, 'stranger', { name: `${SOCKETS[socket]}: refused by its mode`, text: STATUS }),
  onSocket(socket, 'operator', { name: `${SOCKETS[socket]}: status`, text: STATUS }),
  onSocket(socket, 'operator', {
    name: `${SOCKETS[socket]}: bodies of 1 MiB`,
    text: LONG_BODY + 'x'.repeat(PACKET_BYTES),
  }),
  onSocket(socket, 'operator', {
    name: `${SOCKETS[socket]}: half requests`,
    text: HALF,
    after: 'hold',
    connections: MANY,
  }),
]);

const LIVE: readonly Attack[] = [
  onSocket('live', 'stranger', { name: 'liveness: refused by its mode', text: '' }),
  onSocket('live', 'operator', { name: 'liveness: clients that do not read', text: '', after: 'hold' }),
  onSocket('live', 'operator', { name: 'liveness: junk', text: 'x', times: PACKET_BYTES }),
];

/** As the dialling node names itself, which anybody can work out. */
function dialledName({ active }: Scene): string {
  const dialer = NODES.find((node) => node !== active)!;
  return new KeyRing({ cluster: 'lab', dialer, listener: active }, [Buffer.alloc(32)]).nextCall('sessions')
    .identity;
}

function handshakes(scene: Scene): HandshakeOrder {
  return {
    kind: 'handshakes',
    to: { host: ADDRESS[scene.active], port: SYNC_PORT },
    identity: dialledName(scene),
    connections: 32,
    perSecond: scene.perSecond / HANDSHAKE_COST,
    forMs: scene.forMs,
  };
}

/** The first bytes of a TLS record of a handshake that never comes. */
const HALF_HELLO = '\x16\x03\x01\x02\x00\x01';

const SYNC: readonly Attack[] = [
  ...onPort(
    SYNC_PORT,
    [
      { name: 'sync: connections that are reset', text: '', after: 'reset', connections: MANY },
      { name: 'sync: handshakes that do not go on', text: HALF_HELLO, after: 'hold', connections: MANY },
      { name: 'sync: 64 KiB of junk', text: 'x', times: PACKET_BYTES },
    ],
    '',
  ),
  ...(['stranger', 'client'] as const).map((by) => ({
    name: 'sync: handshakes with another key',
    by,
    orders: (scene: Scene) => [handshakes(scene)],
  })),
];

const GROUP_PORT = { address: GROUP, port: MULTICAST_PORT };

function datagrams(
  scene: Scene,
  content: Content,
  { own, to, port }: Pick<DatagramOrder, 'own' | 'to' | 'port'>,
  more: Partial<Pick<DatagramOrder, 'claims' | 'forgedSource'>> = {},
): DatagramOrder {
  const { perSecond, forMs } = scene;
  return {
    ...{ kind: 'datagrams', content, own, to, port, claims: NODES, group: GROUP_PORT, perSecond, forMs },
    ...more,
  };
}

function heartbeats(content: Content, by: Attacker, way: 'multicast' | 'unicast', cause: DropCause): Attack {
  const orders = (scene: Scene) => [
    datagrams(scene, content, {
      own: by === 'client' ? ADDRESS.client : ADDRESS[scene.active],
      ...(way === 'multicast'
        ? { to: GROUP, port: MULTICAST_PORT }
        : { to: ADDRESS[scene.active], port: UNICAST_PORT }),
    }),
  ];
  return { name: `${way} heartbeats: ${content}`, by, orders, cause };
}

/** At every heartbeat port of both nodes, each time from the address and the port of the other one. */
function everywhere(content: Content, cause: DropCause): Attack {
  const orders = (scene: Scene) =>
    NODES.flatMap((node) => {
      const peer = NODES.find((other) => other !== node)!;
      const own = ADDRESS.client;
      const part = { ...scene, perSecond: scene.perSecond / 2 };
      const from = (port: number) => ({
        claims: [peer],
        forgedSource: { address: ADDRESS[peer], port },
      });
      return [
        datagrams(part, content, { own, to: ADDRESS[node], port: UNICAST_PORT }, from(UNICAST_PORT)),
        datagrams(part, content, { own, to: GROUP, port: MULTICAST_PORT }, from(MULTICAST_PORT)),
      ];
    });
  return { name: `all heartbeat ports, in the peer's name: ${content}`, by: 'client', orders, cause };
}

/** Each node is told in the other one's name that nobody listens there. */
const REFUSALS: Attack = {
  name: "refusals of heartbeats, in the peer's name",
  by: 'client',
  orders: (scene) =>
    NODES.map((node) => {
      const peer = NODES.find((other) => other !== node)!;
      const forgedSource = { address: ADDRESS[peer], port: UNICAST_PORT };
      const way = { own: ADDRESS.client, to: ADDRESS[node], port: UNICAST_PORT };
      return datagrams(scene, 'refusal', way, { forgedSource });
    }),
};

const HEARTBEATS: readonly Attack[] = [
  heartbeats('noise', 'client', 'multicast', 'magic'),
  heartbeats('noise', 'client', 'unicast', 'magic'),
  heartbeats('oversize', 'client', 'unicast', 'magic'),
  heartbeats('future version', 'client', 'unicast', 'version'),
  heartbeats('another secret', 'client', 'multicast', 'key'),
  heartbeats('forged', 'client', 'unicast', 'auth'),
  heartbeats('forged', 'client', 'multicast', 'auth'),
  heartbeats('altered', 'client', 'unicast', 'auth'),
  heartbeats('altered', 'client', 'multicast', 'auth'),
  heartbeats('replayed', 'client', 'multicast', 'replay'),
  heartbeats('noise', 'stranger', 'unicast', 'magic'),
  heartbeats('noise', 'stranger', 'multicast', 'magic'),
  heartbeats('forged', 'stranger', 'unicast', 'auth'),
  heartbeats('forged', 'stranger', 'multicast', 'auth'),
  everywhere('noise', 'magic'),
  everywhere('altered', 'auth'),
  everywhere('replayed', 'replay'),
  REFUSALS,
];

function witness(content: Content): Attack {
  const orders = (scene: Scene) => [
    datagrams(scene, content, { own: ADDRESS.client, to: ADDRESS.witness, port: WITNESS_PORT }),
  ];
  return { name: `witness: ${content}`, by: 'client', orders, needsWitness: true };
}

/** All floods that a pair must bear. */
export const ATTACKS: readonly Attack[] = [
  ...METRICS,
  ...CONTROL,
  ...LIVE,
  ...SYNC,
  ...HEARTBEATS,
  witness('noise'),
  witness('question'),
];

/**
 * The pair that is attacked: the node that listens for the session sync is the active one, so that all that is attacked is on
 * one node, and its metrics are there for the network.
 */
export const FLOODED: PairConfigOptions = {
  moves: `
  vips:
    - { address: ${VIP}/${PREFIX}, interface: ${INTERFACE} }
  priority: { lb1: 100, lb2: 150 }`,
  metrics: `0.0.0.0:${METRICS_PORT}`,
};

/** A pair that has just started, in the roles that an attack needs: a slow start may have given the VIP to the other node. */
export async function takeRoles(pair: Pair): Promise<void> {
  const [other, listens] = NODES;
  if (pair.active() === listens) return;
  await pair.switchover(other);
  await pair.whole();
}

/** The host on which an attack runs. */
export function hostOf({ by }: Attack, { active }: Scene): Host {
  return by === 'client' ? 'client' : active;
}
