import type { FlowRole } from './flow-roles.ts';

/** Roles by address of the VIP, as latin1 bytes. */
export type Roles = ReadonlyMap<string, FlowRole>;

/** A takeover waits so long for the last flows of the former active node, in milliseconds; at rest it waits for nothing. */
export const SETTLE_MS = 200;

export interface RoleSteps {
  /** To be taken up at once, one after the other. */
  readonly now: readonly Roles[];
  /** To be taken up when all that the peer told is written, or after `SETTLE_MS`; undefined: nothing waits. */
  readonly later: Roles | undefined;
}

/**
 * How a node comes to the roles that it is told. Before it becomes active for an address, what the former active node told
 * last is to be written. A role that waited for that and is over before it began counts all the same: clients may have come
 * to this node by then, and nobody else knows their flows. Pure.
 *
 * @param held what it has taken up
 * @param waiting what it was told before, and has not taken up as a whole
 * @param isSettled all that the peer told is written
 */
export function roleSteps(
  held: Roles,
  waiting: Roles | undefined,
  told: Roles,
  isSettled: boolean,
): RoleSteps {
  const missed = [...(waiting ?? [])].filter(([it, role]) => role === 'active' && told.get(it) !== 'active');
  const before = new Map([...held, ...missed]);
  const first = missed.length > 0 ? [before] : [];
  const isGained = (address: string, role: FlowRole) => role === 'active' && before.get(address) !== 'active';
  if (isSettled || ![...told].some(([address, role]) => isGained(address, role)))
    return { now: [...first, told], later: undefined };
  const rest = new Map<string, FlowRole>();
  for (const [address, role] of told)
    rest.set(address, isGained(address, role) ? (before.get(address) ?? 'standby') : role);
  return { now: [...first, rest], later: told };
}
