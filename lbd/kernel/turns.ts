import type { KernelBackend, KernelPool } from './kernel-service.ts';
import { maglevSize, maglevTable } from './maglev.ts';

/** How a pool's rules find the place of a new connection, and whose each place is. */
export interface Turns {
  /** nftables expression for the place, 0 to the number of places. */
  readonly expression: string;
  /** Index of a backend for each place; empty: nobody takes new clients. */
  readonly places: readonly number[];
}

/** Rather a rounded share than a table that the kernel takes long to load. */
const MAX_PLACES = 4096;
/** Part of the config's meaning: both nodes must hash alike, also across versions. */
const HASH_SEED = 0x7a4de3;

/** Whose turn it is, by the algorithm of the pool. */
export function turnsOf({
  algorithm,
  backends,
  family,
}: Pick<KernelPool, 'algorithm' | 'backends' | 'family'>): Turns {
  const source = family === 4 ? 'ip saddr' : 'ip6 saddr';
  const hashed = (places: number) => `jhash ${source} mod ${places} seed ${HASH_SEED}`;
  switch (algorithm) {
    case 'ip-hash':
    case 'consistent-hash': {
      const places = maglevTable(backends, maglevSize(backends.length));
      return { expression: hashed(maglevSize(backends.length)), places };
    }
    case 'random': {
      const places = smooth(backends.map(({ weight }) => weight));
      return { expression: `numgen random mod ${places.length}`, places };
    }
    default: {
      const even = algorithm === 'round-robin';
      const places = smooth(backends.map(({ weight }) => (even ? Math.min(weight, 1) : weight)));
      return { expression: `numgen inc mod ${places.length}`, places };
    }
  }
}

/**
 * One round of turns, spread evenly: weights 5, 1, 1 give a a b a c a a. Source: the smooth weighted turn of nginx,
 * `ngx_http_upstream_get_peer`.
 */
function smooth(weights: readonly number[]): number[] {
  const shares = reduced(weights);
  const total = shares.reduce((sum, share) => sum + share, 0);
  const credits = shares.map(() => 0);
  return Array.from({ length: total }, () => {
    let best = -1;
    for (const [i, share] of shares.entries()) {
      credits[i]! += share;
      if (share > 0 && (best < 0 || credits[i]! > credits[best]!)) best = i;
    }
    credits[best]! -= total;
    return best;
  });
}

/** The same proportions in smaller numbers; beyond MAX_PLACES they are rounded, but nobody loses the last turn. */
function reduced(weights: readonly number[]): readonly number[] {
  const divisor = weights.reduce(gcd, 0) || 1;
  const shares = weights.map((weight) => weight / divisor);
  const total = shares.reduce((sum, share) => sum + share, 0);
  if (total <= MAX_PLACES) return shares;
  return shares.map((share) => (share === 0 ? 0 : Math.max(1, Math.round((share * MAX_PLACES) / total))));
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** Whether somebody takes new clients. */
export function hasTurns(backends: readonly KernelBackend[]): boolean {
  return backends.some(({ weight }) => weight > 0);
}
