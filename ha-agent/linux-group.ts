import { within } from '../common/bounded.ts';
import { messageOf } from '../common/errors.ts';
import { monotonicMs } from '../common/events.ts';
import type { GroupConfig, VipConfig } from '../common/model.ts';
import type { Announcer } from './announcer.ts';
import { Complaints } from './complaints.ts';
import type { StepTime } from './election-types.ts';
import { gateways } from './gateways.ts';
import type { GroupNetwork, Probed } from './host-network.ts';
import type { NeighbourProbe } from './neighbour-probe.ts';
import { ParkedVips, type ParkingHost } from './parked-vips.ts';
import { SecondChance, type SecondChanceHost } from './second-chance.ts';
import type { Strays } from './strays.ts';
import type { VipCommandEvents } from './vip-command.ts';
import { VipCommands } from './vip-commands.ts';
import { type Copy, copyName } from './vip-copies.ts';
import { addition, cidr, identity, isOn, removal, routeLine, unparking } from './vip-lines.ts';
import { VipLosses } from './vip-losses.ts';
import { VipPresence } from './vip-presence.ts';
import { type RouteHost, VipRoutes } from './vip-routes.ts';
import { notListed, vipFailure } from './vip-trouble.ts';

/** Rules for the peer's connections are there within some milliseconds; without an address nobody serves anybody. */
const RULES_WAIT_MS = 300;
/** A command that takes an address from the network is waited for so long. */
const COMMAND_WAIT_MS = 1_000;
const CLOSE_MS = 2_000;
/** A reload waits so long for the neighbours' word on a new VIP; they answer within 20 ms. */
const RIVALS_MS = 50;

class Overtaken extends Error {
  constructor() {
    super('the VIPs were asked to leave in the meantime');
  }
}

/** What all groups of a host share. */
export interface LinuxHost extends VipCommandEvents, SecondChanceHost, RouteHost, ParkingHost {
  readonly announcer: Announcer;
  readonly prober: NeighbourProbe;
  /** Where two groups ask for the same ones, each question makes the kernel forget what the other one's brought. */
  readonly strays: Strays;
  /** VIPs of all groups. */
  readonly allVips: () => readonly VipConfig[];
}

/** One VIP group on a Linux host. */
export class LinuxGroup implements GroupNetwork {
  readonly #host: LinuxHost;
  readonly #secondChance: SecondChance;
  readonly #routes: VipRoutes;
  readonly #complaints: Complaints;
  #config: GroupConfig;
  readonly #commands: VipCommands;
  readonly #parked: ParkedVips;
  readonly #presence: VipPresence;
  #held: ReadonlySet<string> = new Set();
  readonly #losses: VipLosses;
  /** How often they were asked to come. */
  #arrivals = 0;
  /** How often the VIPs were asked to leave: an addition that waited meanwhile must not bring them back. */
  #departures = 0;
  /** Lines for `ip` that a reload could not carry out yet. */
  #leftovers: readonly string[] = [];

  constructor(config: GroupConfig, host: LinuxHost) {
    this.#config = config;
    this.#host = host;
    this.#secondChance = new SecondChance(config.name, config.vips, host);
    this.#complaints = new Complaints(host.onTrouble);
    this.#losses = new VipLosses(this.#complaints);
    this.#commands = new VipCommands(host);
    this.#parked = new ParkedVips(config.name, host);
    const of = { vips: () => this.#config.vips, isParked: () => this.#parked.any };
    this.#presence = new VipPresence(host, of, this.#complaints);
    this.#routes = new VipRoutes(config.name, host, this.#complaints);
  }

  get config(): GroupConfig {
    return this.#config;
  }

  get held(): ReadonlySet<string> {
    return this.#held;
  }

  get copies(): readonly string[] {
    return this.#presence.copies.map(copyName);
  }

  get gateways(): readonly string[] {
    return gateways();
  }

  get secondChance(): boolean {
    return this.#secondChance.available;
  }

  /** Limits that an operator should know of, one line each. */
  get notes(): readonly string[] {
    return this.#secondChance.notes;
  }

  get warnings(): readonly string[] {
    return [...this.#secondChance.warnings, ...this.#complaints.warnings];
  }

  async addVips(): Promise<readonly StepTime[]> {
    const departures = this.#departures;
    const beganMs = monotonicMs();
    // Strangers' segments must find the rules, or they are answered with a reset.
    const ruled = await this.#secondChance.settled(RULES_WAIT_MS);
    const ruledMs = monotonicMs();
    if (departures !== this.#departures) throw new Overtaken();
    if (!ruled)
      this.#complaints.add(
        'nft',
        `nft has not finished within ${RULES_WAIT_MS} ms: the VIPs do not wait for it, and open connections may break`,
      );
    this.#arrivals++;
    this.#presence.here = true;
    await this.#presence.move(() => this.renewVips());
    return [
      { step: ruled ? 'nft' : 'nft (not waited for any longer)', ms: ruledMs - beganMs },
      { step: 'ip', ms: monotonicMs() - ruledMs },
    ];
  }

  async renewVips(): Promise<void> {
    const config = this.#config;
    const departures = this.#departures;
    const { relay, announcer } = this.#host;
    const { vips, routes } = config;
    const isWanted = () => departures === this.#departures && config === this.#config;
    const answer = await relay
      .renew([...vips.map(addition), ...shown(vips)], isWanted)
      .catch((error: unknown) => {
        if (isWanted()) throw error;
      });
    if (departures !== this.#departures) throw new Overtaken();
    if (config !== this.#config || answer === undefined) return this.renewVips();
    announcer.learn(answer.objects);
    const before = this.#held;
    const present = vips.filter((vip) => isOn(answer.objects, vip.interface, vip.address, vip.prefix));
    const missing = vips.filter((vip) => !present.includes(vip));
    if (missing.length > 0 && !answer.complete) throw notListed(answer);
    this.#held = new Set(present.map(cidr));
    try {
      this.#losses.judge(missing, present, answer);
    } catch (error) {
      relay.refresh();
      throw error;
    }
    // One that joins the others later has no burst of announcements of its own.
    if (before.size > 0) announcer.announce(present.filter((vip) => !before.has(cidr(vip))));
    // After the address is on its interface, so that open connections have it at every moment.
    if (this.#parked.any) this.unparkVips().catch((error: unknown) => this.#host.onTrouble(messageOf(error)));
    this.#routes.add(routes);
    this.#commands.add(vips);
  }

  async rehearse(): Promise<void> {
    const { vips } = this.#config;
    const { objects } = await this.#host.relay.renew(shown(vips));
    this.#host.announcer.learn(objects);
  }

  async probe(neighbours: readonly string[]): Promise<Probed> {
    const { vips } = this.#config;
    const { prober, strays, peerAddress, allVips } = this.#host;
    // An active peer answers for its own address and for all that it holds, and for nobody else.
    const taken = [...neighbours, peerAddress, ...allVips().map(({ address }) => address)];
    const picked = strays.pick(vips, taken);
    const answers = await prober.ask(vips, neighbours, picked.flat());
    return {
      answers: answers.filter(({ address }) => !picked.flat().includes(address)),
      proxies: strays.judge(picked, answers, monotonicMs()),
    };
  }

  lookForRivals(): void {
    void this.#tellRivals(this.#config.vips);
  }

  /** Never rejects: a host that cannot ask says so elsewhere. */
  async #tellRivals(vips: readonly VipConfig[]): Promise<void> {
    const answers = await this.#host.prober.ask(vips, []).catch(() => []);
    for (const { address, by } of answers)
      this.#complaints.add(`rival ${address}`, `somebody else answers for ${address}: ${by}`);
  }

  parkVips(): Promise<boolean> {
    this.#departures++;
    this.#presence.here = false;
    const arrivals = this.#arrivals;
    return this.#presence.move(async () => {
      const parked = await this.#parked.park(this.#secondChance.movable);
      // They are asked to be here again: one that is late must not take them away, or for those of somebody else.
      if (arrivals !== this.#arrivals) throw new Overtaken();
      if (parked) await this.#leave([]);
      else await this.removeVips();
      return parked;
    });
  }

  renewParked(): Promise<void> {
    return this.#parked.renew();
  }

  unparkVips(): Promise<void> {
    return this.#parked.unpark();
  }

  async removeVips(): Promise<void> {
    this.#departures++;
    this.#presence.here = false;
    await this.#presence.move(async () => {
      await this.#leave(this.#parked.removals);
      this.#parked.removed();
    });
  }

  forward(): Promise<void> {
    return this.#secondChance.forward();
  }

  unforward(): Promise<void> {
    return this.#secondChance.unforward();
  }

  announce(): void {
    this.#host.announcer.announce(this.#config.vips.filter((vip) => this.#held.has(cidr(vip))));
  }

  /**
   * Where the VIPs are held, adds those that are new; then removes VIPs and routes that are no longer listed. What cannot
   * be removed now is removed later.
   *
   * @param staying identities of VIPs of other groups that must not be removed
   * @throws OperatorError when a new VIP does not come; nothing is changed then
   */
  async configure(config: GroupConfig, staying: ReadonlySet<string> = new Set()): Promise<void> {
    const before = this.#config;
    const known = new Set(before.vips.map(identity));
    if (this.#held.size > 0) await this.#tryVips(config.vips.filter((vip) => !known.has(identity(vip))));
    this.#config = config;
    const kept = new Set([...config.vips.map(identity), ...staying]);
    const gone = before.vips.filter((vip) => !kept.has(identity(vip)));
    const keptRoutes = new Set(config.routes.map((route) => routeLine('del', route)));
    const goneRoutes = before.routes.filter((route) => !keptRoutes.has(routeLine('del', route)));
    const lines = goneRoutes.length === 0 ? [] : this.#routes.removals(goneRoutes);
    lines.push(...gone.map(removal), ...gone.map(unparking));
    for (const vip of gone) this.#losses.forget(vip);
    this.#held = new Set(config.vips.map(cidr).filter((name) => this.#held.has(name)));
    this.#parked.keep(kept);
    this.#leftovers = [...this.#leftovers, ...lines];
    this.#commands.keep(config.vips);
    this.#secondChance.configure(config.vips);
    await this.#presence.move(() => this.#clear());
  }

  /** @throws OperatorError when they do not come; none of them is there then */
  async #tryVips(vips: readonly VipConfig[]): Promise<void> {
    if (vips.length === 0) return;
    await within(RIVALS_MS, this.#tellRivals(vips));
    const { relay } = this.#host;
    const look = [...new Set(vips.map((vip) => `addr show dev ${vip.interface}`))];
    const answer = await relay.renew([...vips.map(addition), ...look]);
    const missing = vips.filter((vip) => !isOn(answer.objects, vip.interface, vip.address, vip.prefix));
    if (missing.length === 0) return;
    relay.refresh();
    await relay.change(vips.map(removal));
    throw vipFailure(missing.map(identity), 'is not there', answer);
  }

  /** The lines that take away everything that an earlier run may have left behind. */
  static removals({ vips, routes }: GroupConfig): string[] {
    const removed = routes.map((route) => routeLine('del', route));
    return [...removed, ...vips.map(removal), ...vips.map(unparking)];
  }

  /** Finds out whether open connections can outlive a switchover of this group. */
  findSecondChance(): Promise<void> {
    return this.#secondChance.find();
  }

  /** Now and then, and when an address of a VIP has come to this host: removes what is not this agent's. */
  async tend(): Promise<void> {
    await this.#clear();
    await this.#presence.clean();
  }

  /** Whether that address of a VIP is not this agent's. */
  isForeign(copy: Copy): boolean {
    return this.#presence.isForeign(copy);
  }

  /** Leaves nothing behind but the VIPs that are held: those are the guardian's where they could not be removed. */
  async close(): Promise<void> {
    const done = Promise.allSettled([this.unparkVips(), this.#secondChance.unforward()]);
    await within(CLOSE_MS, done);
    this.#secondChance.close();
    this.#commands.close();
  }

  /** @param more lines for `ip` */
  async #leave(more: readonly string[]): Promise<void> {
    const { vips, routes } = this.#config;
    const { routes: routing } = this.#host;
    if (routing.busy) void routing.end('the routes leave');
    const own = vips.map(removal);
    const { left, answer } = await this.#presence.leave(
      [...this.#routes.removals(routes), ...own, ...more],
      own,
    );
    const names = left.map(copyName);
    this.#held = new Set(vips.filter((vip) => names.includes(identity(vip))).map(cidr));
    if (left.length > 0) throw vipFailure(names, 'is still there', answer);
    this.#routes.removed();
    // After the address has left, and before the other node tells the network that it has it.
    const told = this.#commands.remove().then(() => true);
    if ((await within(COMMAND_WAIT_MS, told)) === undefined)
      this.#complaints.add('remove', `a command that removes a VIP has not ended; not waited for any longer`);
  }

  /**
   * The group is no longer configured: all of it goes.
   *
   * @param staying identities of VIPs of other groups
   */
  async leave(staying: ReadonlySet<string>): Promise<void> {
    this.#departures++;
    this.#presence.here = false;
    const { vips, routes } = this.#config;
    const leaving = { ...this.#config, vips: vips.filter((vip) => !staying.has(identity(vip))) };
    this.#leftovers = [...this.#routes.removals(routes), ...LinuxGroup.removals(leaving)];
    await this.#clear();
    await this.close();
  }

  /** What a reload could not do. */
  async #clear(): Promise<void> {
    const lines = this.#leftovers;
    if (lines.length === 0) return;
    try {
      await this.#host.relay.change(lines);
      this.#leftovers = this.#leftovers.slice(lines.length);
    } catch (error) {
      const why = messageOf(error);
      this.#complaints.add('clear', `what is no longer listed was not removed, trying again: ${why}`);
    }
  }
}

/** What lists every interface of the VIPs. */
function shown(vips: readonly VipConfig[]): string[] {
  return [...new Set(vips.map((vip) => vip.interface))].map((name) => `addr show dev ${name}`);
}
