import type { Lane, LaneEvents } from '../../ha-agent/lane.ts';

/** A path of an exchange without sockets: what is sent is kept, or goes on at once. */
export class MemoryLane implements Lane {
  readonly name: string;
  readonly unicast = false;
  readonly why = undefined;
  readonly events: LaneEvents;
  sent: Buffer[] = [];
  /** Takes nothing until it is released. */
  stuck = false;
  onSend: (data: Buffer) => void = () => {};
  #held: (() => void)[] = [];

  constructor(events: LaneEvents, name = 'memory') {
    this.events = events;
    this.name = name;
  }

  async open(): Promise<void> {}

  send(data: Buffer): Promise<boolean> {
    this.sent.push(data);
    this.onSend(data);
    return this.stuck
      ? new Promise((resolve) => this.#held.push(() => resolve(true)))
      : Promise.resolve(true);
  }

  release(): void {
    this.stuck = false;
    for (const settle of this.#held.splice(0)) settle();
  }

  async close(): Promise<void> {}
}
