import type { VipConfig } from '../../common/model.ts';
import type { HostNetwork, HostNetworkEvents } from '../../ha-agent/host-network.ts';

/** A host whose addresses are a set. `failing` makes the next changes fail with that cause. */
export class FakeNetwork implements HostNetwork {
  readonly held = new Set<string>();
  readonly warnings: readonly string[] = [];
  readonly calls: string[] = [];
  failing: string | undefined;
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
    this.onChange();
  }

  async removeVips(): Promise<void> {
    this.calls.push('remove');
    this.held.clear();
    this.onChange();
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
