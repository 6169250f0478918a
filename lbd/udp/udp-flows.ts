import type dgram from 'node:dgram';
import type { Admission } from '../entry/admission.ts';
import type { Frontend } from '../entry/frontend.ts';
import { OVER_LIMIT } from '../shared/source-limits.ts';
import { type FlowBooks, UdpFlow } from './udp-flow.ts';
import type { UdpSocket } from './udp-listener.ts';

const MAX_TRIES = 8;
/** After open files ran short, a worker has no more flows than then for so long. */
const HOLD_MS = 10_000;

/**
 * The flows of one UDP frontend in one worker. Anybody can send datagrams in the name of others, so at a limit the
 * oldest flow that nothing proves makes room (as the kernel's connection tracking does); one that went on after an
 * answer does not. A flood from forged addresses so costs the flood's flows, no memory, and nobody who talks.
 */
export class UdpFlows implements FlowBooks {
  readonly #frontend: Frontend;
  readonly #admission: Admission;
  /** In the order of their beginning. */
  readonly #fresh = new Set<UdpFlow>();
  /** Cell of each flow that counts against `limits.per_source`. */
  readonly #cells = new Map<UdpFlow, number>();
  #size = 0;
  /** Limit of the size while open files are short, and how long, in coarse milliseconds. */
  #held = 0;
  #heldUntilMs = 0;

  constructor(frontend: Frontend, admission: Admission) {
    this.#frontend = frontend;
    this.#admission = admission;
  }

  /** Flows of this worker. */
  get size(): number {
    return this.#size;
  }

  /** A datagram of a client that has no flow. */
  begin(socket: UdpSocket, key: string, bytes: Buffer, from: dgram.RemoteInfo): void {
    const frontend = this.#frontend;
    const { context, config } = frontend;
    // The other node, or the next start, will serve it.
    if (context.stopping) return;
    // A port that nobody can answer to: allowed (RFC 768), used by nobody but floods.
    if (from.port === 0) {
      frontend.count('datagrams_dropped', 1);
      return;
    }
    const { perSource } = config.limits;
    const cell =
      perSource === undefined ? -1 : context.shared.sources.enter(frontend.row, from.address, perSource);
    if (perSource !== undefined && cell === OVER_LIMIT) {
      frontend.count('datagrams_dropped', 1);
      frontend.logFlood(from.address, 'too_many_of_client');
      this.#admission.refuseSource(frontend, from.address);
      return;
    }
    const { deadlines } = context;
    if (this.#size >= this.#held && deadlines.now < this.#heldUntilMs && !this.#makeRoom()) {
      context.shared.sources.leave(cell);
      frontend.count('datagrams_dropped', 1);
      this.#refuseFiles(from.address);
      return;
    }
    if (!this.#enter()) {
      context.shared.sources.leave(cell);
      frontend.count('refused_full', 1);
      frontend.logFlood(from.address, 'too_many_clients');
      frontend.count('datagrams_dropped', 1);
      this.#admission.tell(
        `frontend ${frontend.name} has its max_connections ${config.maxConnections}, all of them clients that go on: new clients are not served`,
        `frontend ${frontend.name} full`,
      );
      return;
    }
    frontend.count('accepted', 1);
    this.#size++;
    const flow = new UdpFlow(this, frontend, socket, key, from);
    if (cell >= 0) this.#cells.set(flow, cell);
    this.#fresh.add(flow);
    flow.onClientDatagram(bytes);
  }

  /** Room that is made here may be taken by another worker. */
  #enter(): boolean {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      if (this.#frontend.enter()) return true;
      if (!this.#makeRoom()) return false;
    }
    return false;
  }

  assure(flow: UdpFlow): void {
    this.#fresh.delete(flow);
  }

  gone(flow: UdpFlow, socket: UdpSocket): void {
    this.#size--;
    this.#fresh.delete(flow);
    const cell = this.#cells.get(flow);
    if (cell !== undefined) {
      this.#cells.delete(flow);
      this.#frontend.context.shared.sources.leave(cell);
    }
    this.#frontend.leave();
    socket.flowGone();
  }

  crowded(descriptor: number, flow: UdpFlow): boolean {
    if (!this.#admission.crowded(descriptor, this.#frontend)) return false;
    this.#holdSize();
    if (this.#makeRoom(flow)) return false;
    this.#refuseFiles(flow.address);
    return true;
  }

  outOfFiles(flow: UdpFlow): void {
    this.#holdSize();
    this.#makeRoom();
    this.#refuseFiles(flow.address);
  }

  #refuseFiles(client: string): void {
    this.#frontend.logFlood(client, 'no_files');
    this.#admission.refuseFiles(this.#frontend);
  }

  /** No more flows than now: a descriptor that is freed is a low one again, and says nothing of how few are left. */
  #holdSize(): void {
    this.#held = Math.max(1, this.#size - 1);
    this.#heldUntilMs = this.#frontend.context.deadlines.in(HOLD_MS);
  }

  #makeRoom(except?: UdpFlow): boolean {
    for (const flow of this.#fresh) {
      if (flow === except) return false;
      this.#frontend.count('flows_evicted', 1);
      this.#admission.tell(
        `frontend ${this.#frontend.name} has too many flows (max_connections ${this.#frontend.config.maxConnections}, or open files): the oldest that may be forged make room`,
        `frontend ${this.#frontend.name} evicts`,
      );
      flow.close();
      return true;
    }
    return false;
  }
}
