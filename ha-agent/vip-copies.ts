import type { VipConfig } from '../common/model.ts';
import type { IpAnswer } from './ip-batch.ts';
import { hostPrefix } from './vip-lines.ts';

/** An address of a VIP on an interface of this host. */
export interface Copy {
  readonly address: string;
  readonly prefix: number;
  readonly interface: string;
}

/** Asks for every copy of an address, on any interface and with any prefix. A line for `ip`. */
export function copyQuery(vip: VipConfig): string {
  return `addr show to ${vip.address}/${hostPrefix(vip)}`;
}

/** @returns where `ip` has found addresses of VIPs */
export function copiesIn(objects: IpAnswer['objects'], vips: readonly VipConfig[]): Copy[] {
  const addresses = new Set(vips.map(({ address }) => address));
  const copies = objects.flatMap(({ ifname, addr_info }) =>
    (Array.isArray(addr_info) ? addr_info : [])
      .filter(({ local, prefixlen }) => addresses.has(local) && typeof prefixlen === 'number')
      .map(({ local, prefixlen }) => ({
        address: String(local),
        prefix: Number(prefixlen),
        interface: String(ifname),
      })),
  );
  // Two VIPs with one address are asked for twice.
  return [...new Map(copies.map((copy) => [copyName(copy), copy])).values()];
}

/** The line for `ip` that removes it. */
export function copyRemoval(copy: Copy): string {
  return `addr del ${copyName(copy)}`;
}

export function copyName({ address, prefix, interface: device }: Copy): string {
  return `${address}/${prefix} dev ${device}`;
}

/** @param isHere the VIPs are on this host @param isParked they are on `lo`, for connections that are open */
export function isOurs(copy: Copy, vips: readonly VipConfig[], isHere: boolean, isParked: boolean): boolean {
  return vips.some(
    (vip) =>
      vip.address === copy.address &&
      ((isHere && copy.interface === vip.interface && copy.prefix === vip.prefix) ||
        (isParked && copy.interface === 'lo' && copy.prefix === hostPrefix(vip))),
  );
}
