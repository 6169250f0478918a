import { closeSync, constants, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { messageOf } from '../common/errors.ts';
import type { VipConfig } from '../common/model.ts';
import type { HostNetworkEvents } from './host-network.ts';

const SETTINGS = '/proc/sys/net/ipv4/conf';
/**
 * While a VIP is parked on `lo`, the host must neither answer ARP for it nor send it in its own requests; see
 * ip-sysctl in the kernel's documentation. Values that are higher already stay.
 */
const QUIET = { arp_ignore: 1, arp_announce: 2 } as const;
/**
 * Without it the kernel removes all other addresses of a network together with the one that came first, and that may be the
 * VIP: the node's own address would leave with it.
 */
const PROMOTE = { promote_secondaries: 1 } as const;
const WANTED: Readonly<Record<string, number>> = { ...QUIET, ...PROMOTE };
/** Settings for all VIPs of this host, in the place of a group. */
const ALL_VIPS = '';

/**
 * Settings of the kernel on the interfaces of VIPs: two for as long as some group has VIPs parked, one for as long as this
 * agent may remove VIPs.
 */
export class QuietArp {
  readonly #events: Pick<HostNetworkEvents, 'onSettings' | 'onTrouble'>;
  /** Settings that each group wants to be quiet, as `interface/setting`. */
  readonly #wanted = new Map<string, readonly string[]>();
  /** Former value by `interface/setting`, to be restored. */
  readonly #former = new Map<string, string>();

  constructor(events: Pick<HostNetworkEvents, 'onSettings' | 'onTrouble'>) {
    this.#events = events;
  }

  /** @throws Error when a setting could not be written; not access(2): that leaves out capabilities */
  check(vips: readonly VipConfig[]): void {
    for (const name of namesOf(vips, QUIET))
      if (existsSync(`${SETTINGS}/${name}`)) closeSync(openSync(`${SETTINGS}/${name}`, constants.O_WRONLY));
  }

  /**
   * The VIPs of a group are about to be parked.
   *
   * @throws Error when a setting cannot be written; what was changed is told before and can be undone
   */
  hold(group: string, vips: readonly VipConfig[]): void {
    this.#want(group, namesOf(vips, QUIET));
  }

  /**
   * VIPs may be removed from these interfaces from now on, and from no others.
   *
   * @returns what an operator should know where that is not safe, one line each
   */
  promote(vips: readonly VipConfig[]): string[] {
    const names = namesOf(vips, PROMOTE).filter((name) => existsSync(`${SETTINGS}/${name}`));
    const troubles: string[] = [];
    const able: string[] = [];
    for (const name of names)
      try {
        const isSet =
          readSetting(name) >= wantedOf(name) || readSetting(`all/${settingOf(name)}`) >= wantedOf(name);
        if (isSet) continue;
        closeSync(openSync(`${SETTINGS}/${name}`, constants.O_WRONLY));
        able.push(name);
      } catch (error) {
        troubles.push(
          `where a VIP is the first address of its network on ${name.slice(0, name.indexOf('/'))}, its removal takes the others with it: ${name} is 0 and cannot be set: ${messageOf(error)}`,
        );
      }
    const needed = (this.#wanted.get(ALL_VIPS) ?? []).filter((name) => names.includes(name));
    this.#want(ALL_VIPS, [...new Set([...needed, ...able])]);
    this.#undo();
    return troubles;
  }

  /** No VIP will be removed any more. */
  demote(): void {
    this.release(ALL_VIPS);
  }

  #want(user: string, names: readonly string[]): void {
    this.#wanted.set(user, names);
    const changes = names
      .map((name) => ({ name, value: readFileSync(`${SETTINGS}/${name}`, 'utf8').trim() }))
      .filter(({ name, value }) => Number(value) < wantedOf(name));
    for (const { name, value } of changes) if (!this.#former.has(name)) this.#former.set(name, value);
    if (changes.length > 0) this.#tell();
    for (const { name } of changes) writeFileSync(`${SETTINGS}/${name}`, String(wantedOf(name)));
  }

  /** Nothing of the group is parked any more: what no other group needs is as before. */
  release(group: string): void {
    if (this.#wanted.delete(group)) this.#undo();
  }

  /**
   * Undoes what an earlier agent changed, which was killed together with its guardian.
   *
   * @param former `interface/setting=value`, as it was told
   */
  restore(former: readonly string[]): void {
    for (const entry of former) {
      const at = entry.indexOf('=');
      this.#former.set(entry.slice(0, at), entry.slice(at + 1));
    }
    this.#undo();
  }

  /** Brings back what nobody needs any more. */
  #undo(): void {
    if (this.#former.size === 0) return;
    const needed = new Set([...this.#wanted.values()].flat());
    for (const [name, value] of this.#former) {
      if (needed.has(name)) continue;
      try {
        writeFileSync(`${SETTINGS}/${name}`, value);
      } catch (error) {
        // The interface may be gone, and its settings with it.
        this.#events.onTrouble(`${name}=${value} was not restored: ${messageOf(error)}`);
      }
      this.#former.delete(name);
    }
    this.#tell();
  }

  #tell(): void {
    this.#events.onSettings([...this.#former].map(([name, value]) => `${name}=${value}`));
  }
}

/** IPv6 needs none: a neighbour asks one interface, and no address depends on another one. */
function namesOf(vips: readonly VipConfig[], settings: Readonly<Record<string, number>>): string[] {
  const interfaces = new Set(vips.filter(({ family }) => family === 4).map((vip) => vip.interface));
  return [...interfaces].flatMap((name) => Object.keys(settings).map((setting) => `${name}/${setting}`));
}

function settingOf(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1);
}

function wantedOf(name: string): number {
  return WANTED[settingOf(name)] ?? 0;
}

function readSetting(name: string): number {
  return Number(readFileSync(`${SETTINGS}/${name}`, 'utf8').trim());
}
