import { SessionNode } from './session-node.ts';

export type Random = (below: number) => number;

/** mulberry32: small, and the same on every machine. */
export function random(seed: number): Random {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const TTL_MS = 3_600_000;

/** A node, and bytes on their way to its peer. */
class SimNode extends SessionNode {
  outbox = Buffer.alloc(0);
}

/** Two nodes and a link that drops, delays and cuts at any byte. */
export class SyncWorld {
  nowMs = 1_000_000;
  linked = false;
  #boots = 1;
  readonly #capacity: number;
  readonly #random: Random;
  readonly nodes: [SimNode, SimNode];

  constructor(random: Random, capacity = 1024) {
    this.#random = random;
    this.#capacity = capacity;
    this.nodes = [this.#boot('a', 'b'), this.#boot('b', 'a')];
  }

  connect(): void {
    this.cut();
    this.linked = true;
    for (const node of this.nodes) node.protocol.connect(this.nowMs);
  }

  /** What is under way is lost, whole frames or half ones. */
  cut(): void {
    this.linked = false;
    for (const node of this.nodes) {
      node.outbox = Buffer.alloc(0);
      node.protocol.disconnect();
    }
  }

  restart(index: 0 | 1): void {
    this.cut();
    this.nodes[index] = index === 0 ? this.#boot('a', 'b') : this.#boot('b', 'a');
  }

  /** A moment: time goes on, each node sends a few frames, and some of the bytes arrive. */
  step(): void {
    this.nowMs += this.#random(20);
    for (const node of this.nodes) node.protocol.tick(this.nowMs);
    if (!this.linked) return;
    this.#move(this.nodes[0], this.nodes[1]);
    this.#move(this.nodes[1], this.nodes[0]);
  }

  /** Goes on until the condition holds, for at most a simulated minute. */
  until(condition: () => boolean): void {
    const end = this.nowMs + 60_000;
    while (!condition() && this.nowMs < end) this.step();
  }

  /** Goes on until both say that all is well and the same, for at most a simulated minute. */
  settle(): void {
    if (!this.linked) this.connect();
    let calm = 0;
    this.until(() => {
      const well = this.nodes.every((node) => {
        const { state, digest_equal, lag_ms } = node.protocol.status(this.nowMs);
        return state === 'synced' && digest_equal === true && lag_ms === 0 && node.outbox.length === 0;
      });
      calm = well ? calm + 1 : 0;
      return calm === 10;
    });
  }

  failures(): string[] {
    return this.nodes.flatMap((node) => node.protocol.failure ?? []);
  }

  #boot(name: string, peer: string): SimNode {
    const nowMs = () => this.nowMs;
    return new SimNode({ name, peer, boot: this.#boots++, capacity: this.#capacity, ttlMs: TTL_MS, nowMs });
  }

  #move(from: SimNode, to: SimNode): void {
    for (let frames = this.#random(6); frames > 0; frames--) {
      const frame = from.protocol.pull(this.nowMs);
      if (!frame) break;
      from.outbox = Buffer.concat([from.outbox, frame]);
    }
    const whole = this.#random(3) > 0;
    const count = whole ? from.outbox.length : this.#random(from.outbox.length + 1);
    for (let at = 0; at < count; ) at += to.protocol.receive(from.outbox.subarray(at, count), this.nowMs);
    from.outbox = from.outbox.subarray(count);
  }
}
