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

  /** @returns whether anything differs */
  assign(roles: ReadonlyMap<string, FlowRole>): boolean {
    const before = this.#roles;
    this.#roles = roles;
    return roles.size !== before.size || [...roles].some(([it, role]) => before.get(it) !== role);
  }

  /** Addresses of this node itself: flows that begin here end with it. */
  setLocal(addresses: ReadonlySet<string>): void {
    this.#local = addresses;
  }

  /** Addresses for which the peer is active, as it says. */
  setPeer(addresses: Iterable<string>): void {
    this.#peer = new Set(addresses);
  }

  get owned(): string[] {
    return [...this.#roles].filter(([, role]) => role === 'active').map(([address]) => address);
  }

  /** Whether the peer must know a flow. */
  sends(tuples: string): boolean {
    return this.#roles.get(destinationOf(tuples)) === 'active' && !this.#local.has(sourceOf(tuples));
  }

  /** Whether the kernel's table of this node follows the peer's in this flow. Works for keys, too. */
  follows(tuples: string): boolean {
    const role = this.#roles.get(destinationOf(tuples));
    return (role === 'standby' || role === 'finishing') && !this.#local.has(sourceOf(tuples));
  }

  /** Whether it follows the peer in any flow. */
  get followsAny(): boolean {
    return [...this.#roles.values()].some((role) => role !== 'active');
  }

  /** Whether a flow that the peer has not told of is to be deleted here. */
  deletes(tuples: string): boolean {
    const destination = destinationOf(tuples);
    return this.#roles.get(destination) === 'standby' && this.#peer.has(destination);
  }
}
