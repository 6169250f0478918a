import { createServer, type Socket } from 'node:net';
import {
  type AgentLiveMessage,
  type CarriedHeartbeat,
  type FinishPhase,
  type LbdLiveMessage,
  MAX_HEARTBEAT_BYTES,
  MAX_LIVE_WHY_CHARS,
  type Role,
} from '../../common/control.ts';
import { messageOf } from '../../common/errors.ts';
import { monotonicMs } from '../../common/events.ts';
import { shortPrintable } from '../../common/printable.ts';
import { listenUnix } from '../../common/unix-socket.ts';

/** One agent, and somebody who looks; more are a mistake. */
const MAX_CLIENTS = 8;
/** Messages have some 50 bytes, and those with a heartbeat a few hundred. */
const MAX_LINE_CHARS = 2048;
/** A client that does not read is dropped when so much waits for it. */
const MAX_UNSENT_BYTES = 64 * 1024;

/** More groups than a config can have. */
const MAX_GROUPS = 64;
const MAX_GROUP_CHARS = 64;

const ROLES: ReadonlySet<unknown> = new Set<Role>(['init', 'standby', 'active', 'fault']);
const PHASES: ReadonlySet<unknown> = new Set<FinishPhase>(['retiring', 'finishing', 'over']);

export type LiveState = Omit<Extract<LbdLiveMessage, { type: 'state' }>, 'type' | 'pid'>;

/** What the agent said. */
export type LiveRole = Omit<Extract<AgentLiveMessage, { type: 'role' }>, 'type'>;

export interface LiveServerOptions {
  /** The role, its epoch or the phase of its end changed. */
  onRole(role: LiveRole, before: LiveRole | undefined): void;
  /**
   * Called after `onRole` of an active role. @returns what must end before the agent hears that this node is ready for
   * it, and never rejects; undefined: nothing
   */
  prepare?(): Promise<void> | undefined;
  /** A heartbeat of this node's agent is to be carried to the peer's. Must not wait. */
  onHeartbeat?(datagram: Buffer): void;
  /** Age from which a heartbeat is of no use any more. Milliseconds. */
  maxAgeMs?(): number;
  /** A client was refused or dropped, and why. */
  onTrouble(text: string): void;
}

/**
 * The end of `lbd-live.sock` to which `ha-agent` connects. The agent learns from it whether this node can serve
 * (end-of-file: `lbd` is dead), and it says which role the node has. One JSON object a line, see
 * `LbdLiveMessage` and `AgentLiveMessage`.
 */
export class LiveServer {
  readonly #options: LiveServerOptions;
  readonly #server = createServer((socket) => this.#accept(socket));
  readonly #clients = new Set<Socket>();
  #state: LiveState = { ready: false, healthy: false, sync: 'off', why: 'starting' };
  /** The same as it is sent: with the answer to every ping. */
  #stateLine = stateLine(this.#state);
  readonly #roles = new Map<string, LiveRole>();
  /** Who asked to become active while this node was not ready: for each group the epoch. */
  readonly #waiting = new Map<Socket, Map<string, number>>();
  /** Who has sent a heartbeat: an agent of the last release would not understand one. */
  readonly #carried = new Set<Socket>();

  constructor(options: LiveServerOptions) {
    this.#options = options;
  }

  /** What the agent said last of each VIP group; empty before it connected. */
  get roles(): readonly LiveRole[] {
    return [...this.#roles.values()];
  }

  /** @throws OperatorError when the socket is taken or cannot be made */
  async listen(path: string): Promise<void> {
    await listenUnix(this.#server, path);
  }

  /** Tells all clients, if anything differs. Reasons are cut at `MAX_LIVE_WHY_CHARS`. */
  setState(wanted: LiveState): void {
    const before = this.#state;
    const state = withShortReasons(wanted);
    if (
      before.ready === state.ready &&
      before.healthy === state.healthy &&
      before.sync === state.sync &&
      before.stopping === state.stopping &&
      JSON.stringify(before.connections) === JSON.stringify(state.connections) &&
      before.serving === state.serving &&
      before.heartbeats?.up === state.heartbeats?.up &&
      before.heartbeats?.why === state.heartbeats?.why &&
      before.why === state.why
    )
      return;
    this.#state = state;
    this.#stateLine = stateLine(state);
    for (const client of this.#clients) this.#write(client, this.#stateLine);
    if (!state.ready) return;
    for (const [client, groups] of this.#waiting)
      for (const [group, epoch] of groups) this.#send(client, { type: 'promoted', group, epoch });
    this.#waiting.clear();
  }

  /** Hands a heartbeat of the peer's agent to this node's, at once or not at all. */
  sendHeartbeat(datagram: Buffer): void {
    for (const client of this.#carried)
      if (client.writableLength === 0)
        this.#send(client, { type: 'heartbeat', data: datagram.toString('base64'), at: monotonicMs() });
  }

  /** Tells that the peer has what it needs to become active. */
  sendRetired(group: string, epoch: number): void {
    for (const client of this.#clients) this.#send(client, { type: 'retired', group, epoch });
  }

  /** Ends every connection and removes the socket file. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const client of this.#clients) client.destroy();
    });
  }

  #accept(socket: Socket): void {
    // An EPIPE or ECONNRESET says no more than the close that follows it.
    socket.on('error', () => {});
    if (this.#clients.size >= MAX_CLIENTS) {
      this.#options.onTrouble(`a client of the liveness socket was refused: ${MAX_CLIENTS} are connected`);
      socket.destroy();
      return;
    }
    this.#clients.add(socket);
    socket.once('close', () => {
      this.#clients.delete(socket);
      this.#waiting.delete(socket);
      this.#carried.delete(socket);
    });
    let rest = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (!socket.destroyed) this.#receive(socket, line);
      if (rest.length > MAX_LINE_CHARS)
        this.#drop(socket, `a line has more than ${MAX_LINE_CHARS} characters`);
    });
    this.#write(socket, this.#stateLine);
  }

  #receive(socket: Socket, line: string): void {
    let message: AgentLiveMessage;
    try {
      message = parse(line);
    } catch (error) {
      this.#drop(socket, messageOf(error));
      return;
    }
    if (message.type === 'ping') {
      this.#write(socket, this.#stateLine + lineOf({ type: 'pong', id: message.id }));
      return;
    }
    if (message.type === 'heartbeat') {
      this.#carry(socket, message);
      return;
    }
    const { group, role, epoch, finishing } = message;
    const before = this.#roles.get(group);
    if (before === undefined && this.#roles.size >= MAX_GROUPS) {
      this.#drop(socket, `it speaks of more than ${MAX_GROUPS} groups`);
      return;
    }
    const now = { group, role, epoch, finishing };
    this.#roles.set(group, now);
    const changed = before?.role !== role || before.epoch !== epoch || before.finishing !== finishing;
    if (changed) this.#options.onRole(now, before);
    this.#waiting.get(socket)?.delete(group);
    if (role !== 'active') return;
    const preparing = this.#options.prepare?.();
    if (preparing !== undefined) void preparing.then(() => this.#promote(socket, group, epoch));
    else this.#promote(socket, group, epoch);
  }

  /** What waited while this process or the agent stood still is not sent late. */
  #carry(socket: Socket, { data, at }: CarriedHeartbeat): void {
    const { onHeartbeat, maxAgeMs } = this.#options;
    this.#carried.add(socket);
    if (maxAgeMs !== undefined && monotonicMs() - at > maxAgeMs()) return;
    onHeartbeat?.(Buffer.from(data, 'base64'));
  }

  #promote(socket: Socket, group: string, epoch: number): void {
    const now = this.#roles.get(group);
    if (socket.destroyed || now?.role !== 'active' || now.epoch !== epoch) return;
    const waiting = this.#waiting.get(socket) ?? new Map<string, number>();
    if (this.#state.ready) this.#send(socket, { type: 'promoted', group, epoch });
    else this.#waiting.set(socket, waiting.set(group, epoch));
  }

  #drop(socket: Socket, why: string): void {
    this.#options.onTrouble(`a client of the liveness socket was dropped: ${why}`);
    socket.destroy();
  }

  #send(socket: Socket, message: LbdLiveMessage): void {
    this.#write(socket, lineOf(message));
  }

  #write(socket: Socket, lines: string): void {
    if (socket.destroyed) return;
    socket.write(lines);
    if (socket.writableLength > MAX_UNSENT_BYTES) this.#drop(socket, 'it does not read');
  }
}

function stateLine(state: LiveState): string {
  return lineOf({ type: 'state', ...state, pid: process.pid });
}

function lineOf(message: LbdLiveMessage): string {
  return `${JSON.stringify(message)}\n`;
}

function withShortReasons(state: LiveState): LiveState {
  const { why, heartbeats } = state;
  return {
    ...state,
    why: shortPrintable(why, MAX_LIVE_WHY_CHARS),
    ...(heartbeats && {
      heartbeats: { ...heartbeats, why: shortPrintable(heartbeats.why, MAX_LIVE_WHY_CHARS) },
    }),
  };
}

function parse(line: string): AgentLiveMessage {
  if (line.length > MAX_LINE_CHARS) throw new Error(`a line has more than ${MAX_LINE_CHARS} characters`);
  const value: unknown = JSON.parse(line);
  const { type, id, group, role, epoch, finishing, data, at } = (
    typeof value === 'object' && value !== null ? value : {}
  ) as Record<string, unknown>;
  if (type === 'ping' && isCount(id)) return { type, id };
  const named = typeof group === 'string' && group.length <= MAX_GROUP_CHARS;
  if (type === 'role' && named && ROLES.has(role) && isCount(epoch) && isPhase(finishing))
    return { type, group, role: role as Role, epoch, finishing };
  if (type === 'heartbeat' && isDatagram(data) && typeof at === 'number') return { type, data, at };
  throw new Error(`expected a ping, a role or a heartbeat, found ${JSON.stringify(value).slice(0, 80)}`);
}

function isPhase(value: unknown): value is FinishPhase | undefined {
  return value === undefined || PHASES.has(value);
}

function isDatagram(data: unknown): data is string {
  if (typeof data !== 'string') return false;
  const bytes = Buffer.byteLength(data, 'base64');
  return bytes > 0 && bytes <= MAX_HEARTBEAT_BYTES;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
