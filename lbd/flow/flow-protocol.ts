import type { SyncCompanion } from '../session/sync-companion.ts';
import { flowFrame, KIND, parseFlowFrame } from './flow-frame.ts';
import { FlowReceiver } from './flow-receiver.ts';
import type { FlowReplica } from './flow-replica.ts';
import type { FlowRole, FlowRoles } from './flow-roles.ts';
import { FlowSender } from './flow-sender.ts';
import type { FlowTable, KernelFlow } from './flow-table.ts';
import type { FlowWriter } from './flow-writer.ts';

/** Clients may come so long before this node hears that it is active; a flow is dated when its event is read. */
const IN_STEP_SLACK_MS = 500;
/** A peer that was told of flows that it does not have takes them over within so long, or it does not. */
const ADOPTION_MS = 5000;

/** Whether a node can read and write flows, and why not; a node that starts does not know yet. */
export interface FlowAbility {
  readonly usable: boolean;
  readonly why: string;
}

export interface FlowProtocolParts {
  readonly table: FlowTable;
  readonly replica: FlowReplica;
  readonly roles: FlowRoles;
  readonly writer: FlowWriter;
  /** The peer has told something: there may be something to write. */
  onReceived(): void;
  /** Names the connection table of this node's kernel: another one after each boot. */
  readonly mark?: string | undefined;
  /** See `FlowSender`. */
  readonly looks?: number | undefined;
}

/**
 * Flow sync as a state machine, beside the sessions on their link: each node tells of the flows to the addresses for
 * which it is active, and follows the peer in the others. After a link is up, and after each change of what a node is
 * active for, comes a snapshot; then changes as they happen, acknowledged when they are in the peer's kernel. What the peer
 * may have lost is told by whoever has it, so that an active peer takes it over.
 */
export class FlowProtocol implements SyncCompanion {
  readonly sender: FlowSender;
  readonly receiver: FlowReceiver;
  #linked = false;
  #ability: FlowAbility | undefined;
  #abilityDue = false;
  #peer: FlowAbility | undefined;
  #sending = false;
  /** When the peer last had all of this node's flows. */
  #inStepMs = Number.NEGATIVE_INFINITY;
  /** Until then the peer may take over what it was told that only this node may have; undefined: it was not told yet. */
  #orphansUntilMs: number | undefined;
  /** Names the connection table of the peer's kernel, as the peer said last. */
  #peerMark: string | undefined;
  readonly tableMark: string | undefined;
  onNews: (() => void) | undefined;

  readonly #roles: FlowRoles;
  readonly #replica: FlowReplica;
  readonly #onReceived: () => void;

  constructor({ table, replica, roles, writer, onReceived, mark, looks }: FlowProtocolParts) {
    this.#onReceived = onReceived;
    this.#roles = roles;
    this.#replica = replica;
    this.tableMark = mark;
    this.sender = new FlowSender(table, roles, replica, looks);
    this.receiver = new FlowReceiver(replica, roles, writer);
  }

  /** @returns whether anything differs */
  assign(roles: ReadonlyMap<string, FlowRole>, nowMs: number): boolean {
    const { owned } = this.#roles;
    if (!this.#roles.assign(roles, this.#inStepMs - IN_STEP_SLACK_MS)) return false;
    for (const address of this.#roles.owned) this.#replica.disown(address);
    if (!this.#linked)
      for (const address of owned) if (roles.get(address) !== 'active') this.#replica.forget(address);
    this.#orphansUntilMs = undefined;
    this.sender.restart(nowMs);
    this.receiver.recheck();
    return true;
  }

  /** This node will be that, as soon as it has written what the peer told: clients may come to it already. */
  expect(roles: ReadonlyMap<string, FlowRole>, nowMs: number): void {
    this.#roles.expect(roles, nowMs - IN_STEP_SLACK_MS);
  }

  /** Call now and then. */
  watch(nowMs: number): void {
    if (!this.#sending || !this.sender.reached(this.sender.mark())) return;
    this.#inStepMs = nowMs;
    if (!this.#roles.hasOrphans && !this.#replica.hasInherited) return;
    this.#orphansUntilMs ??= nowMs + ADOPTION_MS;
    if (nowMs < this.#orphansUntilMs) return;
    this.#roles.forgetOrphans();
    this.#replica.forgetInherited();
    this.sender.restart(nowMs);
    // What the peer did not take over has ended there, or has no place.
    this.receiver.recheck();
  }

  /** What the peer says of itself; undefined: there is no link to a peer that takes part. */
  get peer(): FlowAbility | undefined {
    return this.#linked ? this.#peer : undefined;
  }

  get linked(): boolean {
    return this.#linked;
  }

  /** Where one of both cannot, there is nothing to wait for; the status says so. */
  get complete(): boolean {
    return this.#hopeless || this.receiver.filled;
  }

  /** One of both cannot do its part. */
  get #hopeless(): boolean {
    return this.#ability?.usable === false || this.#peer?.usable === false;
  }

  idleMs(nowMs: number): number {
    if (!this.#linked) return Number.POSITIVE_INFINITY;
    if ((this.#abilityDue && this.#ability !== undefined) || this.receiver.due) return 0;
    return this.#sending ? this.sender.idleMs(nowMs) : Number.POSITIVE_INFINITY;
  }

  /** There may be something to tell that came up by itself, not by a frame of the peer. */
  notify(): void {
    this.onNews?.();
  }

  connect(nowMs: number, peerMark?: string): void {
    if (peerMark !== undefined) this.#recognise(peerMark);
    this.#linked = true;
    this.#peer = undefined;
    this.#abilityDue = true;
    this.sender.connect();
    this.receiver.connect();
    this.#match(nowMs);
  }

  disconnect(): void {
    this.#linked = false;
    this.#peer = undefined;
    this.#roles.setPeer([]);
    this.#match(0);
  }

  /** This node can or cannot read and write flows from now on; undefined: it will know soon. */
  setAbility(ability: FlowAbility | undefined, nowMs: number): void {
    if (this.#ability?.usable === ability?.usable && this.#ability?.why === ability?.why) return;
    this.#ability = ability;
    this.#abilityDue = true;
    this.#match(nowMs);
    this.notify();
  }

  onFlow(key: string, flow: KernelFlow, nowMs: number): void {
    if (!this.#sending) return;
    this.sender.onFlow(key, flow, nowMs);
    this.notify();
  }

  onGone(key: string, nowMs: number): void {
    if (!this.#sending) return;
    this.sender.onGone(key, nowMs);
    this.notify();
  }

  receive(payload: Buffer, nowMs: number): void {
    const frame = parseFlowFrame(payload);
    const { sender, receiver } = this;
    if (frame.kind === KIND.state) {
      this.#peer = frame;
      this.#match(nowMs);
    } else if (frame.kind === KIND.begin) receiver.onBegin(frame.addresses);
    else if (frame.kind === KIND.records) receiver.onRecords(frame.first, frame.records);
    else if (frame.kind === KIND.end) receiver.onEnd(frame.digest, nowMs);
    else if (frame.kind === KIND.digest) receiver.onDigest(frame.digest, nowMs);
    else if (frame.kind === KIND.ack) sender.onAck(frame.applied, frame.filled, nowMs);
    else sender.restart(nowMs);
    this.#onReceived();
  }

  pull(nowMs: number): Buffer | undefined {
    if (!this.#linked) return undefined;
    if (this.#abilityDue && this.#ability !== undefined) {
      this.#abilityDue = false;
      return flowFrame({ kind: KIND.state, ...this.#ability });
    }
    return this.receiver.next() ?? (this.#sending ? this.sender.next(nowMs) : undefined);
  }

  mark(): number {
    return this.sender.mark();
  }

  reached(mark: number): boolean {
    return this.#hopeless || (this.#sending && this.sender.reached(mark));
  }

  /** A peer with another connection table than before has none of the flows that it had or was told. */
  #recognise(peerMark: string): void {
    const before = this.#peerMark;
    this.#peerMark = peerMark;
    if (before === undefined || before === peerMark) return;
    this.#inStepMs = Number.NEGATIVE_INFINITY;
    this.#orphansUntilMs = undefined;
    this.#replica.inherit(this.#roles.bequeath());
  }

  /** Flows are told while both nodes can do their part. */
  #match(nowMs: number): void {
    const sending = this.#linked && this.#ability?.usable === true && this.#peer?.usable === true;
    if (sending === this.#sending) return;
    this.#sending = sending;
    if (sending) this.sender.start(nowMs);
    else this.sender.stop();
  }
}
