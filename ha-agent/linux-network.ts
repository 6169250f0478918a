import { OperatorError } from '../common/errors.ts';
import type { GroupConfig } from '../common/model.ts';
import { Announcer } from './announcer.ts';
import type { HostNetwork, HostNetworkEvents, NetworkConfig } from './host-network.ts';
import { InterfaceWatch } from './interface-watch.ts';
import { IpBatch } from './ip-batch.ts';
import { LinuxGroup, type LinuxHost } from './linux-group.ts';
import { QuietArp } from './quiet-arp.ts';
import { identity, isOn } from './vip-lines.ts';

/** The network of a Linux host, by way of `ip`, `socat`, `arping`, `ndptool`, `nft` and two settings of the kernel. */
export class LinuxNetwork implements HostNetwork {
  readonly #ip: IpBatch;
  readonly #announcer: Announcer;
  readonly #watch: InterfaceWatch;
  readonly #host: LinuxHost;
  /** Addresses that an operator's command has brought here. */
  readonly #told = new Set<string>();
  #groups: readonly LinuxGroup[];
  #kernelFlows: boolean;
  readonly #leftSettings: readonly string[];

  /**
   * @param peerAddress to which segments of the peer's connections are sent on
   * @param leftSettings what an earlier run has told by `onSettings` and not undone
   */
  constructor(
    { groups, watched, kernelFlows = false }: NetworkConfig,
    peerAddress: string,
    events: HostNetworkEvents,
    leftSettings: readonly string[] = [],
  ) {
    this.#leftSettings = leftSettings;
    this.#kernelFlows = kernelFlows;
    this.#ip = new IpBatch('ip', events.onAdder);
    this.#announcer = new Announcer(events.onTrouble);
    this.#watch = new InterfaceWatch(watched, this.#ip, events);
    this.#host = {
      ip: this.#ip,
      announcer: this.#announcer,
      quietArp: new QuietArp(events),
      peerAddress,
      knowsFlows: () => this.#kernelFlows,
      onTrouble: events.onTrouble,
      onTold: (address, here) => {
        if (here) this.#told.add(address);
        else this.#told.delete(address);
        events.onTold([...this.#told]);
      },
    };
    this.#groups = groups.map((group) => new LinuxGroup(group, this.#host));
  }

  get warnings(): readonly string[] {
    const vips = this.#groups.flatMap(({ config }) => config.vips);
    return [...this.#groups.flatMap((group) => this.#ofGroup(group)), ...this.#announcer.warnings(vips)];
  }

  group(name: string): LinuxGroup {
    const group = this.#groups.find(({ config }) => config.name === name);
    if (group === undefined) throw new Error(`there is no group ${name}`);
    return group;
  }

  async open(): Promise<void> {
    const groups = this.#groups.map(({ config }) => config);
    const vips = groups.flatMap((group) => group.vips);
    const interfaces = [...new Set(vips.map((vip) => vip.interface))];
    const { objects, errors } = await this.#ip.run([
      ...groups.flatMap(LinuxGroup.removals),
      ...interfaces.map((name) => `addr show dev ${name}`),
    ]);
    if (errors.some((line) => line.includes('Operation not permitted')))
      throw new OperatorError(
        'NO_PERMISSION',
        'no permission to change addresses; run as root or with CAP_NET_ADMIN',
      );
    const left = vips.filter((vip) => isOn(objects, vip.interface, vip.address, vip.prefix));
    if (left.length > 0)
      throw new OperatorError(
        'STALE_VIP',
        `a VIP of an earlier run cannot be removed: ${left.map(identity).join(', ')}`,
      );
    this.#host.quietArp.restore(this.#leftSettings);
    this.#announcer.learn(objects);
    await this.#announcer.open();
    for (const group of this.#groups) await group.findSecondChance();
    await this.#watch.start();
  }

  async configure({ groups, watched, kernelFlows = false }: NetworkConfig): Promise<void> {
    const known = new Map(this.#groups.map((group) => [group.config.name, group]));
    const gone = this.#groups.filter(({ config }) => !groups.some(({ name }) => name === config.name));
    const leaving = gone.flatMap(({ config }) => LinuxGroup.removals(config));
    if (leaving.length > 0) await this.#ip.run(leaving);
    await this.#configureKnown(groups.filter(({ name }) => known.has(name)));
    for (const group of gone) await group.close();
    this.#kernelFlows = kernelFlows;
    this.#groups = groups.map((group) => known.get(group.name) ?? new LinuxGroup(group, this.#host));
    for (const group of this.#groups) await group.findSecondChance();
    await this.#watch.watch(watched);
  }

  /** All groups or none. */
  async #configureKnown(configs: readonly GroupConfig[]): Promise<void> {
    const former: (readonly [group: LinuxGroup, config: GroupConfig])[] = [];
    // A VIP that goes from one group to another stays where it is.
    const staying = new Set(
      configs.filter(({ name }) => this.group(name).held.size > 0).flatMap(({ vips }) => vips.map(identity)),
    );
    try {
      for (const config of configs) {
        const group = this.group(config.name);
        former.push([group, group.config]);
        await group.configure(config, staying);
      }
    } catch (error) {
      // What does not come back now does with the next renewal.
      for (const [group, config] of former.toReversed())
        await group.configure(config, staying).catch(() => {});
      throw error;
    }
  }

  async close(): Promise<void> {
    // What fails here is left to the guardian, which does the same once more.
    for (const group of this.#groups) await group.close();
    this.#announcer.close();
    this.#watch.close();
    this.#ip.close();
  }

  #ofGroup(group: LinuxGroup): readonly string[] {
    if (this.#groups.length === 1) return group.warnings;
    return group.warnings.map((line) => `group ${group.config.name}: ${line}`);
  }
}
