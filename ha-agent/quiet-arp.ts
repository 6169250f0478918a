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

/** Two settings of the kernel on the interfaces of parked VIPs, for as long as some group has VIPs parked. */
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
    for (const name of namesOf(vips))
      if (existsSync(`${SETTINGS}/${name}`)) closeSync(openSync(`${SETTINGS}/${name}`, constants.O_WRONLY));
  }

  /**
   * The VIPs of a group are about to be parked.
   *
   * @throws Error when a setting cannot be written; what was changed is told before and can be undone
   */
  hold(group: string, vips: readonly VipConfig[]): void {
    const names = namesOf(vips);
    this.#wanted.set(group, names);
    const changes = names
      .map((name) => ({
        name,
        value: readFileSync(`${SETTINGS}/${name}`, 'utf8').trim(),
        quiet: quietOf(name),
      }))
      .filter(({ value, quiet }) => Number(value) < quiet);
    for (const { name, value } of changes) if (!this.#former.has(name)) this.#former.set(name, value);
    if (this.#former.size > 0) this.#tell();
    for (const { name, quiet } of changes) writeFileSync(`${SETTINGS}/${name}`, String(quiet));
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

/** IPv6 needs none: a neighbour asks one interface. */
function namesOf(vips: readonly VipConfig[]): string[] {
  const interfaces = new Set(vips.filter(({ family }) => family === 4).map((vip) => vip.interface));
  return [...interfaces].flatMap((name) => Object.keys(QUIET).map((setting) => `${name}/${setting}`));
}

function quietOf(name: string): number {
  return QUIET[name.slice(name.lastIndexOf('/') + 1) as keyof typeof QUIET];
}
