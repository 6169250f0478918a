import { readFile } from 'node:fs/promises';

/** TCP_LISTEN, and TCP_CLOSE as a UDP socket without a peer has it (include/net/tcp_states.h). */
const LISTENING = new Set(['0A', '07']);

/**
 * What has a port on this machine, whatever its address.
 *
 * @param tables as in /proc/net/tcp or udp, IPv4 and IPv6
 * @returns undefined: nobody that is listed
 */
export function holderOf(tables: readonly string[], port: number): 'listener' | 'connection' | undefined {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  let found: 'connection' | undefined;
  for (const table of tables)
    for (const [, local, state] of table.matchAll(/^ *\d+: [0-9A-F]+:([0-9A-F]{4}) \S+ ([0-9A-F]{2}) /gm)) {
      if (local !== wanted) continue;
      if (LISTENING.has(state!)) return 'listener';
      found = 'connection';
    }
  return found;
}

/** `holderOf` for this machine. */
export async function portHolder(
  protocol: 'tcp' | 'udp',
  port: number,
): Promise<'listener' | 'connection' | undefined> {
  const tables = [protocol, `${protocol}6`].map((name) =>
    readFile(`/proc/net/${name}`, 'latin1').catch(() => ''),
  );
  return holderOf(await Promise.all(tables), port);
}
