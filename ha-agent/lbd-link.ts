import { createConnection, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import {
  type AgentLiveMessage,
  type FinishPhase,
  type HeartbeatCarriage,
  type LbdLiveMessage,
  MAX_HEARTBEAT_BYTES,
  MAX_LIVE_WHY_CHARS,
  type Role,
  SOCKETS,
  type SyncStatus,
} from '../common/control.ts';
import { messageOf } from '../common/errors.ts';
import { monotonicMs } from '../common/events.ts';
import { shortPrintable } from '../common/printable.ts';
import type { LbdReport } from './election-types.ts';
import { ProcessState } from './process-state.ts';

/** A turn of the timer. In each `lbd` must say something; where it said nothing by itself, it is asked. */
const TURN_MS = 50;
/**
 * `lbd` said nothing in so many turns: it is late, or it is stopped and with it all that it serves. Turns are counted, not
 * time: when this process itself was late, `lbd` may have been so too. Seen from its last word it takes 350 to 400 ms.
 */
const MISSES = 7;
/**
 * One that is late may be busy, or wait for a processor, while its workers serve: a takeover would cost more than it mends.
 * After so many turns it hangs.
 */
const HUNG_MISSES = 40;
const RECONNECT_MS = 100;
/**
 * An `lbd` of the last release names all its pools in a reason: up to 2,048 backends, so as many pools, with names of 64
 * characters.
 */
const MAX_LINE_CHARS = 256 * 1024;
const SYNC_STATES: readonly SyncStatus['state'][] = ['off', 'connecting', 'snapshot', 'synced'];

/** What `lbd` says of itself; `connections` by VIP group. */
export type LinkReport = Omit<LbdReport, 'connections'> & {
  readonly connections?: Readonly<Record<string, number>> | undefined;
};

export interface LbdLinkEvents {
  /** The state of `lbd` changed, or was learnt for the first time. */
  onReport(report: LinkReport): void;
  /** The session sync with the peer ended: its `lbd` may be dead, or its whole machine. */
  onSyncEnd(why: string): void;
  onPromoted(group: string, epoch: number): void;
  onRetired(group: string, epoch: number): void;
  /** A datagram came that the peer's agent is said to have sent. @param ageMs since it reached this machine */
  onHeartbeat?(datagram: Buffer, ageMs: number): void;
  /** Whether heartbeats can be carried, or why not, changed. */
  onCarriage?(carriage: HeartbeatCarriage): void;
  /** It does not answer, but is not taken for dead yet, or it answers again. */
  onLate(text: string): void;
  /** Whether it is stopped or late cannot be told, and why. */
  onUnseen?(why: string): void;
}

/**
 * The agent's end of `lbd-live.sock`. The end of the connection proves that `lbd` is dead, at once; a ping that is not
 * answered, that it is stopped or hangs. Then the connection stays: `lbd` answers that ping when it goes on. Reconnects for
 * ever.
 */
export class LbdLink {
  readonly #path: string;
  readonly #events: LbdLinkEvents;
  #socket: Socket | undefined;
  readonly #roles = new Map<string, AgentLiveMessage>();
  #report: LinkReport | undefined;
  #rest = '';
  /** The latest state, as it came: it comes again and again, with the answer to each ping. */
  #stateLine = '';
  #state: LbdLiveMessage | undefined;
  #sync: SyncStatus['state'] = 'off';
  #pings = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Turns of the timer in which `lbd` said nothing; undefined: it has said something in the current one. */
  #misses: number | undefined;
  /** The latest report, where it is late since then. */
  #onTime: LinkReport | undefined;
  readonly #process: ProcessState;
  #pid: number | undefined;
  /** What `lbd` said of carrying heartbeats; undefined: nothing, so it is of a former release, or not connected. */
  #carriage: HeartbeatCarriage | undefined;
  #closed = false;

  /** @param proc see `ProcessState` */
  constructor(path: string, events: LbdLinkEvents, proc?: string) {
    this.#path = path;
    this.#events = events;
    const statPath = join(dirname(path), basename(SOCKETS.stat));
    this.#process = new ProcessState(statPath, (why) => events.onUnseen?.(why), proc);
  }

  /** What is in the way of telling a late `lbd` from a stopped one, a line each. */
  get warnings(): readonly string[] {
    return this.#process.warnings;
  }

  /** The latest state; undefined before the first attempt to connect ended. */
  get report(): LinkReport | undefined {
    return this.#report;
  }

  /** Whether heartbeats can be carried to the peer, and why not. */
  get carriage(): HeartbeatCarriage {
    if (this.#carriage !== undefined) return this.#carriage;
    const why =
      this.#pid === undefined ? 'lbd is not connected' : 'lbd is an older release, or syncs no sessions';
    return { up: false, why };
  }

  /**
   * Has `lbd` carry a heartbeat to the peer's agent: at once or not at all.
   *
   * @param datagram 1 to `MAX_HEARTBEAT_BYTES`
   * @returns whether it was handed over
   */
  carry(datagram: Buffer): boolean {
    const socket = this.#socket;
    if (socket?.readyState !== 'open' || socket.writableLength > 0 || this.#carriage?.up !== true)
      return false;
    this.#send({ type: 'heartbeat', data: datagram.toString('base64'), at: monotonicMs() });
    return true;
  }

  connect(): void {
    if (this.#closed) return;
    this.#process.expect();
    const socket = createConnection(this.#path);
    this.#socket = socket;
    this.#rest = '';
    let why = 'its liveness socket was closed';
    socket.setEncoding('utf8');
    socket.on('connect', () => {
      for (const role of this.#roles.values()) this.#send(role);
      this.#watch();
    });
    socket.on('data', (chunk: string) => {
      try {
        this.#receive(chunk);
      } catch (error) {
        why = `it does not speak the liveness protocol: ${messageOf(error)}`;
        socket.destroy();
      }
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      why = causeOf(error);
    });
    socket.on('close', () => {
      if (this.#socket === socket) this.#lost(why);
    });
  }

  /** Tells `lbd` the role of a VIP group, now and after every reconnect. */
  tell(group: string, role: Role, epoch: number, finishing?: FinishPhase): void {
    const message = { type: 'role', group, role, epoch, finishing } as const;
    this.#roles.set(group, message);
    if (this.#socket?.readyState === 'open') this.#send(message);
  }

  /** The group is no longer in the config. */
  forget(group: string): void {
    this.tell(group, 'init', 0);
    this.#roles.delete(group);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
    this.#process.follow(undefined);
  }

  #receive(chunk: string): void {
    // As it mostly is.
    if (this.#rest === '' && chunk !== '' && chunk.indexOf('\n') === chunk.length - 1) {
      this.#handle(this.#read(chunk));
      return;
    }
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > MAX_LINE_CHARS)
      throw new Error(`a line has more than ${MAX_LINE_CHARS} characters`);
    for (const line of lines) this.#handle(this.#read(line));
  }

  #read(line: string): LbdLiveMessage {
    if (this.#state !== undefined && line === this.#stateLine) return this.#state;
    const message = parseLine(line);
    if (message.type === 'state') {
      this.#state = message;
      this.#stateLine = line;
    }
    return message;
  }

  #handle(message: LbdLiveMessage): void {
    // Whatever it says, it is there; with the misses of before it could not be missed a second time.
    const misses = this.#misses ?? 0;
    this.#misses = undefined;
    if (this.#onTime !== undefined) this.#answersAgain(this.#onTime, misses);
    if (message.type === 'heartbeat') {
      const datagram = Buffer.from(message.data, 'base64');
      this.#events.onHeartbeat?.(datagram, monotonicMs() - message.at);
    } else if (message.type === 'promoted') this.#events.onPromoted(message.group, message.epoch);
    else if (message.type === 'retired') this.#events.onRetired(message.group, message.epoch);
    else if (message.type === 'state') {
      if (message.sync === 'connecting' && (this.#sync === 'synced' || this.#sync === 'snapshot'))
        this.#events.onSyncEnd('the session sync with it ended');
      this.#sync = message.sync;
      const synced = message.sync === 'synced' || message.sync === 'off';
      const { ready, healthy, why, stopping, connections, serving } = message;
      this.#identify(message.pid, message.heartbeats);
      // One that is stopping still serves: whether it has backends is another question than how long it will last.
      const serves = healthy && (ready || stopping === true);
      // With no worker that answers it is as good as dead, however well its main thread is.
      this.#set({ alive: serving !== false, ready, healthy: serves, synced, why, stopping, connections });
    }
  }

  /** One ping for each silence, after its first turn: with the next one the answer mostly saves asking again. */
  #watch(): void {
    this.#misses = undefined;
    this.#timer = setInterval(() => {
      // After a pause of this process the answer may be there, but not read yet.
      setImmediate(() => this.#turn());
    }, TURN_MS);
  }

  #turn(): void {
    if (this.#socket?.readyState !== 'open') return;
    this.#process.turn();
    if (this.#misses === undefined) this.#misses = 0;
    else if (++this.#misses === 1) this.#send({ type: 'ping', id: ++this.#pings });
    else if (this.#misses >= MISSES) this.#missed(this.#misses);
  }

  #missed(misses: number): void {
    if (this.#report?.alive === false) return;
    if (this.#process.canGoOn() !== true) this.#dead(`it did not answer within ${MISSES * TURN_MS} ms`);
    else if (misses >= HUNG_MISSES)
      this.#dead(`it runs, but did not answer within ${HUNG_MISSES * TURN_MS} ms`);
    else if (this.#onTime === undefined && this.#report !== undefined) {
      const why = `it runs, but has not answered for ${MISSES * TURN_MS} ms`;
      this.#onTime = this.#report;
      this.#set({ ...this.#report, why });
      this.#events.onLate(why);
    }
  }

  #answersAgain(before: LinkReport, misses: number): void {
    this.#onTime = undefined;
    if (this.#report?.alive !== true) return;
    this.#set(before);
    this.#events.onLate(`it answers again, after ${misses * TURN_MS} ms`);
  }

  #lost(why: string): void {
    clearInterval(this.#timer);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
    this.#identify(undefined, undefined);
    if (this.#closed) return;
    this.#dead(why);
    this.#timer = setTimeout(() => this.connect(), RECONNECT_MS);
  }

  /** Which process it is, and what it can do beside its work. */
  #identify(pid: number | undefined, carriage: HeartbeatCarriage | undefined): void {
    const before = this.carriage;
    this.#pid = pid;
    this.#process.follow(pid);
    this.#carriage = carriage;
    const now = this.carriage;
    if (before.up !== now.up || before.why !== now.why) this.#events.onCarriage?.(now);
  }

  #dead(why: string): void {
    this.#onTime = undefined;
    this.#set({ alive: false, ready: false, healthy: false, synced: false, why });
  }

  #set(report: LinkReport): void {
    const before = this.#report;
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(report)) return;
    this.#report = report;
    this.#events.onReport(report);
  }

  #send(message: AgentLiveMessage): void {
    this.#socket?.write(`${JSON.stringify(message)}\n`);
  }
}

function causeOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') return 'it does not run';
  if (error.code === 'ECONNRESET' || error.code === 'EPIPE') return 'its liveness socket was closed';
  if (error.code === 'EACCES') return 'no permission for its liveness socket';
  return messageOf(error);
}

function parseLine(line: string): LbdLiveMessage {
  const value: unknown = JSON.parse(line);
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const { type, id, data, at, group, epoch } = fields;
  if (type === 'pong' && typeof id === 'number') return { type, id };
  if (type === 'heartbeat' && isDatagram(data) && typeof at === 'number') return { type, data, at };
  if ((type === 'promoted' || type === 'retired') && typeof group === 'string' && typeof epoch === 'number')
    return { type, group, epoch };
  const { ready, healthy, sync, why, stopping, connections, serving, pid, heartbeats } = fields;
  const state = SYNC_STATES.find((name) => name === sync);
  if (type !== 'state' || typeof ready !== 'boolean' || typeof healthy !== 'boolean' || state === undefined)
    throw new Error(`unexpected message ${JSON.stringify(value).slice(0, 80)}`);
  return {
    type,
    ready,
    healthy,
    sync: state,
    why: reasonOf(why),
    stopping: stopping === true,
    connections: countsOf(connections),
    serving: serving !== false,
    pid: Number.isSafeInteger(pid) && (pid as number) > 0 ? (pid as number) : undefined,
    heartbeats: carriageOf(heartbeats),
  };
}

function isDatagram(data: unknown): data is string {
  return typeof data === 'string' && Buffer.byteLength(data, 'base64') <= MAX_HEARTBEAT_BYTES;
}

function carriageOf(value: unknown): HeartbeatCarriage | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { up, why } = value as Record<string, unknown>;
  return { up: up === true, why: reasonOf(why) };
}

function reasonOf(value: unknown): string {
  return typeof value === 'string' ? shortPrintable(value, MAX_LIVE_WHY_CHARS) : '';
}

function countsOf(value: unknown): Readonly<Record<string, number>> | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.fromEntries(Object.entries(value).filter(([, count]) => typeof count === 'number'));
}
