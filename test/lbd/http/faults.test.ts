import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import { CONNECTIONS, PENDING, RETRYING } from '../../../lbd/shared/vitals.ts';
import { keptBytes } from '../../common/kept-bytes.ts';
import { OK, Plane } from '../harness.ts';
import { type Reply, random, yaml } from './exchange.ts';

/** Faulted requests; more by the environment, such as `FAULTS=100000`. */
const REQUESTS = Number(process.env.FAULTS ?? 3600);
/** Clients at the same time. */
const CLIENTS = 100;
/**
 * After each round of requests it is looked what is kept. A leak grows with each of them; the runtime grows or lets go of compiled
 * code in some, which the median leaves out. Odd.
 */
const ROUNDS = 5;
/** Of a request, in bytes: the runtime keeps some dozens in a round; an exchange has above 2,000. */
const MAX_KEPT = 256;

/** What a backend does wrong; chosen by the path, so that each request says what it wants. */
const BACKENDS: Record<string, Reply> = {
  resets: (socket) => socket.resetAndDestroy(),
  ends: (socket) => socket.end(),
  silent: () => {},
  'half-a-head': (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-'),
  'half-a-body': (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf'),
  'resets-in-body': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf');
    setImmediate(() => socket.resetAndDestroy());
  },
  'stops-in-body': (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf'),
  'too-much': (socket) => socket.write(`${OK}${OK}`),
  nonsense: (socket) => socket.write('this is not an answer at all\r\n\r\n'),
  'huge-chunk': (socket) =>
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFF\r\n'),
  'huge-head': (socket) => socket.write(`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`),
  'many-fields': (socket) => socket.write(`HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(200)}\r\n`),
  early: (socket) => socket.end('HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n'),
  'early-and-resets': (socket) => {
    socket.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n');
    socket.resetAndDestroy();
  },
  busy: (socket) => socket.write('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy'),
  well: (socket) => socket.write(OK),
};

/** What a client sends; `PATH` names the backend's fault. */
const REQUESTED: Record<string, string> = {
  get: 'GET /PATH HTTP/1.1\r\nHost: a\r\n\r\n',
  post: 'POST /PATH HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello',
  'large put': `PUT /PATH HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(100_000)}`,
  'half a head': 'GET /PATH HTTP/1.1\r\nHo',
  'half a body': 'POST /PATH HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nhello',
  'half a chunk': 'POST /PATH HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhello',
  'huge chunk': 'POST /PATH HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\n',
  'header flood': `GET /PATH HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(500)}\r\n`,
  'long field': `GET /PATH HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(60_000)}`,
  nonsense: 'hello there\r\n\r\n',
  pipelined: 'GET /PATH HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(3),
};

/** How a client goes. */
const LEAVES = ['waits', 'resets at once', 'resets later', 'ends its side', 'closes'] as const;

/** A backend that does what the path says, and remembers nothing. @returns its port */
async function backend(t: Test, open: Set<net.Socket>): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => {});
    socket.on('end', () => socket.end());
    socket.on('data', (bytes) => {
      const path = /^(?:GET|POST|PUT) \/([a-z-]+) /.exec(bytes.toString('latin1', 0, 64))?.[1];
      if (path !== undefined && !socket.destroyed) BACKENDS[path]!(socket, '', 0);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

/** One client connection with one fault. Resolves with what it got when the connection is over. */
function faulted(
  port: number,
  from: string,
  request: string,
  leaves: (typeof LEAVES)[number],
): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: '127.0.0.1', localAddress: from, allowHalfOpen: true });
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      if (leaves === 'resets later') socket.resetAndDestroy();
    });
    socket.on('error', () => {});
    socket.on('end', () => socket.destroy());
    socket.on('close', () => resolve(text));
    socket.write(request, 'latin1', () => {
      if (leaves === 'resets at once') socket.resetAndDestroy();
      else if (leaves === 'closes') socket.destroy();
      else if (leaves === 'ends its side') socket.end();
    });
  });
}

t.setTimeout(0);

t.test('after faults of all kinds nothing is left open, counted or kept', { timeout: 0 }, async (t) => {
  const open = new Set<net.Socket>();
  t.teardown(() => {
    for (const socket of open) socket.destroy();
  });
  const plane = await Plane.start(
    t,
    yaml([await backend(t, open), await backend(t, open), await backend(t, open), await backend(t, open)], {
      timeouts: 'head: 100ms, body: 100ms, keep_alive: 100ms, idle: 100ms',
      poolTimeouts: 'connect: 1s, response: 100ms, keep_alive: 100ms, total: 1s',
      pool: 'retry: { on: [connect, reset, timeout, 503] }\n    outlier: true\n    limits: { requests: 1000 }',
    }),
  );
  const next = random(7);
  const one = <T>(items: readonly T[]): T => items[Math.floor(next() * items.length)]!;
  const answers = new Map<string, number>();
  const run = async (count: number) => {
    let left = count;
    const work = async () => {
      while (left-- > 0) {
        const request = REQUESTED[one(Object.keys(REQUESTED))]!.replaceAll(
          'PATH',
          one(Object.keys(BACKENDS)),
        );
        // One address has not enough ports for all that wait in TIME_WAIT.
        const from = `127.0.0.${2 + Math.floor(next() * 200)}`;
        const text = await faulted(plane.port, from, request, one(LEAVES));
        const status = text.slice(9, 12);
        answers.set(status, (answers.get(status) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, work));
  };
  const rest = async () => {
    while (plane.plane.open > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  const kept: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    await run(Math.ceil(REQUESTS / (ROUNDS + 1)));
    await rest();
    kept.push(await keptBytes());
  }
  const perRequest = kept
    .slice(1)
    .map((bytes, i) => ((bytes - kept[i]!) * (ROUNDS + 1)) / REQUESTS)
    .toSorted((a, b) => a - b);
  const said = perRequest.map((bytes) => bytes.toFixed()).join(', ');
  t.ok(perRequest[(ROUNDS - 1) / 2]! < MAX_KEPT, `bytes that a request leaves, by round: ${said}`);
  t.equal(plane.active, 0, 'requests in flight');
  for (const name of ['web/s1', 'web/s2', 'web/s3', 'web/s4'])
    for (const kind of [RETRYING, PENDING, CONNECTIONS] as const)
      t.equal(plane.control.vitals.open(kind, plane.slot(name)), 0, `${name}, kind ${kind}`);
  t.equal(plane.control.frontendCounter(0, 'connections'), 0, 'client connections');
  const known = ['', '200', '400', '408', '413', '431', '502', '503', '504'];
  t.same(
    [...answers.keys()].filter((status) => !known.includes(status)),
    [],
    'each answer has a defined status',
  );
  for (const status of known) t.ok(answers.get(status), `${status || 'none'}: ${answers.get(status)} times`);
});
