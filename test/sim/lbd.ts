import type {
  AgentLiveMessage,
  HeartbeatCarriage,
  LbdLiveMessage,
  SyncStatus,
} from '../../common/control.ts';
import type { AgentProcess } from './agent-process.ts';
import type { Machine } from './machine.ts';
import type { Network } from './network.ts';

/** From a write on one side of the socket to its being read on the other. */
const SOCKET_MS = 0.1;
/** Until both tables are equal. */
const SNAPSHOT_MS = 40;
/** A broken connection between both `lbd` is made again so often. */
const RECONNECT_MS = 200;
/** An `lbd` whose peer is silent notices after so long. */
const SILENCE_MS = 1_500;
/** `lbd` has prepared for a role after so long at most. */
const PROMOTE_MS = 2;
const RETIRE_MS = 120;

/** How lines of the agent begin, see `LbdLink`. */
const PING = '{"type":"ping","id":';
const HEARTBEAT = '{"type":"heartbeat","data":"';

type RoleMessage = Extract<AgentLiveMessage, { type: 'role' }>;

/** The agent's end of a connection. */
export interface LiveEnd {
  connected(): void;
  said(text: string): void;
  ended(): void;
}

interface Connection {
  readonly process: AgentProcess;
  readonly end: LiveEnd;
}

/** What `lbd` is to its agent: somebody at the liveness socket, who has a state, is late, hangs or dies. */
export class Lbd {
  readonly #machine: Machine;
  readonly #network: Network;
  peer!: Lbd;
  alive = true;
  healthy = true;
  ready = true;
  /** It runs, and does not answer. */
  hangs = false;
  /** Most it takes to be ready for the active role. */
  promoteMs = PROMOTE_MS;
  pid: number;
  /** Told of each role that the agent says. */
  onRole: ((role: RoleMessage) => void) | undefined;
  #sync: SyncStatus['state'] = 'connecting';
  #connection: Connection | undefined;
  #starts = 0;
  /** Its agent has sent a heartbeat to be carried. */
  #carries = false;
  /** Lines that it has not read. */
  #unread: string[] = [];

  constructor(machine: Machine, network: Network) {
    this.#machine = machine;
    this.#network = network;
    this.pid = machine.newPid();
  }

  /** It has a connection to the other one. */
  get linked(): boolean {
    return this.#sync !== 'connecting';
  }

  get synced(): boolean {
    return this.#sync === 'synced';
  }

  /** All is well with it. */
  get serves(): boolean {
    return this.alive && this.ready && this.healthy && !this.hangs && this.synced;
  }

  begin(): void {
    this.#machine.after('helper', this.#machine.random() * RECONNECT_MS, () => this.#dial(this.#starts));
  }

  kill(): void {
    if (!this.alive) return;
    this.#machine.log('lbd is killed');
    this.alive = false;
    this.#starts++;
    this.#hangUp();
    this.#lose();
    this.peer.syncEnded();
  }

  start(): void {
    if (this.alive || !this.#machine.on) return;
    this.#machine.log('lbd starts');
    this.alive = true;
    this.hangs = false;
    this.#unread = [];
    this.pid = this.#machine.newPid();
    this.begin();
  }

  /** With its machine. */
  powerOff(): void {
    this.alive = false;
    this.#starts++;
    this.#connection = undefined;
    this.#sync = 'connecting';
  }

  setHealthy(healthy: boolean): void {
    if (this.healthy === healthy) return;
    this.healthy = healthy;
    this.#machine.log(healthy ? 'lbd has backends' : 'lbd has no backend');
    this.#tellState();
  }

  /** What the other one's release can do is different now. */
  look(): void {
    this.#tellState();
  }

  hang(): void {
    this.#machine.log('lbd hangs');
    this.hangs = true;
  }

  goOn(): void {
    if (!this.hangs) return;
    this.#machine.log('lbd goes on');
    this.hangs = false;
    const unread = this.#unread;
    this.#unread = [];
    // The real one says its state with each answer.
    this.#tellState();
    for (const line of unread) this.#read(line);
  }

  /** The agent connects. @returns false: nobody listens */
  accept(process: AgentProcess, end: LiveEnd): boolean {
    if (!this.alive) return false;
    const connection = { process, end };
    this.#connection = connection;
    this.#machine.after('helper', SOCKET_MS, () => {
      process.inputLater(0, () => end.connected());
      this.#tellState();
    });
    return true;
  }

  fromAgent(line: string): void {
    this.#machine.after('helper', SOCKET_MS, () => {
      if (this.hangs) this.#unread.push(line);
      else this.#read(line);
    });
  }

  /** The connection to the other `lbd` ended: the process there died. */
  syncEnded(): void {
    if (this.#sync === 'connecting' || !this.alive || this.#isCut()) return;
    this.#machine.after('helper', SOCKET_MS, () => this.#lose());
  }

  #read(line: string): void {
    if (!this.alive) return;
    // Most lines are one of these two: their parts are cut out.
    if (line.startsWith(PING)) this.#sayLine(`{"type":"pong","id":${line.slice(PING.length)}`);
    else if (line.startsWith(HEARTBEAT))
      this.#carry(line.slice(HEARTBEAT.length, line.indexOf('"', HEARTBEAT.length)));
    else {
      const message = JSON.parse(line);
      if (message.type !== 'role') throw new Error(`lbd knows no ${line}`);
      this.#role(message);
    }
  }

  /** Beside the session sync, to an agent that has sent one as well. */
  #carry(data: string): void {
    this.#carries = true;
    const { peer } = this;
    if (this.#carriage()?.up !== true || this.#isCut()) return;
    const delayMs = this.#machine.random() * this.#network.link(this.#machine, 'sync').maxDelayMs;
    this.#machine.sim.after(SOCKET_MS + delayMs, () => peer.#carried(data));
  }

  /** One of the former release carries none, and its peer's `lbd` finds that out. */
  #carriage(): HeartbeatCarriage | undefined {
    const { former } = this.#network;
    if (former.has(this.#machine)) return undefined;
    if (former.has(this.#network.peerOf(this.#machine))) return { up: false, why: 'the peer carries none' };
    const up = this.#sync === 'synced';
    return { up, why: up ? '' : 'there is no session sync' };
  }

  #carried(data: string): void {
    this.#machine.when('helper', 'input', () => {
      if (this.alive && this.#carries) this.#sayLine(`${HEARTBEAT}${data}","at":${this.#machine.now}}`);
    });
  }

  #role(message: RoleMessage): void {
    const { group, role, epoch, finishing } = message;
    this.onRole?.(message);
    const machine = this.#machine;
    const start = this.#starts;
    const later = (ms: number, run: () => void) =>
      machine.after('helper', ms, () => {
        if (this.alive && this.#starts === start) run();
      });
    if (finishing === 'over') later(5, () => this.#tellState({ [group]: 0 }));
    else if (finishing === 'retiring') {
      const clients = Math.floor(machine.random() * 4);
      for (let left = clients; left >= 0; left--)
        later(10 + (clients - left) * machine.random() * 900, () => this.#tellState({ [group]: left }));
      later(machine.random() * RETIRE_MS, () => this.#say({ type: 'retired', group, epoch }));
    } else if (role === 'active')
      later(machine.random() * this.promoteMs, () => this.#say({ type: 'promoted', group, epoch }));
  }

  #tellState(connections?: Readonly<Record<string, number>>): void {
    if (!this.alive) return;
    const { ready, healthy, pid } = this;
    const why = healthy ? '' : 'no backend is healthy';
    this.#say({
      type: 'state',
      ready,
      healthy,
      sync: this.#sync,
      why,
      stopping: false,
      connections,
      serving: true,
      pid,
      heartbeats: this.#carriage(),
    });
  }

  #say(message: LbdLiveMessage): void {
    this.#sayLine(JSON.stringify(message));
  }

  #sayLine(line: string): void {
    const connection = this.#connection;
    if (connection === undefined || this.hangs) return;
    connection.process.inputLater(SOCKET_MS, () => connection.end.said(`${line}\n`));
  }

  #hangUp(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.process.inputLater(SOCKET_MS, () => connection.end.ended());
  }

  #isCut(): boolean {
    const other = this.#network.peerOf(this.#machine);
    return !this.#network.passes(this.#machine, 'sync') || !this.#network.passes(other, 'sync');
  }

  /** Connects to the other one, and sees whether it is still there. */
  #dial(start: number): void {
    if (start !== this.#starts || !this.alive) return;
    const { peer } = this;
    const reaches = peer.alive && this.#network.peerOf(this.#machine).on && !this.#isCut();
    if (reaches && this.#sync === 'connecting' && !this.hangs && !peer.hangs) {
      this.#set('snapshot');
      this.#machine.after('helper', SNAPSHOT_MS, () => {
        if (start === this.#starts && this.#sync === 'snapshot') this.#set('synced');
      });
    } else if (!reaches && this.#sync !== 'connecting') {
      this.#machine.after('helper', SILENCE_MS, () => {
        const still = this.#isCut() || !peer.alive;
        if (start === this.#starts && still) this.#lose();
      });
    }
    this.#machine.after('helper', RECONNECT_MS, () => this.#dial(start));
  }

  #lose(): void {
    if (this.#sync !== 'connecting') this.#set('connecting');
  }

  #set(state: SyncStatus['state']): void {
    this.#sync = state;
    this.#tellState();
  }
}
