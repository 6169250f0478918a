import { settleUntil } from './election-times.ts';
import type { Turn } from './election-turn.ts';
import type { ElectionState } from './election-types.ts';

/** The link of this node is new: a switch may take its time before it carries frames. */
export function linkUp({ s, now }: Turn, why: string): void {
  s.link = { sinceMs: now, why, carriesSinceMs: undefined };
}

/** A sign from beyond this node's own link: the network carries frames. */
export function carries({ s, now }: Turn): void {
  if (s.link.carriesSinceMs === undefined) s.link = { ...s.link, carriesSinceMs: now };
}

/** Why this node may be deaf only because its link is new; undefined: it is not. */
export function settling({ s, now, config }: Turn): string | undefined {
  if (s.link.carriesSinceMs !== undefined || now >= settleUntil(config, s)) return undefined;
  return `${s.link.why}, and nothing shows yet that the network carries frames; waiting ${(config.settleMs ?? 0) / 1_000} s at most`;
}

/**
 * How long this leadership has really served: the VIPs were here, and something showed that the network carries frames.
 * 0: it has not.
 */
export function servedMs(state: ElectionState, now: number): number {
  const { role, vip, heldSinceMs, link } = state;
  if (role !== 'active' || vip !== 'held' || link.carriesSinceMs === undefined) return 0;
  return Math.max(0, now - Math.max(heldSinceMs, link.carriesSinceMs));
}
