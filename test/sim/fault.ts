import type { Node } from './node.ts';
import type { Pair } from './pair.ts';

/** What a fault happens to. */
export interface Scene {
  readonly pair: Pair;
  /** Who serves when it begins, and the other one. */
  readonly active: Node;
  readonly standby: Node;
  readonly intervalMs: number;
  readonly deadMs: number;
  /** A datagram takes so long at most. */
  readonly tripMs: number;
  /** How long it lasts. */
  readonly lastsMs: number;
  readonly random: () => number;
}

/** Something of the config that not each pair has. */
export type Need = 'witness' | 'thirdPath' | 'loneGroup' | 'formerRelease' | 'presentRelease';

/**
 * One thing that goes wrong, and what it may cost. Bounds are of the longest time at a stretch, from its beginning to the
 * end of the story, and hold where nothing else is wrong. In milliseconds.
 */
export interface Fault {
  readonly name: string;
  begin(scene: Scene): void;
  end?(scene: Scene): void;
  /** From and to how long it lasts; default: 300 to 6,000. */
  readonly lastsMs?: readonly [number, number];
  /** Nobody answers for the VIP. */
  nobodyMs(scene: Scene): number;
  /** Both nodes do. */
  twoMs(scene: Scene): number;
  /** Who serves afterwards. `other`: the one that did not before. `any`: that is a matter of luck. */
  readonly who: 'stays' | 'other' | 'any';
  /** Where it is a matter of luck all the same. */
  isLuck?(scene: Scene): boolean;
  /** Most changes of the node that serves; default: what `who` wants. */
  readonly moves?: number;
  readonly needs?: Need;
  /**
   * In a story of several faults: how long after its end nobody may serve, or both may. undefined: it takes no part.
   */
  readonly tailMs?: { readonly nobody: number; readonly two: number };
  /** What an adversary has recorded of it does harm later: no other story is played on that pair. */
  readonly isLast?: true;
  /** Only together with another fault it costs what `tailMs` allows. */
  readonly harmlessAlone?: true;
}

/** A node and a helper have done something so long after a wish, at the pace that nothing disturbs. */
export const STEP_MS = 10;
/** A guardian has removed the VIPs so long after it noticed something. */
export const GUARDIAN_MS = 30;
/** `valid_lft`, one sweep of the kernel, and the time in which somebody notices. */
export const VIP_GONE_MS = 3_050;

export const never = (): number => 0;
/** A machine that does not say goodbye is taken for dead, and the other one adds the VIPs. */
export const silence = ({ deadMs, intervalMs, tripMs }: Scene): number =>
  deadMs + intervalMs / 2 + tripMs + STEP_MS;
/** The guardian removes the VIPs and says so. */
export const farewell = ({ tripMs }: Scene): number => GUARDIAN_MS + tripMs + 2 * STEP_MS;
/** Lbd and ip of a node that has said that it is active, and before which the other one yields at once. */
export const takeover = (): number => 2 * STEP_MS;
/** A planned change: a datagram, lbd and ip. */
export const handover = ({ tripMs }: Scene): number => tripMs + 3 * STEP_MS;
