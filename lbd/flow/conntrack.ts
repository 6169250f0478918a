import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { adopt } from '../raw-socket.ts';
import { monotonicMs } from '../session/memory.ts';
import { FLAG, MESSAGE } from './conntrack-message.ts';
import { REQUEST_BYTES, RequestBatch } from './conntrack-request.ts';
import { NetlinkError, NetlinkStream } from './netlink-stream.ts';

/** Room in the kernel for events that are not read yet: some 50,000 of them, a second and more. */
const RECEIVE_BYTES = 32 * 1024 * 1024;
/** A table of a million flows takes some seconds; what takes longer hangs. */
const DUMP_MS = 30_000;
/** Room between the helper and this process, as far as `net.core.wmem_max` allows. */
const SEND_BYTES = 4 * 1024 * 1024;
const [MIN_RETRY_MS, MAX_RETRY_MS] = [50, 5_000];
/** A helper that ran so long was well: the next start comes soon. */
const WELL_AFTER_MS = 5_000;
const MAX_ERROR_CHARS = 2_000;
/** Of the question that asks for nothing. */
const ASK_SEQUENCE = 2 ** 32 - 1;
/** What the helper reads and sends at a time: whole requests, and few enough that a pipe takes all or nothing of them. */
const BLOCK_BYTES = 64 * REQUEST_BYTES;
/** Warnings, because lost events are one; an end without delay. */
const OPTIONS = ['-b', String(BLOCK_BYTES), '-d', '-t', '0'];
/**
 * Pause after a read of few bytes: the helper passes on each event by itself, and a read for each costs four times as much.
 * After one of many there is more, and a pause would let it pile up.
 */
const GATHER_MS = 5;
const FEW_BYTES = 4 * 1024;

/** A netlink socket of the kernel's connection tracking: AF_NETLINK, NETLINK_NETFILTER, SOCK_RAW. */
const [SOCKET, SOCKET_TYPE] = ['16:12', 'type=3'];
/** `struct sockaddr_nl` without the family: two zeros, port 0 (the kernel, or one of its choice), groups. */
const KERNEL = `x${'00'.repeat(10)}`;
/** Groups 1, 2 and 3: new flows, updates, ends. */
const EVENTS = `x${'00'.repeat(6)}07000000`;
/** SOL_SOCKET with SO_RCVBUFFORCE, and with SO_RCVBUF for who may not go beyond `net.core.rmem_max`. */
const BUFFER_OPTIONS = ['1:33', '1:8'] as const;

type Helper = ChildProcessByStdio<Writable, Readable, Readable>;

export interface ConntrackEvents {
  /** A flow in an event or, with `fromDump`, in a dump; valid during the call only. */
  onFlow(bytes: Buffer, at: number, end: number, fromDump: boolean): void;
  onGone(bytes: Buffer, at: number, end: number): void;
  /** The kernel's answer to a request; the error number is positive, 0 where there is none. */
  onAnswer(sequence: number, error: number): void;
  onDumpBegin(): void;
  /** The first one after each start shows that all works. */
  onDumpEnd(): void;
  /** @param lost events were lost; the next dump tells which */
  onDown(why: string, lost: boolean): void;
}

/**
 * The kernel's connection tracking: events, dumps, and requests that change it. Node has no netlink sockets, so one
 * long-lived `socat` carries the bytes between a pipe and such a socket; nothing is parsed or decided there. When events
 * come faster than they are read the kernel says so, `socat` ends, and a new one begins with a dump.
 */
export class Conntrack {
  readonly #program: string;
  readonly #events: ConntrackEvents;
  readonly #ownRequest = new RequestBatch(1);
  #helper: Helper | undefined;
  #retry: NodeJS.Timeout | undefined;
  #retryMs = MIN_RETRY_MS;
  #dumpTimer: NodeJS.Timeout | undefined;
  /** Above those of all other requests but one. */
  #dumpSequence = 2 ** 31;
  #dumpInterrupted = false;
  #dumping = false;
  #askedMs: number | undefined;
  #delayMs = 0;
  #bufferOption = 0;
  #closed = false;

  /** @param program another one only in tests */
  constructor(events: ConntrackEvents, program = 'socat') {
    this.#program = program;
    this.#events = events;
  }

  get running(): boolean {
    return this.#helper !== undefined;
  }

  open(): void {
    if (this.#helper !== undefined || this.#closed) return;
    const option = BUFFER_OPTIONS[this.#bufferOption]!;
    // Connected: else the helper puts the sender of each message into words, which nobody reads.
    const address = `SOCKET-CONNECT:${SOCKET}:${KERNEL},${SOCKET_TYPE},bind=${EVENTS},setsockopt-int=${option}:${RECEIVE_BYTES}`;
    const helper = spawn(this.#program, [...OPTIONS, `-,sndbuf-late=${SEND_BYTES}`, address], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, LC_ALL: 'C' },
    });
    this.#helper = helper;
    this.#listen(helper, performance.now());
    this.dump();
  }

  /** Sends whole requests. */
  write(requests: Buffer): void {
    // The batch's buffer is used again, and the pipe may be slow to take it.
    const bytes = Buffer.from(requests);
    const stdin = this.#helper?.stdin;
    // Each block by itself: together they would be cut anywhere, and so would be what the helper reads.
    const next = (at: number) => {
      if (at < bytes.length) stdin?.write(bytes.subarray(at, at + BLOCK_BYTES), () => next(at + BLOCK_BYTES));
    };
    next(0);
  }

  /** Asks for all flows. One dump at a time: what is asked meanwhile makes it begin again. */
  dump(): void {
    if (this.#dumping) this.#dumpInterrupted = true;
    if (this.#dumping || this.#helper === undefined) return;
    this.#dumping = true;
    this.#dumpInterrupted = false;
    this.#dumpSequence++;
    this.#events.onDumpBegin();
    this.#ownRequest.dump(this.#dumpSequence);
    this.write(this.#ownRequest.take());
    this.#dumpTimer = setTimeout(() => this.#end('the kernel does not list its flows', false), DUMP_MS);
  }

  /** Finds out how late events are read: an answer of the kernel queues behind them. One question at a time. */
  ask(nowMs: number): void {
    if (this.#askedMs !== undefined || this.#helper === undefined) return;
    this.#askedMs = nowMs;
    this.#ownRequest.nothing(ASK_SEQUENCE);
    this.write(this.#ownRequest.take());
  }

  /** A question waits for its answer. */
  get asks(): boolean {
    return this.#askedMs !== undefined;
  }

  /** How late events were read at the latest question, or are by now, in milliseconds. */
  delayMs(nowMs: number): number {
    return this.#askedMs === undefined ? this.#delayMs : Math.max(this.#delayMs, nowMs - this.#askedMs);
  }

  /** Ends the helper and begins with another one: its answers do not come. */
  restart(why: string): void {
    this.#end(why, true);
  }

  /** Until `open`. */
  stop(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#dumpTimer);
    this.#dumping = false;
    this.#askedMs = undefined;
    this.#delayMs = 0;
    this.#helper?.kill('SIGKILL');
    this.#helper = undefined;
  }

  close(): void {
    this.#closed = true;
    this.stop();
  }

  #listen(helper: Helper, startedMs: number): void {
    const stream = new NetlinkStream();
    let errors = '';
    const mine = () => this.#helper === helper;
    helper.stdin.on('error', () => {});
    // Its pause holds back the helper; that of a child's own output does not before 64 KiB.
    let output: Socket | undefined;
    adopt(helper.stdout as Socket, (socket) => {
      output = socket.on('error', () => {});
      return {
        onBytes: (buffer, length) => {
          if (length < FEW_BYTES) {
            socket.pause();
            setTimeout(() => socket.resume(), GATHER_MS);
          }
          try {
            stream.push(buffer.subarray(0, length), (bytes, at, end) => {
              if (mine()) this.#receive(bytes, at, end);
            });
          } catch (error) {
            if (!(error instanceof NetlinkError)) throw error;
            if (mine()) this.#end(error.message, true);
          }
        },
      };
    });
    output?.resume();
    helper.stderr.setEncoding('latin1').on('data', (text: string) => {
      errors = (errors + text).slice(0, MAX_ERROR_CHARS);
    });
    helper.once('error', (error: NodeJS.ErrnoException) => {
      if (!mine()) return;
      const missing = error.code === 'ENOENT';
      this.#end(missing ? `there is no program "${this.#program}"; install socat` : error.message, false);
    });
    // Not `exit`: what it wrote last, on either pipe, comes after that.
    helper.once('close', () => {
      output?.destroy();
      if (!mine()) return;
      if (performance.now() - startedMs >= WELL_AFTER_MS) this.#retryMs = MIN_RETRY_MS;
      if (/setsockopt/.test(errors) && this.#bufferOption === 0) {
        this.#bufferOption = 1;
        this.#reopen();
      } else this.#end(causeOf(errors), /No buffer space/.test(errors));
    });
  }

  #receive(bytes: Buffer, at: number, end: number): void {
    const type = bytes.readUInt16LE(at + 4);
    const flags = bytes.readUInt16LE(at + 6);
    if (type === MESSAGE.new) {
      if (flags & FLAG.multi && flags & FLAG.interrupted) this.#dumpInterrupted = true;
      this.#events.onFlow(bytes, at, end, (flags & FLAG.multi) !== 0);
    } else if (type === MESSAGE.delete) this.#events.onGone(bytes, at, end);
    else if (type === MESSAGE.done) this.#dumped((flags & FLAG.interrupted) !== 0);
    else if (type === MESSAGE.error && end - at >= 20) this.#answer(bytes, at);
  }

  #answer(bytes: Buffer, at: number): void {
    const error = -bytes.readInt32LE(at + 16);
    const sequence = bytes.readUInt32LE(at + 8);
    if (sequence === ASK_SEQUENCE) this.#asked();
    else if (sequence !== this.#dumpSequence) this.#events.onAnswer(sequence, error);
    else if (error !== 0) this.#end(`the kernel does not list its flows: error ${error}`, false);
  }

  #asked(): void {
    if (this.#askedMs !== undefined) this.#delayMs = monotonicMs() - this.#askedMs;
    this.#askedMs = undefined;
  }

  #dumped(interrupted: boolean): void {
    if (!this.#dumping) return;
    this.#dumping = false;
    clearTimeout(this.#dumpTimer);
    // The table was resized, or another dump asked for: flows may be missing.
    if (interrupted || this.#dumpInterrupted) this.dump();
    else this.#events.onDumpEnd();
  }

  /** Without a word: only the size of the buffer was refused. */
  #reopen(): void {
    this.stop();
    this.open();
  }

  #end(why: string, lost: boolean): void {
    const helper = this.#helper;
    this.#helper = undefined;
    this.#dumping = false;
    this.#askedMs = undefined;
    this.#delayMs = 0;
    clearTimeout(this.#dumpTimer);
    helper?.kill('SIGKILL');
    if (this.#closed) return;
    this.#events.onDown(why, lost);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.open(), lost ? MIN_RETRY_MS : this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
  }
}

/** What the helper's last words mean for an operator. */
function causeOf(errors: string): string {
  if (/No buffer space/.test(errors)) return 'events of the kernel came faster than they were read';
  if (/Operation not permitted|Permission denied/.test(errors))
    return 'the kernel does not let this process see its flows: it needs CAP_NET_ADMIN';
  const last = errors.trim().split('\n').at(-1) ?? '';
  return last === '' ? 'socat ended' : `socat ended: ${last.replace(/^.*socat\[\d+\] /, '')}`;
}
