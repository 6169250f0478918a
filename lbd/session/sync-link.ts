import { randomBytes } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { HeartbeatCarriage, SyncStatus } from '../../common/control.ts';
import type { Logger } from '../../common/logger.ts';
import type { Keys } from '../../common/secret.ts';
import { HeartbeatLink, type HeartbeatLinkOptions } from './heartbeat-link.ts';
import { KeyRing, type SyncPurpose, type TlsEnds } from './key-ring.ts';
import { monotonicMs } from './memory.ts';
import type { Registers } from './registers.ts';
import type { SyncCompanion, TicketSharing } from './sync-companion.ts';
import { SyncProtocol } from './sync-protocol.ts';
import { dialTls, listenTls, type SyncListener, tlsCause } from './sync-tls.ts';
import type { SessionTable } from './table.ts';

/** How often changes are taken from the workers while there are any. The first one after a rest is taken at once. */
const TICK_MS = 4;
/** A look at the link, while nothing is due. An idle machine, above all an emulated one, is to be left asleep. */
const REST_MS = 250;
/** The main thread also answers probes and health checks, so sync gives way after so long. */
const SLICE_MS = 4;
const MIN_REDIAL_MS = 50;
const MAX_REDIAL_MS = 500;
/** A refused peer reads why before the socket goes. */
const LINGER_MS = 500;
/** A link that held so long was well: the next dial comes soon. */
const WELL_AFTER_MS = 5000;
/** What was refused is shown in the status for so long. */
const SHOWN_MS = 60_000;

/** Something that happened again and again. */
interface Refusals {
  count: number;
  atMs: number;
  /** The latest one. */
  text: string;
}

const CROWDED = 'too many strangers come to the port: for a moment the kernel drops most of them';

export interface SessionSyncOptions {
  readonly table: SessionTable;
  readonly registers: Registers;
  readonly self: { readonly name: string; readonly address: string };
  readonly peer: { readonly name: string; readonly address: string };
  /** Where the node with the higher name listens; 0 lets the system choose. */
  readonly port: number;
  /** Where the peer listens, if not at `port`. */
  readonly peerPort?: number;
  /** Derived from the cluster's secrets. */
  readonly keys: Keys;
  readonly cluster: string;
  readonly log: Logger;
  /** Flow sync of the kernel engine. */
  readonly companion?: SyncCompanion | undefined;
  readonly tickets?: TicketSharing | undefined;
  /** What the agents' heartbeats that travel beside it are for; undefined: they do not. */
  readonly heartbeats?: Pick<HeartbeatLinkOptions, 'maxAgeMs' | 'onHeartbeat' | 'onState'> | undefined;
  /** Called when `state` or `why` of the status changed. */
  onStatus?(): void;
}

/**
 * Keeps this node's session table and registers in step with the peer's, over one TCP connection with
 * TLS-PSK. The node whose name sorts first dials, the other one listens. All on the caller's thread, in
 * slices of a few milliseconds.
 */
export class SessionSync {
  readonly #options: SessionSyncOptions;
  readonly #ends: TlsEnds;
  readonly #keyRing: KeyRing;
  readonly #dials: boolean;
  readonly #protocol: SyncProtocol;
  readonly #heartbeats: HeartbeatLink | undefined;
  #listener: SyncListener | undefined;
  #socket: TLSSocket | undefined;
  #dialing: TLSSocket | undefined;
  /** Refused, but not gone yet. */
  readonly #lingering = new Set<TLSSocket>();
  #redial: NodeJS.Timeout | undefined;
  #redialMs = MIN_REDIAL_MS;
  #ticker: NodeJS.Timeout | undefined;
  /** The next tick is more than `TICK_MS` away. */
  #resting = false;
  #tickDueMs = 0;
  /** The workers wake this thread when they change something. */
  #asleep = false;
  #pumpDue = false;
  #pumpQueued = false;
  #readQueued = false;
  /** Received, but not taken by the protocol yet. */
  #rest: Buffer | undefined;
  #closed = false;
  #linkedMs = 0;
  /** Why there is no link. */
  #why = '';
  /** Links that were dropped because of what the peer did, or because it refused this node. */
  readonly #breaches: Refusals = { count: 0, atMs: Number.NEGATIVE_INFINITY, text: '' };
  /** Connections from other addresses than the peer's. */
  readonly #strangers: Refusals = { count: 0, atMs: Number.NEGATIVE_INFINITY, text: '' };
  /** So many of them that the kernel drops most. */
  readonly #crowds: Refusals = { count: 0, atMs: Number.NEGATIVE_INFINITY, text: '' };
  #reported = '';
  readonly #waiting = new Set<() => void>();

  constructor(options: SessionSyncOptions) {
    const { self, peer } = options;
    this.#options = options;
    this.#dials = self.name < peer.name;
    this.#ends = {
      cluster: options.cluster,
      dialer: this.#dials ? self.name : peer.name,
      listener: this.#dials ? peer.name : self.name,
    };
    this.#keyRing = new KeyRing(this.#ends, options.keys);
    this.#protocol = new SyncProtocol({
      table: options.table,
      registers: options.registers,
      cluster: options.cluster,
      node: self.name,
      peer: peer.name,
      boot: randomBytes(8).toString('hex'),
      companion: options.companion,
      tickets: options.tickets,
      heartbeats: options.heartbeats !== undefined,
      onGreeted: (heartbeats) => this.#heartbeats?.begin(heartbeats),
    });
    this.#heartbeats =
      options.heartbeats &&
      new HeartbeatLink({
        ...options.heartbeats,
        peer: peer.name,
        dial: this.#dials ? () => this.#connect('heartbeats') : undefined,
      });
    if (options.companion !== undefined) options.companion.onNews = () => this.#bringForward();
  }

  /** The port that it listens on; undefined on the dialling node and before `start`. */
  get port(): number | undefined {
    return this.#listener?.port;
  }

  /**
   * Begins to listen or to dial. Does not wait for the peer.
   *
   * @throws OperatorError where the port cannot be bound
   */
  async start(): Promise<void> {
    const { self, peer, port } = this.#options;
    this.#why = `waiting for ${peer.name}`;
    if (!this.#dials)
      this.#listener = await listenTls(this.#ends, this.#keyRing, self.address, port, peer.address, {
        onSocket: (socket, purpose) => this.#accept(socket, purpose),
        onRefused: (cause, stranger) =>
          stranger === undefined ? this.#refused(cause) : this.#noteStranger(stranger, cause),
        onCrowded: (trouble) => this.#noteCrowd(trouble),
      });
    this.#options.registers.onChange(() => this.#pumpSoon());
    this.#tick();
    if (this.#dials) this.#dial();
  }

  status(): SyncStatus {
    const status = this.#protocol.status(monotonicMs());
    return status.state === 'connecting' ? { ...status, why: this.#why } : status;
  }

  /** How the agents' heartbeats travel; undefined where they do not. */
  get carriage(): HeartbeatCarriage | undefined {
    const link = this.#heartbeats;
    return link && { up: link.why === undefined, why: link.why ?? '' };
  }

  /** Carries a heartbeat to the peer, at once or not at all. @returns whether it is on its way */
  carry(datagram: Uint8Array): boolean {
    return this.#heartbeats?.send(datagram) ?? false;
  }

  /** Other keys, such as after the secret was replaced. The link that is there stays. */
  rekey(keys: Keys): void {
    this.#keyRing.replace(keys);
  }

  /** The secrets of session tickets are others now: tells the peer. */
  ticketsChanged(): void {
    this.#protocol.ticketsChanged();
    this.#pumpSoon();
  }

  /** What was refused or dropped lately, one line each. */
  warnings(): string[] {
    const nowMs = monotonicMs();
    const recent = ({ atMs }: Refusals) => nowMs - atMs < SHOWN_MS;
    const lines: string[] = [];
    if (recent(this.#breaches)) {
      const { count, text, atMs } = this.#breaches;
      const age = Math.round((nowMs - atMs) / 1000);
      lines.push(
        `session sync: the link was dropped ${times(count)} since the start, the last time ${age} s ago: ${text}`,
      );
    }
    const { leftOut } = this.#options.registers;
    if (leftOut > 0)
      lines.push(
        `session sync: ${leftOut} registers of ${this.#options.peer.name} about backends that this config does not have were left out`,
      );
    if (recent(this.#strangers)) {
      const { count, text } = this.#strangers;
      lines.push(`session sync: strangers at the port were refused ${times(count)}, the last one: ${text}`);
    }
    if (recent(this.#crowds)) lines.push(`session sync: ${this.#crowds.text}`);
    return lines;
  }

  /** Waits until the peer has acknowledged every change up to now. @returns false when time ran out */
  flush(timeoutMs: number): Promise<boolean> {
    const mark = this.#protocol.mark(monotonicMs());
    if (this.#protocol.reached(mark)) return Promise.resolve(true);
    return new Promise((resolve) => {
      const finish = (reached: boolean) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve(reached);
      };
      const check = () => {
        if (this.#protocol.reached(mark)) finish(true);
        else if (this.#closed) finish(false);
      };
      const timer = setTimeout(() => finish(false), timeoutMs);
      this.#waiting.add(check);
      this.#pump();
    });
  }

  /** Drops the link and stops. What the peer has not acknowledged yet is lost to it: `flush` first. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#ticker);
    this.#options.table.changes.wake();
    clearTimeout(this.#redial);
    this.#dialing?.destroy();
    for (const socket of this.#lingering) socket.destroy();
    this.#drop('closed');
    this.#heartbeats?.close();
    for (const check of [...this.#waiting]) check();
    await this.#listener?.close();
  }

  #tick(): void {
    if (this.#closed) return;
    this.#resting = false;
    const taken = this.#protocol.tick(monotonicMs());
    this.#pump();
    this.#schedule(taken > 0 ? 0 : this.#protocol.idleMs(monotonicMs()));
  }

  /** Sets the time of the next tick, which a change brings forward. */
  #schedule(idleMs: number): void {
    if (this.#closed) return;
    clearTimeout(this.#ticker);
    this.#resting = idleMs > TICK_MS && this.#sleep();
    const waitMs = this.#resting ? Math.min(idleMs, REST_MS) : TICK_MS;
    this.#tickDueMs = monotonicMs() + waitMs;
    this.#ticker = setTimeout(() => this.#tick(), waitMs);
  }

  /** Something may be due before the next tick. Called for each flow that changes. */
  #bringForward(): void {
    if (!this.#resting) return;
    const nowMs = monotonicMs();
    const idleMs = this.#protocol.idleMs(nowMs);
    if (nowMs + idleMs < this.#tickDueMs - TICK_MS) this.#schedule(idleMs);
  }

  /** @returns false: there are changes */
  #sleep(): boolean {
    if (this.#asleep) return true;
    const woken = this.#options.table.changes.sleep();
    if (woken === undefined) return false;
    this.#asleep = true;
    void woken.then(() => {
      this.#asleep = false;
      this.#tick();
    });
    return true;
  }

  /** For several registers that change one after the other. */
  #pumpSoon(): void {
    if (this.#pumpDue) return;
    this.#pumpDue = true;
    setImmediate(() => {
      this.#pumpDue = false;
      if (!this.#closed) this.#pump();
    });
  }

  #dial(): void {
    if (this.#closed) return;
    const { peer } = this.#options;
    const socket = this.#connect('sessions');
    this.#dialing = socket;
    let cause = `no link to ${peer.name}: closed during the handshake`;
    socket.on('error', (error) => {
      cause = tlsCause(error, peer.name);
    });
    socket.once('secureConnect', () => {
      this.#dialing = undefined;
      this.#adopt(socket);
    });
    socket.once('close', () => {
      if (this.#dialing === socket) {
        this.#dialing = undefined;
        this.#refused(cause);
      }
      if (this.#closed) return;
      // Jitter, so that dialling never falls into step with whatever else repeats.
      this.#redial = setTimeout(() => this.#dial(), this.#redialMs * (0.5 + Math.random() / 2));
      this.#redialMs = Math.min(this.#redialMs * 2, MAX_REDIAL_MS);
    });
  }

  #connect(purpose: SyncPurpose): TLSSocket {
    const { self, peer, port, peerPort } = this.#options;
    return dialTls(this.#keyRing, peer.address, peerPort ?? port, self.address, purpose);
  }

  #accept(socket: TLSSocket, purpose: SyncPurpose): void {
    if (purpose === 'sessions') this.#adopt(socket);
    else if (this.#heartbeats === undefined || this.#closed) socket.destroy();
    else this.#heartbeats.adopt(socket);
  }

  /** An authenticated connection replaces the former one: the peer has started again or lost its end. */
  #adopt(socket: TLSSocket): void {
    if (this.#closed) {
      socket.destroy();
      return;
    }
    this.#drop('replaced by a new connection');
    this.#socket = socket;
    this.#rest = undefined;
    this.#linkedMs = monotonicMs();
    this.#protocol.connect(this.#linkedMs);
    socket.setNoDelay(true);
    let cause = `${this.#options.peer.name} closed the link`;
    socket.on('error', (error) => {
      cause = tlsCause(error, this.#options.peer.name);
    });
    socket.on('readable', () => {
      if (!this.#readQueued) this.#read(socket);
    });
    socket.on('drain', () => this.#pump());
    socket.once('close', () => {
      if (this.#socket === socket) this.#drop(cause);
    });
    this.#pump();
  }

  #drop(cause: string): void {
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = undefined;
    const failure = this.#protocol.failure;
    if (failure !== undefined) note(this.#breaches, failure);
    if (monotonicMs() - this.#linkedMs >= WELL_AFTER_MS) this.#redialMs = MIN_REDIAL_MS;
    this.#protocol.disconnect();
    this.#heartbeats?.pause(`the session sync ended: ${failure ?? cause}`);
    socket.end();
    if (failure === undefined || this.#closed) socket.destroy();
    else this.#linger(socket);
    this.#refused(failure ?? cause);
  }

  #linger(socket: TLSSocket): void {
    const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
    this.#lingering.add(socket);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#lingering.delete(socket);
    });
  }

  #refused(cause: string): void {
    // While a link is up, a stranger at the port is no news.
    if (this.#socket || this.#closed) return;
    this.#why = cause;
    this.#report();
  }

  #noteCrowd(trouble: string | undefined): void {
    const first = monotonicMs() - this.#crowds.atMs >= SHOWN_MS;
    note(this.#crowds, trouble === undefined ? CROWDED : `${CROWDED}, but cannot: ${trouble}`);
    if (first) this.#options.log.warn(`session sync: ${this.#crowds.text}`);
  }

  #noteStranger(address: string, cause: string): void {
    const first = monotonicMs() - this.#strangers.atMs >= SHOWN_MS;
    note(this.#strangers, `${address}, ${cause}`);
    if (!first) return;
    this.#options.log.warn({ address, cause }, 'session sync: a stranger at the port was refused');
  }

  #read(socket: TLSSocket): void {
    const untilMs = monotonicMs() + SLICE_MS;
    while (this.#socket === socket) {
      const chunk: Buffer | null = this.#rest ?? socket.read();
      this.#rest = undefined;
      if (chunk === null) break;
      const nowMs = monotonicMs();
      const taken = this.#protocol.receive(chunk, nowMs);
      if (this.#protocol.failure !== undefined) break;
      if (taken < chunk.length) this.#rest = chunk.subarray(taken);
      if (monotonicMs() < untilMs) continue;
      if (!this.#readQueued) {
        this.#readQueued = true;
        setImmediate(() => {
          this.#readQueued = false;
          if (this.#socket) this.#read(this.#socket);
        });
      }
      break;
    }
    if (this.#socket === socket) this.#pump();
  }

  #pump(): void {
    const socket = this.#socket;
    if (socket && !this.#pumpQueued) this.#send(socket);
    if (this.#protocol.failure !== undefined) this.#drop(this.#protocol.failure);
    for (const check of [...this.#waiting]) check();
    this.#report();
    // What came may have made something due.
    if (this.#resting) this.#schedule(this.#protocol.idleMs(monotonicMs()));
  }

  #send(socket: TLSSocket): void {
    const untilMs = monotonicMs() + SLICE_MS;
    while (!socket.writableNeedDrain) {
      const nowMs = monotonicMs();
      if (nowMs >= untilMs) {
        this.#pumpQueued = true;
        setImmediate(() => {
          this.#pumpQueued = false;
          this.#pump();
        });
        return;
      }
      const frame = this.#protocol.pull(nowMs);
      if (!frame) return;
      socket.write(frame);
    }
  }

  #report(): void {
    const { state, why } = this.status();
    const report = `${state}: ${why}`;
    if (report === this.#reported) return;
    this.#reported = report;
    const { log, peer } = this.#options;
    const data = { peer: peer.name, state, why };
    if (state === 'connecting') log.warn(data, `session sync: no link to ${peer.name}: ${why}`);
    else log.info(data, `session sync: ${state}${why && `, but ${why}`}`);
    this.#options.onStatus?.();
  }
}

function note(refusals: Refusals, text: string): void {
  refusals.count++;
  refusals.atMs = monotonicMs();
  refusals.text = text;
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}
