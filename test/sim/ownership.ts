import type { Node } from './node.ts';
import type { Pair } from './pair.ts';

/** Who answered clients for a VIP from a moment on. */
export interface Reign {
  readonly sinceMs: number;
  readonly owners: readonly Node[];
}

/** How long something lasted at most, and when that began. */
export interface Longest {
  readonly ms: number;
  readonly sinceMs: number;
}

/** `valid_lft`, and one sweep of the kernel. */
export const LIFETIME_MS = 3_000;

/** Looks after every happening who answers for a VIP, and which agent believes that it does. */
export class Ownership {
  readonly reigns: Reign[] = [];
  readonly vip: string;
  readonly group: string;
  readonly #pair: Pair;
  #seen = -1;
  /** Since when a node's agent calls itself active while the VIP is not on its machine. */
  readonly #emptySince = new Map<Node, number>();
  readonly #emptyTold = new Set<Node>();

  constructor(pair: Pair, vip: string, group: string) {
    this.#pair = pair;
    this.vip = vip;
    this.group = group;
  }

  get owners(): readonly Node[] {
    return this.reigns.at(-1)?.owners ?? [];
  }

  /** The next story begins: who served in the last one does not count. */
  forget(): void {
    this.reigns.splice(0, this.reigns.length - 1);
    this.#emptyTold.clear();
  }

  watch(): void {
    const [a, b] = this.#pair.nodes;
    const version = a.machine.version + b.machine.version;
    const isNews = version !== this.#seen;
    if (isNews) {
      this.#seen = version;
      this.#note();
    }
    if (isNews || this.#emptySince.size > 0) this.#judgeRoles();
  }

  #note(): void {
    const pair = this.#pair;
    const owners = pair.owners(this.vip);
    const before = this.owners;
    if (
      this.reigns.length > 0 &&
      owners.length === before.length &&
      owners.every((it) => before.includes(it))
    )
      return;
    this.reigns.push({ sinceMs: pair.sim.now, owners });
    pair.log(`  ${this.vip}: ${owners.map(({ name }) => name).join(' and ') || 'nobody'}`);
  }

  /** A role of `active` without the VIP must end with the lifetime of that, so that the other node takes over. */
  #judgeRoles(): void {
    const { now } = this.#pair.sim;
    for (const node of this.#pair.nodes) {
      const { machine } = node;
      const empty =
        node.role(this.group) === 'active' && machine.paused === undefined && !machine.kernel.has(this.vip);
      if (!empty) this.#emptySince.delete(node);
      else if (!this.#emptySince.has(node)) this.#emptySince.set(node, now);
      const sinceMs = this.#emptySince.get(node);
      if (sinceMs === undefined || now - sinceMs <= LIFETIME_MS || this.#emptyTold.has(node)) continue;
      this.#emptyTold.add(node);
      this.#pair.problem(`${node.name} is active without ${this.vip} for ${Math.round(now - sinceMs)} ms`);
    }
  }

  /** The longest time in which so many nodes answered, between two moments. */
  longest(count: number, fromMs: number, toMs: number): Longest {
    let best = { ms: 0, sinceMs: fromMs };
    let began: number | undefined;
    for (const [i, { sinceMs, owners }] of this.reigns.entries()) {
      const endMs = Math.min(this.reigns[i + 1]?.sinceMs ?? toMs, toMs);
      if (owners.length !== count) {
        began = undefined;
        continue;
      }
      began ??= Math.max(sinceMs, fromMs);
      if (endMs - began > best.ms) best = { ms: endMs - began, sinceMs: began };
    }
    return best;
  }

  /** How often another node alone answered than the one before, between two moments. */
  moves(fromMs: number, toMs: number): number {
    let before: Node | undefined;
    let moves = 0;
    for (const { sinceMs, owners } of this.reigns) {
      if (owners.length !== 1 || sinceMs > toMs) continue;
      if (before !== undefined && before !== owners[0] && sinceMs >= fromMs) moves++;
      before = owners[0];
    }
    return moves;
  }
}
