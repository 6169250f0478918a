import type { VipConfig } from '../../common/model.ts';
import type { StepTime, VipAnswer } from '../../ha-agent/election-types.ts';
import type {
  GroupNetwork,
  HostNetwork,
  HostNetworkEvents,
  NetworkConfig,
  Probed,
} from '../../ha-agent/host-network.ts';

/** A host whose addresses are sets, one a group. */
export class FakeNetwork implements HostNetwork {
  readonly warnings: readonly string[] = [];
  readonly notes: readonly string[] = [];
  readonly calls: string[] = [];
  secondChance = false;
  /** Why the next change of the config fails. */
  refusing: string | undefined;
  onChange: () => void = () => {};
  /** Awaited by each change of the config. */
  onConfigure: () => Promise<void> | undefined = () => undefined;
  /** Machines that answer for everybody. */
  proxies: readonly string[] = [];
  /** Who answers when this host asks for the VIPs. */
  neighbours: (asked: readonly string[]) => readonly VipAnswer[] = () => [];
  readonly events: HostNetworkEvents;
  readonly #groups = new Map<string, FakeGroup>();

  constructor({ groups }: NetworkConfig, events: HostNetworkEvents) {
    this.events = events;
    for (const { name, vips } of groups) this.#groups.set(name, new FakeGroup(this, name, vips));
  }

  /** Of all groups. */
  get held(): ReadonlySet<string> {
    return new Set([...this.#groups.values()].flatMap(({ held }) => [...held]));
  }

  /** VIPs that only open connections have, of all groups. */
  get parked(): ReadonlySet<string> {
    return new Set([...this.#groups.values()].flatMap(({ parked }) => [...parked]));
  }

  group(name = 'default'): FakeGroup {
    const group = this.#groups.get(name);
    if (group === undefined) throw new Error(`there is no group ${name}`);
    return group;
  }

  async open(): Promise<void> {
    this.calls.push('open');
  }

  async configure({ groups }: NetworkConfig): Promise<void> {
    this.calls.push('configure');
    await this.onConfigure();
    if (this.refusing !== undefined) throw new Error(this.refusing);
    for (const name of this.#groups.keys())
      if (!groups.some((group) => group.name === name)) this.#groups.delete(name);
    for (const { name, vips } of groups) {
      const known = this.#groups.get(name);
      if (known === undefined) this.#groups.set(name, new FakeGroup(this, name, vips));
      else known.configure(vips);
    }
    this.onChange();
  }

  async close(): Promise<void> {
    this.calls.push('close');
  }
}

/** `failing` makes the next changes fail with that cause. */
export class FakeGroup implements GroupNetwork {
  readonly held = new Set<string>();
  readonly parked = new Set<string>();
  gateways: readonly string[] = [];
  failing: string | Error | undefined;
  readonly copies: readonly string[] = [];
  /** What was held at each look for rivals. */
  readonly looks: (readonly string[])[] = [];
  readonly #host: FakeNetwork;
  readonly #name: string;
  #vips: readonly VipConfig[];

  constructor(host: FakeNetwork, name: string, vips: readonly VipConfig[]) {
    this.#host = host;
    this.#name = name;
    this.#vips = vips;
  }

  get secondChance(): boolean {
    return this.#host.secondChance;
  }

  configure(vips: readonly VipConfig[]): void {
    this.#vips = vips;
    const kept = vips.map(({ address, prefix }) => `${address}/${prefix}`);
    for (const held of this.held) if (!kept.includes(held)) this.held.delete(held);
  }

  async addVips(): Promise<readonly StepTime[]> {
    await this.renewVips();
    return [];
  }

  async renewVips(): Promise<void> {
    this.#note('add');
    if (this.failing !== undefined)
      throw this.failing instanceof Error ? this.failing : new Error(this.failing);
    for (const { address, prefix } of this.#vips) this.held.add(`${address}/${prefix}`);
    this.parked.clear();
    this.#host.onChange();
  }

  async rehearse(): Promise<void> {
    this.#note('rehearse');
    if (this.failing !== undefined) throw new Error(String(this.failing));
  }

  async probe(neighbours: readonly string[]): Promise<Probed> {
    return { answers: this.#host.neighbours(neighbours), proxies: this.#host.proxies };
  }

  lookForRivals(): void {
    this.looks.push([...this.held]);
  }

  async removeVips(): Promise<void> {
    this.#note('remove');
    this.held.clear();
    this.parked.clear();
    this.#host.onChange();
  }

  async parkVips(): Promise<boolean> {
    this.#note('park');
    for (const vip of this.held) this.parked.add(vip);
    this.held.clear();
    this.#host.onChange();
    return true;
  }

  async renewParked(): Promise<void> {
    this.#note('renew parked');
  }

  async unparkVips(): Promise<void> {
    this.#note('unpark');
    this.parked.clear();
  }

  async forward(): Promise<void> {
    this.#note('forward');
  }

  async unforward(): Promise<void> {
    this.#note('unforward');
  }

  announce(): void {
    this.#note('announce');
  }

  #note(call: string): void {
    this.#host.calls.push(this.#name === 'default' ? call : `${this.#name}: ${call}`);
  }
}
