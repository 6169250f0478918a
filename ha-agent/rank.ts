import { isIPv4 } from 'node:net';

/** One node's claim to the active role, as both nodes see it. */
export interface Claim {
  readonly epoch: number;
  /** How long this leadership has really served; 0 for a candidate. */
  readonly servedMs: number;
  readonly healthy: boolean;
  readonly priority: number;
  readonly address: string;
}

/** Two nodes that took over at the same time have served equally long. */
const CLEARLY_MS = 1_000;

/**
 * Who takes the role when nobody has it: a node whose `lbd` has backends before one without, then the higher
 * priority, then the numerically higher address (as VRRP, RFC 9568 section 6.4.3, breaks ties).
 *
 * @returns above 0 when `a` goes first; never 0 for two different nodes
 */
export function compareCandidates(a: Claim, b: Claim): number {
  return (
    Number(a.healthy) - Number(b.healthy) || a.priority - b.priority || compareAddresses(a.address, b.address)
  );
}

/**
 * Who stays when both are active: the later epoch, because that takeover knew of more; then who has served clearly longer,
 * because clients are there; then priority and address. Health does not count: both see the same backends, and the loser
 * could flap.
 *
 * @returns above 0 when `a` stays
 */
export function compareActives(a: Claim, b: Claim): number {
  const longer = a.servedMs - b.servedMs;
  return (
    a.epoch - b.epoch ||
    (Math.abs(longer) >= CLEARLY_MS ? longer : 0) ||
    a.priority - b.priority ||
    compareAddresses(a.address, b.address)
  );
}

/** Numeric order of two IP addresses; IPv4 before IPv6. */
export function compareAddresses(a: string, b: string): number {
  const left = numeric(a);
  const right = numeric(b);
  return left < right ? -1 : left > right ? 1 : 0;
}

/** @param address as the config gives it: canonical, no zone, RFC 5952 for IPv6 */
function numeric(address: string): bigint {
  if (isIPv4(address)) return address.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  const [head = '', tail] = address.split('::');
  const before = groups(head);
  const after = groups(tail ?? '');
  const zeros = new Array<bigint>(Math.max(0, 8 - before.length - after.length)).fill(0n);
  const all = [...before, ...(tail === undefined ? [] : zeros), ...after];
  return all.reduce((sum, group) => sum * 65536n + group, 1n);
}

function groups(text: string): bigint[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!isIPv4(group)) return [BigInt(`0x${group}`)];
    const value = numeric(group);
    return [value / 65536n, value % 65536n];
  });
}
