import { createConnection, type Socket } from 'node:net';
import type { AgentLiveMessage, FinishPhase, LbdLiveMessage, Role, SyncStatus } from '../common/control.ts';
import { messageOf } from '../common/errors.ts';
import type { LbdReport } from './election-types.ts';

/** `lbd` talks only when something changes, so silence is probed. Three heartbeats at their default interval. */
const SILENCE_MS = 300;
/** The control plane of `lbd` never blocks for long; no answer in this time means that it hangs. */
const PONG_MS = 300;
const RECONNECT_MS = 100;
const MAX_LINE_CHARS = 4096;
const SYNC_STATES: readonly SyncStatus['state'][] = ['off', 'connecting', 'snapshot', 'synced'];

export interface LbdLinkEvents {
  /** The state of `lbd` changed, or was learnt for the first time. */
  onReport(report: LbdReport): void;
  onPromoted(epoch: number): void;
  onRetired(epoch: number): void;
}

/**
 * The agent's end of `lbd-live.sock`. The end of the connection proves that `lbd` is dead, at once; silence
 * is probed with a ping. Reconnects for ever.
 */
export class LbdLink {
  readonly #path: string;
  readonly #events: LbdLinkEvents;
  #socket: Socket | undefined;
  #role: AgentLiveMessage = { type: 'role', role: 'init', epoch: 0 };
  #report: LbdReport | undefined;
  #rest = '';
  #pings = 0;
  #timer: NodeJS.Timeout | undefined;
  #answered = false;
  #closed = false;

  constructor(path: string, events: LbdLinkEvents) {
    this.#path = path;
    this.#events = events;
  }

  /** The latest state; undefined before the first attempt to connect ended. */
  get report(): LbdReport | undefined {
    return this.#report;
  }

  connect(): void {
    if (this.#closed) return;
    const socket = createConnection(this.#path);
    this.#socket = socket;
    this.#rest = '';
    let why = 'its liveness socket was closed';
    socket.setEncoding('utf8');
    socket.on('connect', () => {
      this.#send(this.#role);
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

  /** Tells `lbd` the role, now and after every reconnect. */
  tell(role: Role, epoch: number, finishing?: FinishPhase): void {
    this.#role = { type: 'role', role, epoch, finishing };
    if (this.#socket?.readyState === 'open') this.#send(this.#role);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
  }

  #receive(chunk: string): void {
    this.#answered = true;
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > MAX_LINE_CHARS)
      throw new Error(`a line has more than ${MAX_LINE_CHARS} characters`);
    for (const line of lines) this.#handle(parseLine(line));
    this.#watch();
  }

  #handle(message: LbdLiveMessage): void {
    if (message.type === 'promoted') this.#events.onPromoted(message.epoch);
    else if (message.type === 'retired') this.#events.onRetired(message.epoch);
    else if (message.type === 'state') {
      const synced = message.sync === 'synced' || message.sync === 'off';
      const { ready, healthy, why, stopping, connections } = message;
      // One that is stopping still serves: whether it has backends is another question than how long it will last.
      const serves = healthy && (ready || stopping === true);
      this.#set({ alive: true, ready, healthy: serves, synced, why, stopping, connections });
    }
  }

  /** After a silence a ping, after another one the end of the connection. */
  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#answered = false;
      this.#send({ type: 'ping', id: ++this.#pings });
      this.#timer = setTimeout(() => {
        // After a pause of this process the answer may be there, but not read yet.
        setImmediate(() => {
          if (!this.#answered) this.#lost(`it did not answer within ${PONG_MS} ms`);
        });
      }, PONG_MS);
    }, SILENCE_MS);
  }

  #lost(why: string): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
    if (this.#closed) return;
    this.#set({ alive: false, ready: false, healthy: false, synced: false, why });
    this.#timer = setTimeout(() => this.connect(), RECONNECT_MS);
  }

  #set(report: LbdReport): void {
    const before = this.#report;
    const same =
      before !== undefined && Object.entries(report).every(([k, v]) => before[k as keyof LbdReport] === v);
    if (same) return;
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
  const { type, id, epoch, ready, healthy, sync, why, stopping, connections } = fields;
  if (type === 'pong' && typeof id === 'number') return { type, id };
  if ((type === 'promoted' || type === 'retired') && typeof epoch === 'number') return { type, epoch };
  const state = SYNC_STATES.find((name) => name === sync);
  if (type !== 'state' || typeof ready !== 'boolean' || typeof healthy !== 'boolean' || state === undefined)
    throw new Error(`unexpected message ${JSON.stringify(value).slice(0, 80)}`);
  return {
    type,
    ready,
    healthy,
    sync: state,
    why: typeof why === 'string' ? why : '',
    stopping: stopping === true,
    connections: typeof connections === 'number' ? connections : undefined,
  };
}
