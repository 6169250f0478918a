import { createHash, type Hash } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { Backend } from '../../../lbd/dispatch/backend.ts';
import { Pool } from '../../../lbd/dispatch/pool.ts';
import { Frontend } from '../../../lbd/entry/frontend.ts';
import { Deadlines } from '../../../lbd/io/deadlines.ts';
import { Listener } from '../../../lbd/io/listener.ts';
import {
  createSharedBuffers,
  GATE_CLOSED,
  GATE_OPEN,
  GATE_STUCK,
  type Gate,
  SharedState,
} from '../../../lbd/shared/shared.ts';
import { RETRYING } from '../../../lbd/shared/vitals.ts';
import { TcpConnection } from '../../../lbd/tcp/tcp-connection.ts';
import { freePort } from '../../common/free-port.ts';
import { Plane, RawClient, RawOrigin } from '../harness.ts';
import { Certificates, SecureClient } from '../tls/secure-client.ts';
import { sessionTable, workerContext } from '../worker-context.ts';

const MIB = 1024 * 1024;
const PIECE_BYTES = 64 * 1024;

/** Waits for what another socket's callback brings about; tap's own time-out ends it when it never comes. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(2);
}

/** Whether the kernel of the other side has acknowledged all that a socket sent, and its end: its state is FIN_WAIT2. */
function delivered(socket: net.Socket): boolean {
  const port = socket.localPort!.toString(16).toUpperCase().padStart(4, '0');
  return new RegExp(`:${port} \\S+ 05 `).test(readFileSync('/proc/self/net/tcp', 'latin1'));
}

/** A TCP frontend in this process whose time the test moves on by hand. */
class Relay {
  readonly control: SharedState;
  readonly deadlines = new Deadlines();
  readonly connections = new Set<TcpConnection>();
  /** The client's side of each connection. */
  readonly sockets: net.Socket[] = [];
  port = 0;
  #nowMs = performance.now();

  private constructor(control: SharedState) {
    this.control = control;
  }

  static async start(
    t: Test,
    backends: readonly number[],
    { pool = '', frontend = '' } = {},
  ): Promise<Relay> {
    const port = await freePort();
    const config = parseConfig(
      `
frontends:
  db: { bind: ["127.0.0.1:${port}"], mode: tcp, pool: db, ${frontend} }
pools:
  db:
    algorithm: round-robin
    ${pool}
    backends:
${backends.map((to, i) => `      s${i + 1}: { address: "127.0.0.1:${to}" }`).join('\n')}
`,
      '/test.yaml',
      { cpus: 1 },
    );
    const buffers = createSharedBuffers(1);
    const relay = new Relay(new SharedState(buffers, -1));
    const shared = new SharedState(buffers, 0);
    const sessions = sessionTable();
    const poolConfig = config.pools[0]!;
    const made = poolConfig.backends.map((backend, slot) => {
      relay.gate(slot, GATE_OPEN);
      return new Backend('db', backend, slot, shared);
    });
    const context = workerContext({ shared, deadlines: relay.deadlines });
    const { frontends } = config;
    const it = new Frontend(0, context, frontends[0]!, [], new Pool(poolConfig, made, shared, sessions, 0));
    const listener = await Listener.open(
      frontends[0]!.bind[0]!,
      (socket) => {
        it.enter();
        const connection = new TcpConnection(socket, it);
        relay.connections.add(connection);
        relay.sockets.push(socket);
        return connection;
      },
      (error) => t.error(error),
    );
    relay.port = port;
    t.teardown(() => {
      listener.close();
      for (const connection of relay.connections) connection.cut();
    });
    return relay;
  }

  gate(slot: number, gate: Gate, weight = 1): void {
    this.control.setGate(slot, gate, weight);
  }

  /** Lets time pass for the time-outs, in sweeps as often as in life. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 100) {
      this.#nowMs += 100;
      this.deadlines.sweep(this.#nowMs);
    }
  }

  active(slot: number): number {
    return this.control.active(slot);
  }

  get open(): number {
    return this.control.frontendCounter(0, 'connections');
  }

  /** Everything that a connection holds has been given back. */
  async atRest(t: Test, slots: number): Promise<void> {
    await until(() => this.deadlines.size === 0 && this.open === 0);
    for (let slot = 0; slot < slots; slot++) t.equal(this.active(slot), 0, `nothing in flight on ${slot}`);
  }
}

/** A peer that takes connections in the kernel only until its queue is full; the next handshake never ends. */
async function deafPort(t: Test): Promise<number> {
  const worker = new Worker(
    `const net = require('node:net');
     const { parentPort } = require('node:worker_threads');
     const server = net.createServer();
     server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
     });`,
    { eval: true },
  );
  t.teardown(() => worker.terminate());
  const [port] = (await once(worker, 'message')) as [number];
  // The kernel queues one more than the backlog.
  for (let i = 0; i < 2; i++) {
    const filler = net.connect(port, '127.0.0.1');
    filler.on('error', () => {});
    t.teardown(() => filler.destroy());
    await once(filler, 'connect');
  }
  return port;
}

/** Bytes in which a piece that is lost, doubled or swapped shows. */
function piece(serial: number): Buffer {
  const bytes = Buffer.alloc(PIECE_BYTES);
  for (let i = 0; i < PIECE_BYTES; i += 4) bytes.writeUInt32LE((serial * PIECE_BYTES + i) ^ 0x5bd1e995, i);
  return bytes;
}

/** Sends so many bytes as fast as the socket takes them, then ends. @returns hash of what was sent */
async function pour(socket: net.Socket, total: number): Promise<string> {
  const hash = createHash('sha256');
  for (let sent = 0; sent < total; sent += PIECE_BYTES) {
    const bytes = piece(sent / PIECE_BYTES).subarray(0, total - sent);
    hash.update(bytes);
    if (!socket.write(bytes)) await once(socket, 'drain');
  }
  socket.end();
  return hash.digest('hex');
}

/** Reads to the end with pauses. @returns hash of what came */
async function sip(socket: net.Socket): Promise<string> {
  const hash: Hash = createHash('sha256');
  let reads = 0;
  for await (const bytes of socket.iterator({ destroyOnReturn: false })) {
    hash.update(bytes as Buffer);
    if (++reads % 32 === 0) await sleep(1);
  }
  return hash.digest('hex');
}

async function connect(t: Test, port: number): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** How a connection ends that the relay turns away, be it before or after the client knows it made. */
async function turnedAway(port: number): Promise<'clean' | 'reset'> {
  const socket = net.connect({ port, host: '127.0.0.1' }).resume();
  return new Promise((resolve) => {
    socket.on('error', () => resolve('reset'));
    socket.on('close', () => resolve('clean'));
  });
}

/** An origin whose connections the test handles itself. */
async function server(t: Test, onSocket: (socket: net.Socket) => void): Promise<number> {
  const it = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    onSocket(socket);
  });
  it.listen(0, '127.0.0.1');
  await once(it, 'listening');
  t.teardown(() => it.close());
  return (it.address() as net.AddressInfo).port;
}

t.test('bytes go both ways, and each side may end first', async (t) => {
  const origin = await RawOrigin.start(t);
  const relay = await Relay.start(t, [origin.port]);

  await t.test('the client ends first and still reads', async (t) => {
    const client = await RawClient.open(t, relay.port);
    client.write('ping');
    client.socket.end();
    await origin.until(() => origin.received[0] === 'ping<end>');
    t.equal(relay.active(0), 1);
    origin.sockets[0]!.end('pong');
    await until(() => client.closed !== 'no');
    t.equal(client.text, 'pong');
    t.equal(client.closed, 'clean');
  });

  await t.test('the backend ends first and still reads', async (t) => {
    const client = await RawClient.open(t, relay.port);
    await origin.until(() => origin.sockets.length === 2);
    origin.sockets[1]!.end('bye');
    await client.end();
    t.equal(client.text, 'bye');
    client.write('last words');
    client.socket.end();
    await origin.until(() => origin.received[1] === 'last words<end><close>');
    t.equal(origin.received[1], 'last words<end><close>');
  });

  await relay.atRest(t, 1);
});

t.test('a backend may speak first', async (t) => {
  const port = await server(t, (socket) => socket.write('220 ready\r\n'));
  const relay = await Relay.start(t, [port]);
  const client = await RawClient.open(t, relay.port);
  t.equal(await client.until((text) => text.endsWith('\r\n')), '220 ready\r\n');
});

t.test('16 MiB each way at once through slow readers: nothing lost, memory bounded', async (t) => {
  const total = 16 * MIB;
  const dialled: net.Socket[] = [];
  const onDial = (message: unknown) => dialled.push((message as { socket: net.Socket }).socket);
  subscribe('net.client.socket', onDial);
  t.teardown(() => unsubscribe('net.client.socket', onDial));
  let atOrigin: Promise<[string, string]> | undefined;
  const port = await server(t, (socket) => {
    atOrigin = Promise.all([pour(socket, total), sip(socket)]);
  });
  const relay = await Relay.start(t, [port]);
  const client = await connect(t, relay.port);
  await until(() => relay.sockets.length === 1 && dialled.length === 2);
  const relayed = [relay.sockets[0]!, dialled[1]!];
  let queued = 0;
  const watch = setInterval(() => {
    for (const socket of relayed) queued = Math.max(queued, socket.writableLength);
  }, 1);
  const [sentByClient, gotByClient] = await Promise.all([pour(client, total), sip(client)]);
  const [sentByOrigin, gotByOrigin] = await atOrigin!;
  clearInterval(watch);
  t.equal(gotByOrigin, sentByClient);
  t.equal(gotByClient, sentByOrigin);
  t.ok(queued > 0, 'the readers were slow enough to matter');
  t.ok(queued <= 256 * 1024, `at most ${queued} bytes waited on one socket`);
  await relay.atRest(t, 1);
});

t.test('no byte is lost at close', async (t) => {
  const total = 5 * MIB;

  await t.test('the server sends 5 MiB and closes at once', async (t) => {
    let sent: Promise<string> | undefined;
    const port = await server(t, (socket) => {
      sent = pour(socket, total);
      void sent.then(() => socket.destroySoon());
    });
    const relay = await Relay.start(t, [port]);
    const client = await connect(t, relay.port);
    t.equal(await sip(client), await sent);
    client.destroy();
    await relay.atRest(t, 1);
  });

  await t.test('the client sends 5 MiB and ends at once', async (t) => {
    let got: Promise<string> | undefined;
    const port = await server(t, (socket) => {
      got = sip(socket);
      void got.then(() => socket.end());
    });
    const relay = await Relay.start(t, [port]);
    const client = await connect(t, relay.port);
    const sent = await pour(client, total);
    client.resume();
    await once(client, 'close');
    t.equal(await got, sent);
    await relay.atRest(t, 1);
  });

  await t.test('both at once', async (t) => {
    let atOrigin: Promise<[string, string]> | undefined;
    const port = await server(t, (socket) => {
      atOrigin = Promise.all([pour(socket, total), sip(socket)]);
    });
    const relay = await Relay.start(t, [port]);
    const client = await connect(t, relay.port);
    const [sent, got] = await Promise.all([pour(client, total), sip(client)]);
    t.strictSame(await atOrigin, [got, sent]);
    await relay.atRest(t, 1);
  });

  await t.test('the server has said all and closes, the client goes on: no reset for it', async (t) => {
    const port = await server(t, (socket) => socket.end('that is all', () => socket.destroy()));
    const relay = await Relay.start(t, [port]);
    const client = await RawClient.open(t, relay.port);
    await client.end();
    t.equal(client.text, 'that is all');
    // The first write meets a closed socket, what answers it is a reset, and that shows at a later write.
    await until(() => client.socket.write('anybody?') && relay.active(0) === 0);
    client.socket.end();
    await until(() => client.closed !== 'no');
    t.equal(client.closed, 'clean');
    await relay.atRest(t, 1);
  });

  await t.test('the client has said all and is gone: the backend still gets all of it', async (t) => {
    let atOrigin: net.Socket | undefined;
    const port = await server(t, (socket) => {
      atOrigin = socket;
      socket.pause();
    });
    const relay = await Relay.start(t, [port]);
    const client = await connect(t, relay.port);
    const sent = pour(client, total);
    await until(() => atOrigin !== undefined);
    // Nobody reads at the client any more; what the backend answers meets a reset there.
    const got = sip(atOrigin!);
    const hash = await sent;
    // What is still at the client would be lost with it, whatever is between the two.
    await until(() => delivered(client));
    client.destroy();
    atOrigin!.write('thank you');
    t.equal(await got, hash);
    atOrigin!.destroy();
    await relay.atRest(t, 1);
  });
});

t.test('a reset is passed on as a reset', async (t) => {
  const origin = await RawOrigin.start(t);
  const relay = await Relay.start(t, [origin.port]);

  await t.test('from the backend', async (t) => {
    const client = await RawClient.open(t, relay.port);
    client.write('a');
    await origin.until(() => origin.received[0] === 'a');
    origin.sockets[0]!.write('half an ans');
    await client.until((text) => text.length > 0);
    origin.sockets[0]!.resetAndDestroy();
    await until(() => client.closed !== 'no');
    t.equal(client.closed, 'reset');
  });

  await t.test('from the client', async (t) => {
    const client = await RawClient.open(t, relay.port);
    client.write('half a requ');
    await origin.until(() => origin.received[1] === 'half a requ');
    client.socket.resetAndDestroy();
    await origin.until(() => /reset|close/.test(origin.received[1]!));
    t.equal(origin.received[1], 'half a requ<reset>');
  });

  await t.test('a cut is a reset for both', async (t) => {
    const client = await RawClient.open(t, relay.port);
    client.write('half');
    await origin.until(() => origin.received[2] === 'half');
    for (const connection of relay.connections) connection.cut();
    await until(() => client.closed !== 'no');
    t.equal(client.closed, 'reset');
    await origin.until(() => /reset|close/.test(origin.received[2]!));
    t.equal(origin.received[2], 'half<reset>');
  });

  await relay.atRest(t, 1);
});

t.test('a backend that refuses: the next one gets every byte of the client', async (t) => {
  const origin = await RawOrigin.start(t);
  const relay = await Relay.start(t, [await freePort(), await freePort(), origin.port]);
  const client = await connect(t, relay.port);
  client.end('sent before any backend was there');
  await origin.until(() => origin.received[0]?.endsWith('<end>') === true);
  t.equal(origin.received[0], 'sent before any backend was there<end>');
  t.equal(relay.control.backendCounter(0, 'connect_failures'), 1);
  t.equal(relay.control.backendCounter(1, 'connect_failures'), 1);
  t.strictSame(
    [0, 1, 2].map((slot) => relay.control.backendCounter(slot, 'retries')),
    [1, 1, 0],
    'as in mode http',
  );
  t.strictSame([relay.active(0), relay.active(1), relay.active(2)], [0, 0, 1]);
  t.equal(
    relay.control.vitals.open(RETRYING, 2),
    0,
    'what could not be sent costs no budget, however long it lasts then',
  );
  origin.sockets[0]!.end();
  await relay.atRest(t, 3);
});

t.test('the client is not read before a backend is there, however much it sends', async (t) => {
  const deaf = await deafPort(t);
  let got: Promise<string> | undefined;
  const port = await server(t, (socket) => {
    got = sip(socket);
    void got.then(() => socket.end());
  });
  const relay = await Relay.start(t, [deaf, port]);
  const client = await connect(t, relay.port);
  const sent = pour(client, 8 * MIB);
  await until(() => relay.active(0) === 1);
  relay.pass(4_000);
  t.equal(relay.active(0), 1, 'still within the connect time-out');
  relay.pass(2_000);
  await until(() => got !== undefined);
  t.equal(await got, await sent);
  t.equal(relay.control.backendCounter(0, 'connect_failures'), 1);
  client.resume();
  await relay.atRest(t, 2);
});

t.test('no backend takes the connection', async (t) => {
  await t.test('all refuse: reset', async (t) => {
    const relay = await Relay.start(t, [await freePort(), await freePort()]);
    t.equal(await turnedAway(relay.port), 'reset');
    await relay.atRest(t, 2);
    t.equal(relay.control.frontendCounter(0, 'answered_503'), 1);
  });

  await t.test('more refuse than are tried: no stick to one that was never tried', async (t) => {
    const origin = await RawOrigin.start(t);
    const refusing = [await freePort(), await freePort(), await freePort()];
    const relay = await Relay.start(t, [...refusing, origin.port], { pool: 'stick: { source: ip }' });
    t.equal(await turnedAway(relay.port), 'reset');
    t.equal(origin.sockets.length, 0, 'three were tried, which is the limit');
    for (const slot of [0, 1, 2]) relay.gate(slot, GATE_CLOSED);
    relay.gate(3, GATE_STUCK);
    t.equal(await turnedAway(relay.port), 'reset', 'the one that drains was never its backend');
    await relay.atRest(t, 4);
  });

  await t.test('none is eligible: closed at once', async (t) => {
    const origin = await RawOrigin.start(t);
    const relay = await Relay.start(t, [origin.port]);
    relay.gate(0, GATE_CLOSED);
    t.equal(await turnedAway(relay.port), 'reset');
    t.equal(origin.sockets.length, 0);
    await relay.atRest(t, 1);
  });
});

t.test('a client that leaves while its backend is being connected', async (t) => {
  for (const how of ['end', 'reset'] as const)
    await t.test(how, async (t) => {
      const deaf = await deafPort(t);
      const origin = await RawOrigin.start(t);
      const relay = await Relay.start(t, [deaf, origin.port]);
      const client = await connect(t, relay.port);
      await until(() => relay.active(0) === 1);
      if (how === 'end') client.destroy();
      else client.resetAndDestroy();
      relay.pass(6_000);
      if (how === 'end') {
        await origin.until(() => origin.received[0] === '<end>');
        origin.sockets[0]!.end();
      }
      await relay.atRest(t, 2);
    });
});

t.test('silence ends a connection, a byte either way prolongs it', async (t) => {
  const origin = await RawOrigin.start(t);
  const relay = await Relay.start(t, [origin.port], { frontend: 'timeouts: { idle: 60s }' });
  const client = await RawClient.open(t, relay.port);
  await origin.until(() => origin.sockets.length === 1);
  client.write('a');
  await origin.until(() => origin.received[0] === 'a');
  relay.pass(40_000);
  client.write('b');
  await origin.until(() => origin.received[0] === 'ab');
  relay.pass(40_000);
  origin.sockets[0]!.write('c');
  await client.until((text) => text === 'c');
  relay.pass(40_000);
  t.equal(client.closed, 'no');
  relay.pass(21_000);
  await until(() => client.closed !== 'no');
  t.equal(client.closed, 'reset');
  await origin.until(() => /reset|close/.test(origin.received[0]!));
  t.equal(origin.received[0], 'ab<reset>', 'the backend cannot take it for an orderly end');
  await relay.atRest(t, 1);
});

t.test('a client that keeps its side open after the backend is gone is not kept for ever', async (t) => {
  const origin = await RawOrigin.start(t);
  const relay = await Relay.start(t, [origin.port], { frontend: 'timeouts: { idle: 60s }' });
  const client = await RawClient.open(t, relay.port);
  await origin.until(() => origin.sockets.length === 1);
  origin.sockets[0]!.end('bye');
  await client.end();
  relay.pass(61_000);
  await relay.atRest(t, 1);
});

t.test('at max_connections a new client is turned away and the open ones go on', async (t) => {
  const origin = await RawOrigin.start(t, (socket, text) => socket.write(text));
  const plane = await Plane.start(
    t,
    `
frontends:
  db: { bind: ["127.0.0.1:PORT"], mode: tcp, pool: db, max_connections: 2 }
pools:
  db: { algorithm: round-robin, backends: { s1: { address: "127.0.0.1:${origin.port}" } } }
`,
  );
  const open = [await RawClient.open(t, plane.port), await RawClient.open(t, plane.port)];
  await origin.until(() => origin.sockets.length === 2);
  t.equal(await turnedAway(plane.port), 'reset');
  for (const client of open) {
    client.write('still here');
    t.equal(await client.until((text) => text.length === 10), 'still here');
  }
  open[0]!.socket.end();
  await origin.until(() => origin.received.some((text) => text.endsWith('<end>')));
  for (const socket of origin.sockets) if (socket.readableEnded) socket.end();
  await until(() => plane.control.frontendCounter(0, 'connections') === 1);
  const next = await RawClient.open(t, plane.port);
  next.write('me too');
  t.equal(await next.until((text) => text.length === 6), 'me too');
});

t.test('100 connections that reset in all phases leave nothing behind', async (t) => {
  let serial = 0;
  const port = await server(t, (socket) => {
    const phase = serial++ % 5;
    if (phase === 0) socket.resetAndDestroy();
    else if (phase === 1) socket.end('bye');
    else if (phase === 2) socket.write('x'.repeat(100_000), () => socket.resetAndDestroy());
    else socket.on('data', (bytes) => socket.write(bytes)).on('end', () => socket.end());
  });
  const relay = await Relay.start(t, [port, await freePort(), port]);
  const ends = Array.from({ length: 100 }, async (_, i) => {
    const socket = net.connect({ port: relay.port, host: '127.0.0.1' });
    socket.on('error', () => {});
    const closed = once(socket, 'close').catch(() => {});
    if (i % 7 === 0) socket.destroy();
    else {
      await Promise.race([once(socket, 'connect').catch(() => {}), closed]);
      if (i % 7 === 1) socket.resetAndDestroy();
      else if (i % 7 === 2) socket.write('y'.repeat(200_000), () => socket.resetAndDestroy());
      else if (i % 7 === 3) socket.end('z');
      else if (i % 7 === 4) socket.write('z', () => socket.destroy());
      else if (i % 7 === 5) socket.once('data', () => socket.resetAndDestroy()).write('z');
      else socket.end('y'.repeat(300_000)).resume();
      if (i % 7 === 3) socket.resume();
    }
    await closed;
  });
  await Promise.all(ends);
  await relay.atRest(t, 3);
});

t.test('a client sticks to its backend by its address', async (t) => {
  const origins = [await RawOrigin.start(t), await RawOrigin.start(t), await RawOrigin.start(t)];
  const relay = await Relay.start(
    t,
    origins.map(({ port }) => port),
    { pool: 'stick: { source: ip, expire: 10m }' },
  );
  /** Index of the backend that a new client reaches; -1: none. */
  const visit = async (): Promise<number> => {
    const before = origins.map(({ sockets }) => sockets.length);
    const client = await RawClient.open(t, relay.port);
    client.write('x');
    await Promise.race([
      client.end(),
      ...origins.map((it, i) => it.until(() => it.sockets.length > before[i]!)),
    ]);
    const at = origins.findIndex(({ sockets }, i) => sockets.length > before[i]!);
    client.socket.resetAndDestroy();
    await until(() => relay.open === 0);
    return at;
  };

  const mine = await visit();
  t.ok(mine >= 0);
  for (let i = 0; i < 3; i++) t.equal(await visit(), mine);

  relay.gate(mine, GATE_STUCK);
  t.equal(await visit(), mine, 'a draining backend still takes those that it has');
  relay.gate(mine, GATE_OPEN, 0);
  t.equal(await visit(), mine, 'and so does one with weight 0');

  relay.gate(mine, GATE_CLOSED);
  const other = await visit();
  t.not(other, mine, 'one that is closed takes nobody');
  relay.gate(mine, GATE_OPEN);
  t.equal(await visit(), other, 'the entry has moved');

  origins[other]!.stop();
  await until(() => origins[other]!.sockets.every((socket) => socket.destroyed));
  const third = await visit();
  t.not(third, other, 'one that refuses loses the client too');
  t.equal(await visit(), third);
});

t.test('draining and weight 0 keep new clients away', async (t) => {
  const origins = [await RawOrigin.start(t), await RawOrigin.start(t)];
  const relay = await Relay.start(
    t,
    origins.map(({ port }) => port),
    { pool: 'stick: { source: ip }' },
  );
  for (const [gate, weight] of [
    [GATE_STUCK, 1],
    [GATE_OPEN, 0],
    [GATE_CLOSED, 1],
  ] as const) {
    relay.gate(0, gate, weight);
    const client = await RawClient.open(t, relay.port);
    await origins[1]!.until(() => origins[1]!.sockets.some((socket) => !socket.destroyed));
    client.socket.resetAndDestroy();
    await until(() => relay.open === 0);
  }
  t.equal(origins[0]!.sockets.length, 0);
});

t.test('cut(slot) ends the connections of that backend alone', async (t) => {
  const origins = [await RawOrigin.start(t), await RawOrigin.start(t)];
  const plane = await Plane.start(
    t,
    `
frontends:
  db: { bind: ["127.0.0.1:PORT"], mode: tcp, pool: db }
pools:
  db:
    algorithm: round-robin
    backends: { s1: { address: "127.0.0.1:${origins[0]!.port}" }, s2: { address: "127.0.0.1:${origins[1]!.port}" } }
`,
  );
  const clients: RawClient[] = [];
  for (let i = 0; i < 4; i++) clients.push(await RawClient.open(t, plane.port));
  for (const origin of origins) await origin.until(() => origin.sockets.length === 2);
  plane.plane.cut(plane.slot('db/s1'));
  await origins[0]!.until(() => origins[0]!.received.every((text) => text.endsWith('>')));
  t.strictSame(origins[0]!.received, ['<reset>', '<reset>']);
  await until(() => clients.filter((client) => client.closed !== 'no').length === 2);
  t.equal(plane.control.active(plane.slot('db/s1')), 0);
  t.equal(plane.control.active(plane.slot('db/s2')), 2);
  for (const socket of origins[1]!.sockets) socket.write('well');
  const left = clients.filter((client) => client.closed === 'no');
  for (const client of left) t.equal(await client.until((text) => text === 'well'), 'well');
});

t.test('a TCP client that ends before its backend is there: the backend hears of it', async (t) => {
  const origin = await RawOrigin.start(t);
  const { files } = new Certificates(t).server('a.example');
  const plane = await Plane.start(
    t,
    `
frontends: { web: { bind: ["127.0.0.1:PORT"], mode: tcp, pool: web, tls: { certificates: [${files}] } } }
pools: { web: { backends: { s1: { address: "127.0.0.1:${origin.port}", max_connections: 1 } } } }
`,
  );
  const first = await SecureClient.open(t, plane.port);
  first.write('one');
  await origin.until(() => origin.received[0] === 'one');
  const second = new SecureClient(t, plane.port, { allowHalfOpen: true } as object);
  second.socket.once('secureConnect', () => second.socket.end());
  while (plane.control.queues.waiting(plane.slot('web/s1')) === 0) await new Promise(setImmediate);
  origin.sockets[0]!.destroy();
  await origin.until(() => origin.received[1]?.includes('<') ?? false);
  t.match(origin.received[1], /^<end>/);
});
