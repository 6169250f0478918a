import type { TLSSocket } from 'node:tls';
import { MAX_HEARTBEAT_BYTES } from '../../common/control.ts';
import { messageOf } from '../../common/errors.ts';
import { TokenBucket } from '../../common/token-bucket.ts';
import { monotonicMs } from './memory.ts';

/** Bytes before a datagram: its length. A length of zero acknowledges the oldest datagram that was not acknowledged. */
const HEAD_BYTES = 2;
const ACKNOWLEDGEMENT = Buffer.alloc(HEAD_BYTES);
/** The peer has not acknowledged for so long: what is still on its way would only come late. */
const STALL_MS = 1000;
const REDIAL_MS = 500;
/** More datagrams a second than any config needs; the rest of a flood is thrown away. */
const RATE = { perSecond: 2000, burst: 200 } as const;
/** The end of a link that nobody uses is found out in some ten seconds. */
const KEEP_ALIVE_MS = 1000;

export interface HeartbeatLinkOptions {
  /** Begins a connection for heartbeats; undefined on the node that waits for it. */
  readonly dial: (() => TLSSocket) | undefined;
  /** Name of the other node. */
  readonly peer: string;
  /** Age from which a heartbeat is of no use any more: the interval between two. Milliseconds. */
  maxAgeMs(): number;
  /** A datagram of the peer's agent. Nobody has judged it yet. */
  onHeartbeat(datagram: Buffer): void;
  /** `why` changed. */
  onState(): void;
}

/**
 * Carries the agents' heartbeats beside the session sync, over a TCP connection of its own with the same keys: so they
 * never wait behind a snapshot. Nothing waits for anybody: while the peer has not acknowledged what is older than an
 * interval, newer ones are dropped, so that no old ones pile up on the way. The datagrams are signed from agent to agent;
 * this link can lose them, but not make them.
 */
export class HeartbeatLink {
  readonly #options: HeartbeatLinkOptions;
  #socket: TLSSocket | undefined;
  #dialing: TLSSocket | undefined;
  #redial: NodeJS.Timeout | undefined;
  #watch: NodeJS.Timeout | undefined;
  #wanted = false;
  #why = 'no session sync yet';
  /** When each datagram left that the peer has not acknowledged. */
  readonly #onTheirWay: number[] = [];
  #rest: Buffer = Buffer.alloc(0);
  readonly #sending = new TokenBucket(RATE);
  readonly #receiving = new TokenBucket(RATE);

  constructor(options: HeartbeatLinkOptions) {
    this.#options = options;
  }

  /** Why no heartbeat can be carried; undefined while they are. */
  get why(): string | undefined {
    return this.#socket === undefined ? this.#why : undefined;
  }

  /** The session sync is up. @param offered whether the peer carries heartbeats: the last release does not */
  begin(offered: boolean): void {
    this.#wanted = offered;
    if (offered) this.#dial();
    else this.#drop(`lbd of ${this.#options.peer} does not carry heartbeats: it is an older release`);
  }

  /** The session sync is down: what is connected stays for as long as it works, but is not begun anew. */
  pause(why: string): void {
    this.#wanted = false;
    clearTimeout(this.#redial);
    this.#redial = undefined;
    this.#note(why);
  }

  close(): void {
    this.pause('closed');
    this.#dialing?.destroy();
    this.#drop('closed');
  }

  /** A connection for heartbeats whose end has proved that it is the peer. It replaces the former one. */
  adopt(socket: TLSSocket): void {
    this.#drop('replaced by a new connection');
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    let why = `${this.#options.peer} closed the connection for heartbeats`;
    socket.on('error', (error) => {
      why = `connection for heartbeats: ${messageOf(error)}`;
    });
    socket.on('data', (chunk: Buffer) => {
      if (this.#socket === socket) this.#receive(chunk);
    });
    socket.once('close', () => {
      if (this.#socket === socket) this.#drop(why);
    });
    this.#options.onState();
  }

  /**
   * Sends a datagram at once or drops it.
   *
   * @param datagram 1 to `MAX_HEARTBEAT_BYTES`
   * @returns whether it is on its way
   */
  send(datagram: Uint8Array): boolean {
    const socket = this.#socket;
    const nowMs = monotonicMs();
    const [oldestMs = nowMs] = this.#onTheirWay;
    if (socket === undefined || socket.writableLength > 0) return false;
    if (nowMs - oldestMs > this.#options.maxAgeMs() || !this.#sending.take(nowMs)) return false;
    this.#onTheirWay.push(nowMs);
    this.#watch ??= setTimeout(() => this.#look(), STALL_MS);
    const frame = Buffer.allocUnsafe(HEAD_BYTES + datagram.length);
    frame.writeUInt16BE(datagram.length);
    frame.set(datagram, HEAD_BYTES);
    socket.write(frame);
    return true;
  }

  #look(): void {
    this.#watch = undefined;
    const [oldestMs] = this.#onTheirWay;
    if (oldestMs === undefined) return;
    const nowMs = monotonicMs();
    if (nowMs - oldestMs >= STALL_MS)
      this.#drop(`lbd of ${this.#options.peer} has acknowledged no heartbeat for ${STALL_MS} ms`);
    else this.#watch = setTimeout(() => this.#look(), STALL_MS - (nowMs - oldestMs));
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (this.#socket !== undefined && bytes.length - at >= HEAD_BYTES) {
      const length = bytes.readUInt16BE(at);
      if (length > MAX_HEARTBEAT_BYTES) {
        this.#drop(`${this.#options.peer} sent a heartbeat of ${length} bytes`);
        return;
      }
      if (bytes.length - at < HEAD_BYTES + length) break;
      if (length === 0) this.#acknowledged();
      else this.#take(bytes.subarray(at + HEAD_BYTES, at + HEAD_BYTES + length));
      at += HEAD_BYTES + length;
    }
    // Less than one datagram: a copy, so that it does not hold on to the whole chunk.
    this.#rest = Buffer.from(bytes.subarray(at));
  }

  #take(datagram: Buffer): void {
    const socket = this.#socket!;
    // A peer that does not read its acknowledgements gets no more of them, and so cannot fill the memory.
    if (socket.writableLength <= MAX_HEARTBEAT_BYTES) socket.write(ACKNOWLEDGEMENT);
    if (this.#receiving.take(monotonicMs())) this.#options.onHeartbeat(datagram);
  }

  #acknowledged(): void {
    if (this.#onTheirWay.shift() === undefined)
      this.#drop(`${this.#options.peer} acknowledged a heartbeat that was not sent`);
  }

  #dial(): void {
    const { dial, peer } = this.#options;
    if (dial === undefined) return;
    clearTimeout(this.#redial);
    this.#redial = undefined;
    if (this.#dialing !== undefined || this.#socket !== undefined) return;
    const socket = dial();
    this.#dialing = socket;
    let why = `no connection for heartbeats to ${peer}`;
    socket.on('error', (error) => {
      why = `no connection for heartbeats to ${peer}: ${messageOf(error)}`;
    });
    socket.once('secureConnect', () => {
      this.#dialing = undefined;
      if (this.#wanted) this.adopt(socket);
      else socket.destroy();
    });
    socket.once('close', () => {
      if (this.#dialing !== socket) return;
      this.#dialing = undefined;
      this.#note(why);
      this.#dialLater();
    });
  }

  #dialLater(): void {
    if (!this.#wanted || this.#options.dial === undefined || this.#redial !== undefined) return;
    this.#redial = setTimeout(() => this.#dial(), REDIAL_MS * (0.5 + Math.random() / 2));
  }

  #drop(why: string): void {
    clearTimeout(this.#watch);
    this.#watch = undefined;
    this.#onTheirWay.length = 0;
    this.#rest = Buffer.alloc(0);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
    this.#note(why, socket !== undefined);
    this.#dialLater();
  }

  #note(why: string, wasUp = false): void {
    const changed = wasUp || (this.#socket === undefined && why !== this.#why);
    this.#why = why;
    if (changed) this.#options.onState();
  }
}
