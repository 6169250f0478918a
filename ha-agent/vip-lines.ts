import type { VipConfig, VipRoute } from '../common/model.ts';
import type { IpAnswer } from './ip-batch.ts';

/**
 * Lifetime of a VIP. The kernel removes an address that nobody renews within 1 s after it (it sweeps once a
 * second), so this is the last of the three layers.
 */
const LIFETIME_S = 2;

/** Tells routes of this agent from the host's own (rtnetlink(7), `rtm_protocol`); a number that no known program uses. */
export const OUR_ROUTES = 77;

/** The lines of `ip -batch` by which VIPs and their routes come and go. */

export function cidr(vip: VipConfig): string {
  return `${vip.address}/${vip.prefix}`;
}

/** Address and place: what makes a VIP another one. */
export function identity(vip: VipConfig): string {
  return `${cidr(vip)} dev ${vip.interface}`;
}

/** Adds it or renews its lifetime. Without duplicate address detection, which would keep it silent for a second. */
export function addition(vip: VipConfig): string {
  const flags = `${vip.prefixRoute ? '' : ' noprefixroute'}${vip.family === 6 ? ' nodad' : ''}`;
  return `addr replace ${identity(vip)} ${lifetime(vip)}${flags}`;
}

export function removal(vip: VipConfig): string {
  return `addr del ${identity(vip)}`;
}

/** Keeps it on the loopback interface for connections that are open. */
export function parking(vip: VipConfig): string {
  return `addr replace ${vip.address}/${hostPrefix(vip)} dev lo ${lifetime(vip)}${vip.family === 6 ? ' nodad' : ''}`;
}

export function unparking(vip: VipConfig): string {
  return `addr del ${vip.address}/${hostPrefix(vip)} dev lo`;
}

export function hostPrefix({ family }: Pick<VipConfig, 'family'>): number {
  return family === 4 ? 32 : 128;
}

/** Asks for what is in the place of a route. */
export function routeQuery({ to, table }: VipRoute): string {
  return `route show to exact ${to}${table === undefined ? '' : ` table ${table}`}`;
}

/** @param verb `replace` for a takeover; `add` leaves a route alone that is there */
export function routeLine(verb: 'replace' | 'add' | 'del', route: VipRoute): string {
  const { to, via, interface: device, src, table } = route;
  const parts = [`route ${verb} ${to}`];
  if (via !== undefined) parts.push(`via ${via}`);
  parts.push(`dev ${device}`);
  if (src !== undefined) parts.push(`src ${src}`);
  parts.push(`proto ${OUR_ROUTES}`);
  if (table !== undefined) parts.push(`table ${table}`);
  return parts.join(' ');
}

/** Whether an interface has an address, by what `ip` answered. */
export function isOn(objects: IpAnswer['objects'], name: string, address: string, prefix: number): boolean {
  return objects.some(
    ({ ifname, addr_info }) =>
      ifname === name &&
      Array.isArray(addr_info) &&
      addr_info.some((info) => info.local === address && info.prefixlen === prefix),
  );
}

/** IPv6 would make the newest address the source of this host's own connections; one that is not preferred is never that. */
function lifetime({ family }: VipConfig): string {
  return `valid_lft ${LIFETIME_S} preferred_lft ${family === 6 ? 0 : LIFETIME_S}`;
}
