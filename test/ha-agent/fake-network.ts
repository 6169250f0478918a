import type { VipConfig } from '../../common/model.ts';
import type { HostNetwork, HostNetworkEvents } from '../../ha-agent/host-network.ts';

/** A host whose addresses are a set. `failing` makes the next changes fail with that cause. */
export class FakeNetwork implements HostNetwork {
  readonly held = new Set<string>();
  readonly warnings: readonly string[] = [];
  readonly calls: string[] = [];
  failing: string | undefined;
  /** VIPs that only open connections have. */
  readonly parked = new Set<string>();
  secondChance = false;
  onChange: () => void = () => {};
  readonly events: HostNetworkEvents;
  #vips: readonly VipConfig[];

  constructor(vips: readonly VipConfig[], events: HostNetworkEvents) {
    this.#vips = vips;
    this.events = events;
  }

  async open(): Promise<void> {
    this.calls.push('open');
  }

  async addVips(): Promise<void> {
    this.calls.push('add');
    if (this.failing !== undefined) throw new Error(this.failing);
    for (const { address, prefix } of this.#vips) this.held.add(`${address}/${prefix}`);
    this.parked.clear();
    this.onChange();
  }

  async removeVips(): Promise<void> {
    this.calls.push('remove');
    this.held.clear();
    this.parked.clear();
    this.onChange();
  }

  async parkVips(): Promise<boolean> {
    this.calls.push('park');
    for (const vip of this.held) this.parked.add(vip);
    this.held.clear();
    this.onChange();
    return true;
  }

  async renewParked(): Promise<void> {
    this.calls.push('renew parked');
  }

  async unparkVips(): Promise<void> {
    this.calls.push('unpark');
    this.parked.clear();
  }

  async forward(): Promise<void> {
    this.calls.push('forward');
  }

  async unforward(): Promise<void> {
    this.calls.push('unforward');
  }

  announce(): void {
    this.calls.push('announce');
  }

  async configure(vips: readonly VipConfig[]): Promise<void> {
    this.calls.push('configure');
    this.#vips = vips;
  }

  async close(): Promise<void> {
    this.calls.push('close');
  }
}
