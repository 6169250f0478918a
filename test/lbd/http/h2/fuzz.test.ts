import { createHash } from 'node:crypto';
import type net from 'node:net';
import { Duplex } from 'node:stream';
import t from 'tap';
import { parseConfig } from '../../../../common/config.ts';
import { Backend } from '../../../../lbd/dispatch/backend.ts';
import { Pool } from '../../../../lbd/dispatch/pool.ts';
import { Frontend } from '../../../../lbd/entry/frontend.ts';
import { newHttp1Stream } from '../../../../lbd/http/h1/backend-stream.ts';
import { Http2Connection } from '../../../../lbd/http/h2/connection.ts';
import type { HttpRequest } from '../../../../lbd/http/model.ts';
import { HttpService } from '../../../../lbd/http/service.ts';
import { answerTarget, type Target } from '../../../../lbd/http/target.ts';
import { Deadlines } from '../../../../lbd/io/deadlines.ts';
import { NO_ROUTE } from '../../../../lbd/log/refusal.ts';
import { createSharedBuffers, GATE_OPEN, SharedState } from '../../../../lbd/shared/shared.ts';
import { RawOrigin } from '../../harness.ts';
import { sessionTable, workerContext } from '../../worker-context.ts';
import { random } from '../exchange.ts';
import { METHODS, readRequests } from '../h1/node-parser.ts';
import { Http2Client, PREFACE } from './harness.ts';
import { CORPUS_SIZE, conversation } from './mutations.ts';

/**
 * Conversations of clients, as they should be and in all ways wrong, in pieces of any size, to connections that share a worker and
 * a backend. Whatever comes: nothing is thrown, what lbd says is well formed, what its backend gets is what Node's parser takes for
 * requests, and behind it nothing is left: no stream, no deadline, no request in flight, no connection.
 *
 * FUZZ_CASES and FUZZ_SEED make it longer or another one: 1000000 cases take some 10 min.
 */
const CASES = Number(process.env.FUZZ_CASES ?? 20_000);
const SEED = Number(process.env.FUZZ_SEED ?? 1);
const BATCH = 200;
const STEP_MS = 60_000;
/** What all sockets of a worker read into: its bytes are somebody else's when the call is over. */
const shared = Buffer.alloc(64 * 1024);

/** A client's connection, without a kernel. */
class Wire extends Duplex {
  readonly remoteAddress = '192.0.2.1';
  readonly localAddress = '192.0.2.2';
  readonly far = new FarEnd();

  constructor() {
    super({ allowHalfOpen: true, autoDestroy: false });
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.far.emit('data', bytes);
    done();
  }

  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  resetAndDestroy(): void {
    this.destroy();
  }
}

/** What the client sees of it. */
class FarEnd extends Duplex {
  override _read(): void {}
}

const BIG = 'z'.repeat(100_000);
const ANSWERS: Readonly<Record<string, string>> = {
  '/': 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  '/echo': 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  '/big': `HTTP/1.1 200 OK\r\nContent-Length: ${BIG.length}\r\n\r\n${BIG}`,
  '/chunks': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n',
  '/early': 'HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n',
};

/** Answers whose end comes late; each takes another time. */
let slow = 0;

/** @param turns of the event loop */
function later(turns: number, act: () => void): void {
  if (turns === 0) act();
  else setImmediate(() => later(turns - 1, act));
}

function reply(socket: net.Socket, text: string): void {
  for (const [head, path] of text.matchAll(/[!-~]+ (\S+) HTTP\/1\.1\r\n(?:[^\r\n]+\r\n)*\r\n/g)) {
    const key = /sec-websocket-key: (\S+)/.exec(head)?.[1];
    if (key !== undefined) {
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\nhi`,
      );
    } else if (path === '/slow') {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n');
      later((slow++ * 7) % 80, () => socket.writable && socket.write('0\r\n\r\n'));
    } else if (path === '/cut') socket.end('HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf');
    else if (path !== '/hold')
      socket.write(
        head.startsWith('HEAD ')
          ? 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n'
          : (ANSWERS[path!] ?? ANSWERS['/']!),
      );
  }
}

class FuzzedService extends HttpService {
  readonly #none = answerTarget(NO_ROUTE);

  override targetFor(request: HttpRequest): Target {
    return request.path === '/none' ? this.#none : super.targetFor(request);
  }
}

async function start(origin: RawOrigin) {
  const config = parseConfig(
    `
frontends: { web: { bind: ["127.0.0.1:1"], pool: web, protocols: [h2] } }
pools: { web: { backends: { s1: { address: "127.0.0.1:${origin.port}" } } } }
`,
    '/test.yaml',
    { cpus: 1 },
  );
  const buffers = createSharedBuffers(1);
  const deadlines = new Deadlines(STEP_MS);
  const context = workerContext({
    deadlines,
    shared: new SharedState(buffers, 0),
    nextRequestId: () => 'id',
  });
  const control = new SharedState(buffers, -1);
  control.setGate(0, GATE_OPEN, 1);
  const [web] = config.pools;
  const backend = new Backend('web', web!.backends[0]!, 0, context.shared, undefined);
  const pool = new Pool(web!, [backend], context.shared, sessionTable(), 0);
  const frontend = new Frontend(0, context, config.frontends[0]!, [], pool);
  const service = new FuzzedService(frontend, newHttp1Stream, undefined);
  return { deadlines, control, frontend, service };
}

interface Case {
  readonly turn: number;
  readonly pieces: Buffer[];
  readonly wire: Wire;
  readonly client: Http2Client;
  readonly connection: Http2Connection;
  /** A frame at a time comes, and time for an answer behind each. */
  readonly isSlow: boolean;
  /** How it ends: 0, by its client; 1, its client is gone; 2, it stays for as long as it may; 3, lbd cuts it. */
  readonly ends: number;
  /** Before which of the pieces lbd asks its client to go; -1: it does not. */
  readonly retires: number;
  readonly frames: readonly Buffer[];
}

function cut(bytes: Buffer, next: () => number): Buffer[] {
  // Small ones only of what is short: a case should not take as long as hundreds.
  const size = bytes.length > 3000 || next() < 0.3 ? bytes.length : 1 + Math.floor(next() * 60);
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += pieces.at(-1)!.length)
    pieces.push(bytes.subarray(at, at + 1 + Math.floor(next() * Math.min(size, shared.length))));
  return pieces;
}

t.test(`${CASES} conversations, seed ${SEED}`, { timeout: 0 }, async (t) => {
  const origin = await RawOrigin.start(t, reply);
  const { deadlines, control, frontend, service } = await start(origin);
  const faults: string[] = [];
  let now = deadlines.now;
  let answered = 0;
  let served = 0;
  /** Connections to the backend that are over. */
  let looked = 0;
  const open = () => control.frontendCounter(0, 'connections');
  const tell = (it: Case, what: string) =>
    faults.push(
      `${what}; turn ${it.turn}: ${it.frames.map((bytes) => bytes.toString('hex').slice(0, 200)).join(' ')}`,
    );

  const attempt = (it: Case, act: () => void) => {
    try {
      act();
    } catch (error) {
      tell(it, String((error as Error).stack));
    }
  };

  for (let turn = 0; turn < CASES && faults.length === 0; ) {
    const batch: Case[] = [];
    for (; batch.length < BATCH && turn < CASES; turn++) {
      const next = random(SEED * 1_000_003 + turn);
      const frames = conversation(turn, next);
      const wire = new Wire();
      const client = new Http2Client(wire.far as unknown as net.Socket);
      client.acknowledges = false;
      frontend.enter();
      const connection = new Http2Connection(wire as unknown as net.Socket, service);
      const isSlow = frames.length < 10 && next() < 0.3;
      batch.push({
        turn,
        frames,
        pieces: isSlow ? [PREFACE, ...frames] : cut(Buffer.concat([PREFACE, ...frames]), next),
        isSlow,
        wire,
        client,
        connection,
        ends: Math.floor(next() * 4),
        retires: next() < 0.2 ? Math.floor(next() * 4) : -1,
      });
    }
    let left = batch;
    for (let round = 0; left.length > 0; round++, left = left.filter(({ pieces }) => pieces.length > 0)) {
      for (const it of left) {
        // Many at once, so that few turns do for all.
        if (it.isSlow && round % 20 !== 0) continue;
        for (let i = 0; i < (it.isSlow ? 1 : 20); i++) {
          if (i === it.retires) attempt(it, () => it.connection.retire());
          const piece = it.pieces.shift();
          if (piece === undefined || it.wire.destroyed) break;
          piece.copy(shared);
          attempt(it, () => it.connection.onBytes(shared, piece.length));
          shared.fill(0xa5, 0, piece.length);
        }
      }
      await new Promise(setImmediate);
    }
    for (let i = 0; i < 60; i++) await new Promise(setImmediate);
    for (const it of batch) {
      if (it.ends === 0) attempt(it, () => it.wire.emit('end'));
      if (it.ends === 1) it.wire.destroy();
      if (it.ends === 3) attempt(it, () => it.connection.cut());
    }
    for (let i = 0; i < 3000 && (deadlines.size > 0 || control.active(0) > 0); i++) {
      await new Promise(setImmediate);
      if (i % 5 === 0) {
        now += STEP_MS;
        deadlines.sweep(now);
      }
    }
    if (deadlines.size > 0 || control.active(0) !== 0 || open() !== 0)
      faults.push(
        `left of turns ${batch[0]!.turn} to ${turn - 1}: ${deadlines.all().map((it) => it.constructor.name)}, ${control.active(0)} requests, ${open()} connections`,
      );
    for (const it of batch) {
      for (const wrong of it.client.wrongs) tell(it, wrong);
      if (!it.wire.destroyed) tell(it, 'the connection is open');
      if (it.client.pending > 0) tell(it, `a frame of which only ${it.client.pending} bytes came`);
      if ([...it.client.answers.values()].some(({ status }) => status === 200)) answered++;
      if (it.turn < CORPUS_SIZE && it.client.goAway !== undefined && it.client.goAway !== 'noError')
        tell(it, it.client.goAway);
    }
    const isOver = (text: string) => /<(end|close|reset)>$/.test(text);
    await origin.until(() => origin.received.slice(looked).every(isOver));
    for (; looked < origin.received.length; looked++) {
      const text = origin.received[looked]!;
      const { messages, refused } = readRequests(
        Buffer.from(text.replace(/(<end>)?(<close>|<reset>)?$/, ''), 'latin1'),
      );
      origin.received[looked] = '';
      served += messages.length;
      // RFC 9110 §9.1: a method is any token; Node knows a few.
      const isStrange = [...text.matchAll(/^(\S+) \S+ HTTP\/1\.1\r$/gm)].some(
        ([, method]) => !METHODS.has(method!),
      );
      if (refused !== '' && !isStrange)
        faults.push(`Node refuses what the backend got, ${refused}: ${JSON.stringify(text)}`);
    }
  }
  t.same(faults.slice(0, 5), []);
  t.ok(answered > CASES / 5, `${answered} had an answer`);
  t.ok(served > CASES / 5, `the backend got ${served} requests`);
});
