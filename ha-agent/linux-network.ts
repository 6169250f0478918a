import { within } from '../common/bounded.ts';
import { OperatorError } from '../common/errors.ts';
import type { GroupConfig } from '../common/model.ts';
import { Announcer } from './announcer.ts';
import { Complaints } from './complaints.ts';
import type { HostNetwork, HostNetworkEvents, NetworkConfig } from './host-network.ts';
import { InterfaceWatch } from './interface-watch.ts';
import { IpBatch } from './ip-batch.ts';
import { IpRelay, type Patience } from './ip-relay.ts';
import { LinuxGroup, type LinuxHost } from './linux-group.ts';
import { NeighbourProbe } from './neighbour-probe.ts';
import { QuietArp } from './quiet-arp.ts';
import { Strays } from './strays.ts';
import { type Copy, copiesIn, copyName, copyQuery, copyRemoval } from './vip-copies.ts';
import { identity } from './vip-lines.ts';

/** A machine that boots may be slow, and nobody waits for the VIPs yet. */
const AT_START: Patience = { overtakeMs: 5_000, limitMs: 15_000 };
/** `nft` may take its time: what it can do is told later then. */
const ABILITY_MS = 1_000;
/** The kernel tells of addresses that come; what it has not told is found by then. */
const TEND_MS = 10_000;

/** The network of a Linux host, by way of `ip`, `socat`, `arping`, `ndptool`, `nft` and some settings of the kernel. */
export class LinuxNetwork implements HostNetwork {
  readonly #relay: IpRelay;
  /** By what they are for: none of them waits for another. */
  readonly #batches: Readonly<Record<'queries' | 'routes' | 'routes6' | 'neighbours', IpBatch>>;
  readonly #announcer: Announcer;
  readonly #watch: InterfaceWatch;
  readonly #host: LinuxHost;
  readonly #complaints: Complaints;
  readonly #events: HostNetworkEvents;
  /** Addresses that an operator's command has brought here. */
  readonly #told = new Set<string>();
  readonly #formerRoutes = new Map<string, readonly string[]>();
  #groups: readonly LinuxGroup[];
  #kernelFlows: boolean;
  readonly #leftSettings: readonly string[];
  readonly #leftRoutes: readonly string[];
  #unsafe: readonly string[] = [];
  #tending: NodeJS.Timeout | undefined;

  /**
   * @param peerAddress to which segments of the peer's connections are sent on
   * @param leftSettings what an earlier run has told by `onSettings` and not undone
   * @param leftRoutes likewise, by `onFormerRoutes`
   */
  constructor(
    { groups, watched, kernelFlows = false }: NetworkConfig,
    peerAddress: string,
    events: HostNetworkEvents,
    leftSettings: readonly string[] = [],
    leftRoutes: readonly string[] = [],
  ) {
    this.#leftRoutes = leftRoutes;
    this.#leftSettings = leftSettings;
    this.#events = events;
    this.#kernelFlows = kernelFlows;
    this.#complaints = new Complaints(events.onTrouble);
    const tellAdders = () =>
      events.onAdders([...this.#relay.pids, this.#batches.routes.pid].filter((pid) => pid !== undefined));
    this.#batches = {
      queries: new IpBatch(),
      routes: new IpBatch('ip', tellAdders),
      routes6: new IpBatch('ip', () => {}, 6),
      neighbours: new IpBatch(),
    };
    this.#relay = new IpRelay({
      onStart: tellAdders,
      onSlow: (why) => this.#complaints.add('ip', `ip is slow or fails: ${why}`),
    });
    this.#announcer = new Announcer(events.onTrouble);
    this.#watch = new InterfaceWatch(watched, this.#batches.queries, {
      onInterface: events.onInterface,
      onTrouble: (why) => this.#complaints.add('watch', why),
      isDispensable: (name, lacking) =>
        this.#groups.every(
          ({ config: { vips } }) =>
            vips.every((vip) => vip.interface !== name) || vips.some((vip) => !lacking.has(vip.interface)),
        ),
      onDispensed: (name, why) =>
        this.#complaints.add(`lacking ${name}`, `${why}: left aside until it is there and up`),
      onNew: () => {
        this.#relay.refresh();
        for (const batch of Object.values(this.#batches)) batch.refresh();
        this.#promote();
      },
      onAddress: (copy) => this.#onAddress(copy),
    });
    this.#host = {
      relay: this.#relay,
      ...this.#batches,
      prober: new NeighbourProbe(this.#batches.neighbours),
      strays: new Strays(),
      allVips: () => this.#groups.flatMap(({ config: { vips } }) => vips),
      announcer: this.#announcer,
      quietArp: new QuietArp(events),
      peerAddress,
      knowsFlows: () => this.#kernelFlows,
      onTrouble: events.onTrouble,
      onAbility: events.onAbility,
      onTold: (address, here) => {
        if (here) this.#told.add(address);
        else this.#told.delete(address);
        events.onTold([...this.#told]);
      },
      onFormerRoutes: (group, lines) => {
        this.#formerRoutes.set(group, lines);
        events.onFormerRoutes([...this.#formerRoutes.values()].flat());
      },
    };
    this.#groups = groups.map((group) => new LinuxGroup(group, this.#host));
  }

  get notes(): readonly string[] {
    return this.#ofGroups(({ notes }) => notes);
  }

  get warnings(): readonly string[] {
    return [
      ...this.#ofGroups(({ warnings }) => warnings),
      ...this.#announcer.warnings(this.#host.allVips()),
      ...this.#unsafe,
      ...this.#complaints.warnings,
    ];
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
    const look = [...vips.map(copyQuery), ...interfaces.map((name) => `addr show dev ${name}`)];
    let { objects, errors } = await this.#relay.change(
      [...groups.flatMap(LinuxGroup.removals), ...this.#leftRoutes, ...look],
      AT_START,
    );
    if (errors.some((line) => line.includes('Operation not permitted')))
      throw new OperatorError(
        'NO_PERMISSION',
        'no permission to change addresses; run as root or with CAP_NET_ADMIN',
      );
    const copies = copiesIn(objects, vips);
    if (copies.length > 0) {
      ({ objects, errors } = await this.#relay.change([...copies.map(copyRemoval), ...look], AT_START));
      const left = copiesIn(objects, vips);
      if (left.length > 0)
        throw new OperatorError(
          'STALE_VIP',
          `a VIP is on this host already and cannot be removed: ${left.map(copyName).join(', ')}`,
        );
      for (const copy of copies)
        this.#complaints.add(
          `copy ${copyName(copy)}`,
          `${copyName(copy)} was here at the start, and not by this agent: removed, or both nodes would answer for it`,
        );
    }
    this.#host.quietArp.restore(this.#leftSettings);
    if (this.#leftRoutes.length > 0) this.#events.onFormerRoutes([]);
    this.#promote();
    this.#announcer.learn(objects);
    void this.#announcer.open();
    this.#relay.warm();
    for (const batch of [this.#batches.queries, this.#batches.neighbours]) batch.warm();
    await within(ABILITY_MS, Promise.all(this.#groups.map((group) => group.findSecondChance())));
    await this.#watch.start();
    this.#tending = setInterval(() => this.#tend(), TEND_MS);
  }

  async configure({ groups, watched, kernelFlows = false }: NetworkConfig): Promise<void> {
    const known = new Map(this.#groups.map((group) => [group.config.name, group]));
    const gone = this.#groups.filter(({ config }) => !groups.some(({ name }) => name === config.name));
    await this.#configureKnown(groups.filter(({ name }) => known.has(name)));
    this.#kernelFlows = kernelFlows;
    this.#groups = groups.map((group) => known.get(group.name) ?? new LinuxGroup(group, this.#host));
    this.#promote();
    for (const group of this.#groups) if (!known.has(group.config.name)) void group.findSecondChance();
    const staying = new Set(groups.flatMap(({ vips }) => vips.map(identity)));
    await Promise.all(gone.map((group) => group.leave(staying)));
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
    clearInterval(this.#tending);
    this.#host.quietArp.demote();
    // What fails here is left to the guardian, which does the same once more.
    await Promise.all(this.#groups.map((group) => group.close()));
    this.#announcer.close();
    this.#watch.close();
    this.#relay.close();
    for (const batch of Object.values(this.#batches)) batch.close();
  }

  /** Not later than the removal of a VIP, which may be done by the guardian. */
  #promote(): void {
    const before = this.#unsafe;
    this.#unsafe = this.#host.quietArp.promote(this.#host.allVips());
    for (const text of this.#unsafe) if (!before.includes(text)) this.#host.onTrouble(text);
  }

  /** What fails is done at the next turn. */
  #tend(): void {
    this.#watch.look();
    for (const group of this.#groups) void group.tend().catch(() => {});
  }

  #onAddress(copy: Copy): void {
    for (const group of this.#groups)
      if (group.config.vips.some(({ address }) => address === copy.address) && group.isForeign(copy))
        void group.tend().catch(() => {});
  }

  #ofGroups(linesOf: (group: LinuxGroup) => readonly string[]): readonly string[] {
    const [only, ...more] = this.#groups;
    if (only !== undefined && more.length === 0) return linesOf(only);
    return this.#groups.flatMap((group) =>
      linesOf(group).map((line) => `group ${group.config.name}: ${line}`),
    );
  }
}
