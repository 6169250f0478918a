import type { AgentStatus, HeartbeatCarriage } from '../common/control.ts';
import type { Lane, LaneEvents } from './lane.ts';

/** Who carries datagrams to the peer's agent, such as `LbdLink`. */
export interface Carrier {
  readonly carriage: HeartbeatCarriage;
  /** @returns whether it took the datagram: at once or not at all */
  carry(datagram: Buffer): boolean;
}

const NAME = 'sync';

/** What an operator should know where the peer is heard by this lane and by no path of the config; undefined otherwise. */
export function onlySyncWarning(paths: AgentStatus['paths'], peer: string): string | undefined {
  const up = paths.filter(({ state }) => state === 'up');
  if (up.length !== 1 || up[0]!.name !== NAME || paths.length === 1) return undefined;
  const silent = paths.filter(({ state }) => state !== 'up').map(({ name }) => name);
  return `${peer} is heard by the session sync alone: no heartbeat comes by ${silent.join(', ')}; is a filter in between?`;
}

/**
 * The way beside the session sync: this node's `lbd` hands heartbeats to the peer's, which hands them to its agent. Not
 * UDP, no ports of its own, and encrypted, so that what stops the other paths rarely stops this one. It can lose datagrams,
 * and nothing else: they are signed by the agents. That it fails proves nothing about the peer.
 */
export class SyncLane implements Lane {
  readonly name = NAME;
  readonly unicast = false;
  readonly #carrier: Carrier;
  readonly #events: LaneEvents;
  readonly #maxAgeMs: () => number;
  #wasUp = false;
  #toldDown = false;

  /** @param maxAgeMs a datagram that waited on this machine for longer is of no use: the interval of heartbeats */
  constructor(carrier: Carrier, events: LaneEvents, maxAgeMs: () => number) {
    this.#carrier = carrier;
    this.#events = events;
    this.#maxAgeMs = maxAgeMs;
  }

  get why(): string | undefined {
    const { up, why } = this.#carrier.carriage;
    return up ? undefined : why;
  }

  async open(): Promise<void> {
    this.changed();
  }

  async send(data: Buffer): Promise<boolean> {
    return this.#carrier.carry(data);
  }

  async close(): Promise<void> {}

  /** What the carrier can do is different now. A link that comes up for the first time is no news. */
  changed(): void {
    const { why } = this;
    if (why !== undefined && this.#wasUp) this.#events.onState(why);
    else if (why === undefined && this.#toldDown) this.#events.onState(undefined);
    this.#toldDown = why !== undefined && (this.#wasUp || this.#toldDown);
    this.#wasUp = why === undefined;
  }

  /** A datagram came. @param ageMs since it reached this machine */
  receive(datagram: Buffer, ageMs: number): void {
    if (ageMs <= this.#maxAgeMs()) this.#events.onDatagram(datagram, undefined);
  }
}
