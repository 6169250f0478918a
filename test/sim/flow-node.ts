import { lives } from '../../lbd/flow/flow.ts';
import { FlowProtocol } from '../../lbd/flow/flow-protocol.ts';
import { FlowReplica } from '../../lbd/flow/flow-replica.ts';
import { type FlowRole, FlowRoles } from '../../lbd/flow/flow-roles.ts';
import { addressBytes, FlowScope } from '../../lbd/flow/flow-scope.ts';
import { FlowTable } from '../../lbd/flow/flow-table.ts';
import { FlowWriter } from '../../lbd/flow/flow-writer.ts';
import { type Roles, roleSteps, SETTLE_MS } from '../../lbd/flow/role-steps.ts';
import { FakeKernel, FRONTENDS, VIP } from '../lbd/flow/flows.ts';

const ADDRESS = addressBytes(VIP)!;
/** Flows that are looked at together; few, so that other things happen in between. */
const LOOKS = 2;

/** A node's share of the flow sync: a kernel that follows connections, and all that stands around the protocol. */
export class FlowNode {
  readonly kernel: FakeKernel;
  readonly roles = new FlowRoles();
  readonly replica = new FlowReplica();
  readonly table: FlowTable;
  readonly writer: FlowWriter;
  readonly protocol: FlowProtocol;
  role: FlowRole = 'standby';
  nowMs: number;
  /** Heard, and not become yet. */
  #waiting: Roles | undefined;
  #waitsSinceMs = 0;

  /**
   * @param kernel may have flows from before, of which it tells nobody; see `dump`
   * @param mark of the kernel's table
   */
  constructor(kernel = new FakeKernel(), nowMs = 0, mark?: string) {
    this.kernel = kernel;
    this.nowMs = nowMs;
    const scope = new FlowScope(FRONTENDS);
    this.table = new FlowTable(scope, {
      onFlow: (key, flow) => this.protocol.onFlow(key, flow, this.nowMs),
      onGone: (key) => {
        this.protocol.onGone(key, this.nowMs);
        this.writer.onGone(key, this.protocol.receiver.received, this.nowMs);
      },
      nowMs: () => this.nowMs,
    });
    const { table, replica, roles } = this;
    this.writer = new FlowWriter({ table, replica, roles, scope: () => scope, looks: LOOKS });
    const { writer } = this;
    this.protocol = new FlowProtocol({
      table,
      replica,
      roles,
      writer,
      onReceived: () => {},
      mark,
      looks: LOOKS,
    });
    this.protocol.setAbility({ usable: true, why: '' }, nowMs);
    this.become('standby');
  }

  become(role: FlowRole): void {
    this.#take(new Map([[ADDRESS, role]]));
  }

  /** Becomes it as soon as may be, see `assume`. */
  hear(role: FlowRole): void {
    const { now, later } = roleSteps(
      this.roles.all,
      this.#waiting,
      new Map([[ADDRESS, role]]),
      this.writer.idle,
    );
    for (const roles of now) this.#take(roles);
    if (this.#waiting === undefined) this.#waitsSinceMs = this.nowMs;
    this.#waiting = later;
    if (later !== undefined) this.protocol.expect(later, this.nowMs);
  }

  /** Call now and then: it becomes what it has heard, once all that the peer told is written, or after a while. */
  assume(): void {
    if (this.#waiting === undefined) return;
    if (!this.writer.idle && this.nowMs < this.#waitsSinceMs + SETTLE_MS) return;
    this.#take(this.#waiting);
    this.#waiting = undefined;
  }

  #take(roles: Roles): void {
    this.role = roles.get(ADDRESS)!;
    this.protocol.assign(roles, this.nowMs);
  }

  /** Reads up to so many events of the kernel. */
  listen(count: number): void {
    for (const { kind, flow } of this.kernel.events.splice(0, count))
      if (kind === 'flow') this.table.note(flow);
      else this.table.gone(flow.tuples, 0);
  }

  /** One batch; its answers come after the events that it caused, as on the socket. @returns whether it did anything */
  write(): boolean {
    const wasDue = this.writer.due;
    const batch = this.writer.next(this.nowMs);
    if (batch === undefined) return wasDue;
    const answers = this.kernel.run(batch);
    this.listen(Number.POSITIVE_INFINITY);
    for (const [sequence, error] of answers) this.writer.onAnswer(sequence, error);
    return true;
  }

  /** Events were lost: the next look at the whole table tells. */
  dump(): void {
    this.kernel.events.length = 0;
    this.table.beginDump();
    for (const flow of this.kernel.flows.values()) this.table.note(flow, true);
    this.table.endDump();
  }

  living(): string[] {
    return [...this.kernel.flows.values()]
      .filter(lives)
      .map(({ tuples }) => Buffer.from(tuples, 'latin1').toString('hex'))
      .sort();
  }
}
