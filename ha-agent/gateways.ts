import { readFileSync } from 'node:fs';

const ROUTES = '/proc/net/route';
/** It goes by a gateway, see `route` in the kernel's `net/ipv4/fib_trie.c`. */
const RTF_GATEWAY = 0x2;

/** IPv4 gateways of this host's default routes now; empty where that cannot be known. */
export function gateways(): readonly string[] {
  try {
    return gatewaysOf(readFileSync(ROUTES, 'utf8'));
  } catch {
    return [];
  }
}

/** @param routes as `/proc/net/route` lists them: hexadecimal, addresses in the byte order of the host (little endian) */
export function gatewaysOf(routes: string): readonly string[] {
  return routes.split('\n').flatMap((line) => {
    const [, to, gateway = '', flags = ''] = line.split('\t');
    const isDefault = to === '00000000' && (Number.parseInt(flags, 16) & RTF_GATEWAY) !== 0;
    if (!isDefault || !/^[0-9A-F]{8}$/.test(gateway)) return [];
    return [[...Buffer.from(gateway, 'hex')].reverse().join('.')];
  });
}
