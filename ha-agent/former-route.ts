import type { VipRoute } from '../common/model.ts';
import { OUR_ROUTES } from './vip-lines.ts';

/** What words of a route look like: an address with or without prefix, a name, a number. */
const WORD = /^[0-9A-Za-z][\w.:/@-]{0,63}$/;

/**
 * Numbers of protocols (rtnetlink(7), rt_protos of iproute2): an `ip` that has read a name and then a number takes the name
 * for that number (iproute2 6.1).
 */
const PROTOCOLS: Readonly<Record<string, number>> = {
  ...{
    redirect: 1,
    boot: 3,
    static: 4,
    gated: 8,
    ra: 9,
    mrt: 10,
    zebra: 11,
    bird: 12,
    dnrouted: 13,
    xorp: 14,
  },
  ...{ ntk: 15, dhcp: 16, mrouted: 17, keepalived: 18, babel: 42, bgp: 186, isis: 187, ospf: 188, rip: 189 },
  eigrp: 192,
};

type Shown = Readonly<Record<string, unknown>>;

/**
 * The line for `ip` that brings back a route of the host, before a route of a VIP takes its place.
 *
 * @param shown as `ip -json route show` has it
 * @param route that is about to take its place
 * @returns undefined: it is this agent's own, or the kernel makes it by itself
 */
export function formerRoute(shown: Shown, route: VipRoute): string | undefined {
  const { protocol } = shown;
  if (protocol === String(OUR_ROUTES) || protocol === 'kernel') return undefined;
  const words = ['route', 'add', route.to];
  const add = (key: string, value: unknown) => {
    if (value !== undefined && WORD.test(String(value))) words.push(key, String(value));
  };
  const hops = Array.isArray(shown.nexthops) ? (shown.nexthops as Shown[]) : undefined;
  if (hops === undefined) words.push(...hop(shown));
  const number = PROTOCOLS[String(protocol)] ?? Number(protocol);
  if (Number.isInteger(number)) add('proto', number);
  add('scope', shown.scope);
  add('src', shown.prefsrc);
  add('metric', shown.metric);
  for (const limits of Array.isArray(shown.metrics) ? (shown.metrics as Shown[]) : [])
    for (const key of ['mtu', 'advmss', 'initcwnd', 'initrwnd']) add(key, limits[key]);
  if (route.table !== undefined) add('table', route.table);
  for (const each of hops ?? []) {
    words.push('nexthop', ...hop(each));
    add('weight', each.weight);
  }
  return words.join(' ');
}

function hop(shown: Shown): string[] {
  const { gateway, dev, flags } = shown;
  const via = shown.via as { family?: unknown; host?: unknown } | undefined;
  const words: string[] = [];
  if (typeof gateway === 'string' && WORD.test(gateway)) words.push('via', gateway);
  else if (via !== undefined && WORD.test(String(via.host))) words.push('via', 'inet6', String(via.host));
  if (typeof dev === 'string' && WORD.test(dev)) words.push('dev', dev);
  if (Array.isArray(flags) && flags.includes('onlink')) words.push('onlink');
  return words;
}
