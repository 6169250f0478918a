import { asFormerRelease } from './former-release.ts';
import type { Machine } from './machine.ts';
import type { SimSocket } from './stand-in/dgram.ts';

/** A kernel answers so many refused datagrams in a row, then one a second (icmp_ratelimit). */
const REFUSALS = 6;
/** Least time on the wire. */
const WIRE_MS = 0.1;

/** The ways between two machines. `sync` is the TCP connection between both `lbd`, `arp` who asks for an address. */
export const LANES = ['multicast eth0', 'multicast eth1', 'unicast', 'sync', 'arp'] as const;
export type Lane = (typeof LANES)[number];

/** One direction of one way. */
export interface Link {
  cut: boolean;
  loss: number;
  maxDelayMs: number;
  duplicate: number;
  /** The sender's interface takes nothing more: what is sent waits there. */
  stalled: boolean;
}

export interface Datagram {
  /** An address, or a multicast group. */
  readonly to: string;
  readonly port: number;
  readonly fromPort: number;
  readonly data: Buffer;
  /** The interface by which it leaves; default: the one of the node addresses. */
  readonly device?: string;
}

/** What connects two machines. */
export class Network {
  readonly machines: Machine[] = [];
  readonly #links = new Map<Machine, Record<Lane, Link>>();
  readonly #sockets = new Map<Machine, Set<SimSocket>>();
  readonly #refusals = new Map<Machine, { left: number; atMs: number }>();
  /** Machines whose agent is of the former release. */
  readonly former = new Set<Machine>();
  /** Told of each datagram that somebody in the network could hear. */
  onSent: ((from: Machine, datagram: Datagram) => void) | undefined;

  add(machine: Machine): void {
    this.machines.push(machine);
    this.#sockets.set(machine, new Set());
    this.#refusals.set(machine, { left: REFUSALS, atMs: 0 });
    const link = (): Link => ({ cut: false, loss: 0, maxDelayMs: 1, duplicate: 0, stalled: false });
    this.#links.set(machine, Object.fromEntries(LANES.map((lane) => [lane, link()])) as Record<Lane, Link>);
  }

  /** From a machine to the other one. */
  link(from: Machine, lane: Lane): Link {
    return this.#links.get(from)![lane];
  }

  links(from: Machine): Link[] {
    return LANES.map((lane) => this.link(from, lane));
  }

  peerOf(machine: Machine): Machine {
    const [first, second] = this.machines;
    return first === machine ? second! : first!;
  }

  /** Whether nothing of a machine reaches the other one by heartbeats. */
  isMute(from: Machine): boolean {
    return LANES.every((lane) => lane === 'sync' || lane === 'arp' || !this.passes(from, lane));
  }

  passes(from: Machine, lane: Lane): boolean {
    const device = deviceOf(lane);
    return !this.link(from, lane).cut && from.kernel.works(device) && this.peerOf(from).kernel.works(device);
  }

  open(machine: Machine, socket: SimSocket): void {
    this.#sockets.get(machine)!.add(socket);
  }

  close(machine: Machine, socket: SimSocket): void {
    this.#sockets.get(machine)!.delete(socket);
  }

  send(from: Machine, sent: Datagram): void {
    const datagram = this.former.has(from) ? asFormerRelease(sent) : sent;
    if (datagram === undefined) return;
    const lane = laneOf(datagram);
    const { random, sim } = from;
    const link = this.link(from, lane);
    if (!this.passes(from, lane)) return;
    this.onSent?.(from, datagram);
    if (random() < link.loss) return;
    // What has left arrives, also where the sender has lost its interface meanwhile: somebody in the network has heard it.
    const arrive = () => {
      const to = this.peerOf(from);
      if (!link.cut && to.kernel.works(deviceOf(lane))) this.deliver(from.address, to, datagram, from);
    };
    sim.after(WIRE_MS + random() * link.maxDelayMs, arrive);
    if (random() < link.duplicate) sim.after(WIRE_MS + random() * 20, arrive);
  }

  /** Whether the interface takes nothing more. */
  isStalled(from: Machine, datagram: Datagram): boolean {
    return this.link(from, laneOf(datagram)).stalled;
  }

  /** Runs when the interface takes something again. */
  whenGoing(from: Machine, datagram: Datagram, run: () => void): void {
    const link = this.link(from, laneOf(datagram));
    const look = () => (link.stalled ? from.sim.after(20, look) : run());
    from.sim.after(20, look);
  }

  /** @param sender gets a refusal; undefined: it is forged, or played back */
  deliver(source: string, to: Machine, arriving: Datagram, sender?: Machine): void {
    const datagram = this.former.has(to) ? asFormerRelease(arriving) : arriving;
    if (datagram === undefined) return;
    to.when('kernel', 'input', () => {
      const { data, fromPort } = datagram;
      const sockets = this.#sockets.get(to)!;
      const isGroup = isMulticast(datagram.to);
      let isTaken = false;
      for (const isConnected of isGroup ? [false] : [true, false]) {
        for (const socket of sockets) {
          if (!socket.takes(datagram, source, isConnected)) continue;
          isTaken = true;
          socket.receive(data, source, fromPort);
          if (isConnected) return;
        }
      }
      if (!isTaken && !isGroup && sender !== undefined) this.#refuse(to, sender, datagram);
    });
  }

  /** The kernel says that nobody listens there. */
  #refuse(by: Machine, to: Machine, datagram: Datagram): void {
    const budget = this.#refusals.get(by)!;
    budget.left = Math.min(REFUSALS, budget.left + (by.sim.now - budget.atMs) / 1_000);
    budget.atMs = by.sim.now;
    if (budget.left < 1 || !this.passes(by, 'unicast')) return;
    budget.left--;
    const delayMs = WIRE_MS + by.random() * this.link(by, 'unicast').maxDelayMs;
    by.sim.after(delayMs, () => {
      for (const socket of this.#sockets.get(to)!)
        if (socket.isConnectedTo(by.address, datagram.port) && socket.port === datagram.fromPort)
          socket.refused();
    });
  }
}

export function laneOf({ to, device = 'eth0' }: Datagram): Lane {
  if (!isMulticast(to)) return 'unicast';
  return device === 'eth1' ? 'multicast eth1' : 'multicast eth0';
}

function deviceOf(lane: Lane): string {
  return lane === 'multicast eth1' ? 'eth1' : 'eth0';
}

const groups = new Map<string, boolean>();

/** Of addresses as they are in configs: there are few of them. */
export function isMulticast(address: string): boolean {
  let isGroup = groups.get(address);
  if (isGroup === undefined) {
    const first = Number.parseInt(address, 10);
    isGroup = (first >= 224 && first < 240) || address.startsWith('ff');
    groups.set(address, isGroup);
  }
  return isGroup;
}
