import { readFileSync } from 'node:fs';

const DIRECTORY = '/proc/sys/net/netfilter/nf_conntrack_';

/**
 * How full the connection tracking of this host's kernel is, 0 to 1. When it is full the kernel drops what would begin a
 * new connection, whoever begins it.
 *
 * @param read a file of the host; throws where there is none
 * @returns 0 where the kernel tracks nothing
 */
export function trackingFill(read = (path: string): string | number => readFileSync(path, 'latin1')): number {
  try {
    const [count, max] = [Number(read(`${DIRECTORY}count`)), Number(read(`${DIRECTORY}max`))];
    return max > 0 ? count / max : 0;
  } catch {
    return 0;
  }
}
