import { messageOf } from '../common/errors.ts';
import type { VipConfig } from '../common/model.ts';
import type { IpRelay } from './ip-relay.ts';
import type { QuietArp } from './quiet-arp.ts';
import { cidr, hostPrefix, identity, isOn, parking, unparking } from './vip-lines.ts';

export interface ParkingHost {
  readonly relay: IpRelay;
  readonly quietArp: QuietArp;
  onTrouble(text: string): void;
}

/** VIPs of one group that are on `lo`, where no neighbour sees them, so that open connections go on. */
export class ParkedVips {
  readonly #group: string;
  readonly #host: ParkingHost;
  #vips: readonly VipConfig[] = [];

  constructor(group: string, host: ParkingHost) {
    this.#group = group;
    this.#host = host;
  }

  get any(): boolean {
    return this.#vips.length > 0;
  }

  /** Lines for `ip` that remove them. */
  get removals(): string[] {
    return this.#vips.map(unparking);
  }

  /** @returns whether all are there; if not, it is told as trouble */
  async park(vips: readonly VipConfig[]): Promise<boolean> {
    const { relay, quietArp, onTrouble } = this.#host;
    try {
      quietArp.hold(this.#group, vips);
      this.#vips = vips;
      const { objects } = await relay.change([...vips.map(parking), 'addr show dev lo']);
      const parked = vips.every((vip) => isOn(objects, 'lo', vip.address, hostPrefix(vip)));
      if (!parked) onTrouble('open connections break: the VIPs could not be parked on lo');
      return parked;
    } catch (error) {
      onTrouble(`open connections break: ${messageOf(error)}`);
      return false;
    }
  }

  async renew(): Promise<void> {
    const vips = this.#vips;
    if (vips.length > 0) await this.#host.relay.renew(vips.map(parking), () => vips === this.#vips);
  }

  async unpark(): Promise<void> {
    const vips = this.#vips;
    this.#vips = [];
    if (vips.length > 0) {
      const { objects } = await this.#host.relay.change([...vips.map(unparking), 'addr show dev lo']);
      const left = vips.filter((vip) => isOn(objects, 'lo', vip.address, hostPrefix(vip)));
      if (left.length > 0)
        this.#host.onTrouble(`still on lo until its lifetime is over: ${left.map(cidr).join(', ')}`);
    }
    if (this.#vips.length === 0) this.#host.quietArp.release(this.#group);
  }

  /** They have been removed. */
  removed(): void {
    this.#vips = [];
    this.#host.quietArp.release(this.#group);
  }

  /** Only these are configured. @param kept identities */
  keep(kept: ReadonlySet<string>): void {
    this.#vips = this.#vips.filter((vip) => kept.has(identity(vip)));
  }
}
