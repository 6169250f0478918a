/**
 * Steady traffic through the VIP, on the client: requests that are due at times that do not depend on the answers, one in
 * ten of them on a connection of its own. A request waits for an idle connection where there is none, and the wait counts.
 *
 * Prints a line once all connections are open. Each line on standard input ends a window; its `Window` is printed as JSON,
 * and the next one begins. What is under way belongs to the window in which it ends. Ends with its standard input.
 */

import { connect, type Socket } from 'node:net';
import { createHistogram } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { VIP } from '../../lab/hosts.ts';
import { Failures } from '../data/generator.ts';
import { ResponseReader } from '../data/response-reader.ts';

/** What was seen between two marks; times in microseconds from when this program came to a request. */
export interface Window {
  readonly requests: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** How late it came to a request that was due, at 99 %. */
  readonly lateP99Us: number;
  readonly failures: Readonly<Record<string, number>>;
}

const RATE = 400;
const CONNECTIONS = 32;
/** One request in so many has a connection of its own. */
const NEW_EVERY = 10;
const TIMEOUT_MS = 10_000;
const HIGHEST_NS = 1e11;
const KEPT = `GET / HTTP/1.1\r\nHost: ${VIP}\r\n\r\n`;
const ONCE = `GET / HTTP/1.1\r\nHost: ${VIP}\r\nConnection: close\r\n\r\n`;

const latencies = createHistogram({ lowest: 1, highest: HIGHEST_NS, figures: 3 });
const lateness = createHistogram({ lowest: 1, highest: HIGHEST_NS, figures: 3 });
let failures = new Failures();
let requests = 0;
let number = 0;
const idle: Kept[] = [];
const waiting: number[] = [];

/** A connection that is used again and again. */
class Kept {
  #socket: Socket | undefined;
  #dueMs = 0;
  #timer: NodeJS.Timeout | undefined;

  ask(dueMs: number): void {
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => this.#broken('timeout'), TIMEOUT_MS);
    this.#socket ??= this.#open();
    this.#socket.write(KEPT);
  }

  #open(): Socket {
    const reader = new ResponseReader();
    const socket = connect({ host: VIP, port: 80, noDelay: true });
    socket.on('data', (bytes: Buffer) => {
      const status = reader.take(bytes, bytes.length);
      if (status !== undefined) this.#answered(status);
    });
    const broken = (cause: string) => {
      if (this.#socket === socket) this.#broken(cause);
    };
    socket.on('error', (error: NodeJS.ErrnoException) => broken(error.code ?? 'error'));
    socket.on('close', () => broken('closed'));
    return socket;
  }

  #answered(status: number): void {
    clearTimeout(this.#timer);
    settle(this.#dueMs, status === 200 ? undefined : `status ${status}`);
    this.#next();
  }

  #broken(cause: string): void {
    clearTimeout(this.#timer);
    this.#socket?.destroy();
    this.#socket = undefined;
    const isIdle = idle.includes(this);
    settle(isIdle ? undefined : this.#dueMs, cause);
    if (!isIdle) this.#next();
  }

  #next(): void {
    const dueMs = waiting.shift();
    if (dueMs === undefined) idle.push(this);
    else this.ask(dueMs);
  }
}

/** @param dueMs undefined: no request was under way */
function settle(dueMs: number | undefined, cause: string | undefined): void {
  if (dueMs !== undefined) {
    requests++;
    latencies.record(Math.max(1, Math.round((performance.now() - dueMs) * 1e6)));
  }
  if (cause !== undefined) failures.add(cause);
}

function askOnce(dueMs: number): void {
  const reader = new ResponseReader();
  const socket = connect({ host: VIP, port: 80, noDelay: true }, () => socket.write(ONCE));
  const timer = setTimeout(() => end('timeout'), TIMEOUT_MS);
  let isOver = false;
  const end = (cause?: string) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    socket.destroy();
    settle(dueMs, cause);
  };
  socket.on('data', (bytes: Buffer) => {
    const status = reader.take(bytes, bytes.length);
    if (status !== undefined) end(status === 200 ? undefined : `status ${status}`);
  });
  socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'error'));
  socket.on('close', () => end('closed'));
}

let nextMs = performance.now();

function look(): void {
  const nowMs = performance.now();
  while (nextMs <= nowMs) {
    lateness.record(Math.max(1, Math.round((nowMs - nextMs) * 1e6)));
    if (number++ % NEW_EVERY === 0) askOnce(nowMs);
    else {
      const kept = idle.shift();
      if (kept === undefined) waiting.push(nowMs);
      else kept.ask(nowMs);
    }
    nextMs += 1000 / RATE;
  }
}

function windowOf(): Window {
  const window = {
    requests,
    p50Us: latencies.percentile(50) / 1000,
    p99Us: latencies.percentile(99) / 1000,
    lateP99Us: lateness.percentile(99) / 1000,
    failures: failures.counts,
  };
  latencies.reset();
  lateness.reset();
  failures = new Failures();
  requests = 0;
  return window;
}

if (import.meta.main) {
  for (let i = 0; i < CONNECTIONS; i++) idle.push(new Kept());
  setInterval(look, 1);
  process.stdout.write('open\n');
  for await (const _ of createInterface({ input: process.stdin }))
    process.stdout.write(`${JSON.stringify(windowOf())}\n`);
  process.exit();
}
