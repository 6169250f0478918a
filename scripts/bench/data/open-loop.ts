import { readFileSync } from 'node:fs';
import { connect as connectPlain, type Socket } from 'node:net';
import { createHistogram } from 'node:perf_hooks';
import { connect as connectTls } from 'node:tls';
import { GiveUp, until } from '../../lab/wait.ts';
import { Failures, finish, requestText, taskOf } from './generator.ts';
import { ResponseReader } from './response-reader.ts';

/**
 * An open-loop generator: requests are due at times that do not depend on the answers, in exponential gaps (Poisson),
 * the same ones in every run. A request that is due goes out on an idle connection; where none is idle it waits, and
 * the wait counts (no coordinated omission, as in wrk2). The generator looks at the time at every answer and once a
 * millisecond; how late it looks is reported apart, since the proxy has no part in it.
 */

/** For answers that are under way at the end. */
const PATIENCE_MS = 30_000;
const READ_BYTES = 16 * 1024;

const task = taskOf(process.argv.slice(2));
const ca = task.tls ? readFileSync(task.ca) : undefined;
const failures = new Failures();
const request = requestText(task);
const meanGapMs = 1000 / task.rate;
/** Enough for 100 s; in whole nanoseconds. */
const latencies = createHistogram({ lowest: 1, highest: 1e11, figures: 3 });
const lateness = createHistogram({ lowest: 1, highest: 1e11, figures: 3 });
const idle: Client[] = [];
/** When requests became due that found no idle connection, in ms, the oldest first. */
const waiting: number[] = [];
let open = 0;
let units = 0;
let sent = 0;
let answers = 0;
let ended = false;
let seed = 0x9e3779b9;

interface Client {
  readonly socket: Socket;
  /** When its request was due, in ms. */
  dueMs: number;
}

for (let i = 0; i < task.connections; i++) join();
await until('all connections are open', () => {
  const [cause] = Object.keys(failures.counts);
  if (cause !== undefined) throw new GiveUp(`a connection could not be opened: ${cause}`);
  return open === task.connections || undefined;
});
const beganMs = performance.now();
const endMs = beganMs + task.seconds * 1000;
let nextMs = beganMs + gapMs();
const metronome = setInterval(look, 1);

function look(): void {
  const nowMs = performance.now();
  while (nextMs <= nowMs && nextMs < endMs) {
    lateness.record(Math.max(1, Math.round((nowMs - nextMs) * 1e6)));
    const client = idle.shift();
    if (client === undefined) waiting.push(nowMs);
    else send(client, nowMs);
    nextMs += gapMs();
  }
  // What is under way at the end is waited for; what never comes is a failure.
  if (nowMs < endMs || ended) return;
  if (answers === sent || nowMs >= endMs + PATIENCE_MS) end(nowMs);
}

function send(client: Client, dueMs: number): void {
  client.dueMs = dueMs;
  sent++;
  client.socket.write(request, 'latin1');
}

function join(): void {
  const reader = new ResponseReader();
  const take = (bytes: Buffer, length: number) => {
    const status = reader.take(bytes, length);
    if (status === undefined) return;
    answered(client, status);
    look();
  };
  const client: Client = { socket: task.tls ? secureSocket(take) : plainSocket(take), dueMs: 0 };
  client.socket.on(task.tls ? 'secureConnect' : 'connect', () => {
    open++;
    idle.push(client);
  });
  client.socket.on('end', () => failures.add('closed'));
  client.socket.on('error', (error: NodeJS.ErrnoException) => failures.add(error.code ?? 'error'));
}

function plainSocket(take: (bytes: Buffer, length: number) => void): Socket {
  const callback = (length: number, bytes: Uint8Array) => {
    take(bytes as Buffer, length);
    return true;
  };
  const onread = { buffer: Buffer.allocUnsafe(READ_BYTES), callback };
  return connectPlain({ host: '127.0.0.1', port: task.port, noDelay: true, onread });
}

function secureSocket(take: (bytes: Buffer, length: number) => void): Socket {
  const socket = connectTls({ host: '127.0.0.1', port: task.port, servername: 'bench', ca });
  socket.setNoDelay();
  socket.on('data', (bytes: Buffer) => take(bytes, bytes.length));
  return socket;
}

function answered(client: Client, status: number): void {
  const nowMs = performance.now();
  latencies.record(Math.max(1, Math.round((nowMs - client.dueMs) * 1e6)));
  answers++;
  if (status === 200) units++;
  else failures.add(`status ${status}`);
  const dueMs = waiting.shift();
  if (dueMs === undefined) idle.push(client);
  else send(client, dueMs);
}

function end(nowMs: number): void {
  ended = true;
  clearInterval(metronome);
  for (let missing = answers; missing < sent; missing++) failures.add('no answer');
  for (const _ of waiting) failures.add('never sent');
  finish({
    units,
    seconds: (nowMs - beganMs) / 1000,
    failures: failures.counts,
    latency: {
      p50Us: latencies.percentile(50) / 1000,
      p99Us: latencies.percentile(99) / 1000,
      p999Us: latencies.percentile(99.9) / 1000,
      lateP99Us: lateness.percentile(99) / 1000,
    },
  });
}

/** xorshift32 (Marsaglia 2003), so that every run offers the same arrivals. */
function gapMs(): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return -Math.log(((seed >>> 0) + 1) / 4_294_967_297) * meanGapMs;
}
