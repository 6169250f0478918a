import { destinationOf, sourceOf } from './flow.ts';

/**
 * What this node is for a VIP. `standby`: its table follows the peer's. `finishing`: so it does, but this node gave the VIP
 * away and carries its open flows to their end; nobody else knows them all, so none is deleted.
 */
export type FlowRole = 'active' | 'finishing' | 'standby';

/** Whose flows are whose. Addresses are latin1 bytes. */
export class FlowRoles {
  #roles: ReadonlyMap<string, FlowRole> = new Map();
  #local: ReadonlySet<string> = new Set();
  #peer: ReadonlySet<string> = new Set();
  /** Addresses that this node was active for, or will be, and since when the peer may not know of a flow to them. */
  readonly #orphaned = new Map<string, number>();
  /** Addresses that this node was active for, and the peer has not told all its flows to them since. */
  readonly #released = new Set<string>();

  /**
   * @param inStepMs when the peer last had all of this node's flows: what came later may be known here alone, as after a
   *   split, in which both nodes were active. By default nothing is
   * @returns whether anything differs
   */
  assign(roles: ReadonlyMap<string, FlowRole>, inStepMs = Number.POSITIVE_INFINITY): boolean {
    const before = this.#roles;
    this.#roles = roles;
    for (const [address, role] of before) {
      if (role !== 'active' || roles.get(address) === 'active') continue;
      this.#released.add(address);
      if (roles.get(address) === 'standby') this.#orphaned.set(address, inStepMs);
    }
    for (const [address, role] of roles) {
      if (role !== 'active') continue;
      this.#orphaned.delete(address);
      this.#released.delete(address);
    }
    return roles.size !== before.size || [...roles].some(([it, role]) => before.get(it) !== role);
  }

  /** What this node is, by address. */
  get all(): ReadonlyMap<string, FlowRole> {
    return this.#roles;
  }

  /**
   * This node will be active for more addresses than it is: flows that come by them may be known here alone.
   *
   * @param roles what it will be
   * @param fromMs since when they may come
   */
  expect(roles: ReadonlyMap<string, FlowRole>, fromMs: number): void {
    for (const [address, role] of roles)
      if (role === 'active' && this.#roles.get(address) !== 'active' && !this.#orphaned.has(address))
        this.#orphaned.set(address, fromMs);
  }

  /** Whether a flow may be known here alone: the peer is told, and it is not deleted. @param sinceMs of the flow */
  isOrphan(tuples: string, sinceMs: number): boolean {
    if (this.#orphaned.size === 0) return false;
    const fromMs = this.#orphaned.get(destinationOf(tuples));
    return fromMs !== undefined && sinceMs >= fromMs && !this.#local.has(sourceOf(tuples));
  }

  get hasOrphans(): boolean {
    return this.#orphaned.size > 0;
  }

  /** The peer has told all its flows to the addresses for which it is active. */
  relieve(): void {
    for (const address of this.#peer) this.#released.delete(address);
  }

  /**
   * The peer has none of the flows that it had: what this node had when it was active last is known here alone.
   *
   * @returns addresses whose flows this node has from the peer
   */
  bequeath(): string[] {
    for (const address of this.#released) this.#orphaned.set(address, Number.NEGATIVE_INFINITY);
    return this.followed.filter((address) => !this.#released.has(address));
  }

  /** The peer has been told of all of them, and has had its time. */
  forgetOrphans(): void {
    this.#orphaned.clear();
  }

  /** Whether this node is active for the address that a flow leads to. Works for keys, too. */
  owns(tuples: string): boolean {
    return this.#roles.get(destinationOf(tuples)) === 'active' && !this.#local.has(sourceOf(tuples));
  }

  /** Addresses of this node itself: flows that begin here end with it. */
  setLocal(addresses: ReadonlySet<string>): void {
    this.#local = addresses;
  }

  /** Addresses for which the peer is active, as it says; none without a link. */
  setPeer(addresses: Iterable<string>): void {
    this.#peer = new Set(addresses);
  }

  get owned(): string[] {
    return [...this.#roles].filter(([, role]) => role === 'active').map(([address]) => address);
  }

  /** Addresses for which this node follows the peer. */
  get followed(): string[] {
    return [...this.#roles].filter(([, role]) => role !== 'active').map(([address]) => address);
  }

  /** Whether the peer must know a flow. @param sinceMs of the flow */
  sends(tuples: string, sinceMs: number): boolean {
    return this.owns(tuples) || this.isOrphan(tuples, sinceMs);
  }

  /** Whether the kernel's table of this node follows the peer's in this flow. Works for keys, too. */
  follows(tuples: string): boolean {
    const role = this.#roles.get(destinationOf(tuples));
    return (role === 'standby' || role === 'finishing') && !this.#local.has(sourceOf(tuples));
  }

  /** Whether it follows the peer in any flow. */
  get followsAny(): boolean {
    return this.followed.length > 0;
  }

  /** Whether a flow that the peer has not told of is to be deleted here. */
  deletes(tuples: string): boolean {
    const destination = destinationOf(tuples);
    return this.#roles.get(destination) === 'standby' && this.#peer.has(destination);
  }
}
