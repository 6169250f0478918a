import { messageOf, OperatorError } from '../common/errors.ts';
import { monotonicMs } from '../common/events.ts';
import type { GroupConfig, VipConfig, VipRoute } from '../common/model.ts';
import type { Announcer } from './announcer.ts';
import type { StepTime, VipAnswer } from './election-types.ts';
import { forwardable } from './forward-rules.ts';
import { Forwarder } from './forwarder.ts';
import type { GroupNetwork } from './host-network.ts';
import type { IpAnswer, IpBatch } from './ip-batch.ts';
import type { QuietArp } from './quiet-arp.ts';
import { VipCommand, type VipCommandEvents } from './vip-command.ts';
import {
  addition,
  cidr,
  hostPrefix,
  identity,
  isOn,
  parking,
  removal,
  routeLine,
  unparking,
} from './vip-lines.ts';

const OVERTAKEN = 'the VIPs were asked to leave in the meantime';

/** What all groups of a host share. */
export interface LinuxHost extends VipCommandEvents {
  readonly ip: IpBatch;
  readonly announcer: Announcer;
  readonly quietArp: QuietArp;
  /** To which segments of the peer's connections are sent on. */
  readonly peerAddress: string;
  /** Whether this host's kernel balances flows itself. */
  readonly knowsFlows: () => boolean;
}

/** One VIP group on a Linux host. */
export class LinuxGroup implements GroupNetwork {
  readonly #host: LinuxHost;
  readonly #forwarder: Forwarder;
  #config: GroupConfig;
  readonly #commands = new Map<string, VipCommand>();
  #held: ReadonlySet<string> = new Set();
  #parked: readonly VipConfig[] = [];
  /** Why open connections do not outlive a switchover; undefined: they do. */
  #noSecondChance: string | undefined = 'not known yet';
  #routed = false;
  #routeTrouble: string | undefined;
  /** How often the VIPs were asked to leave: an addition that waited meanwhile must not bring them back. */
  #departures = 0;

  constructor(config: GroupConfig, host: LinuxHost) {
    this.#config = config;
    this.#host = host;
    this.#forwarder = new Forwarder(config.name, host.peerAddress, host.knowsFlows);
  }

  get config(): GroupConfig {
    return this.#config;
  }

  get held(): ReadonlySet<string> {
    return this.#held;
  }

  get secondChance(): boolean {
    return this.#noSecondChance === undefined;
  }

  /** Limits that an operator should know of, one line each. */
  get warnings(): readonly string[] {
    const warnings: string[] = [];
    const left = this.#config.vips.filter((vip) => !this.#movable.includes(vip));
    if (this.#noSecondChance !== undefined)
      warnings.push(`a switchover breaks open connections: ${this.#noSecondChance}`);
    else if (left.length > 0)
      warnings.push(
        `a switchover breaks open connections of ${left.map(({ address }) => address).join(', ')}: only VIPs of provider interface and of the family of the peer's address ${this.#host.peerAddress} are forwarded`,
      );
    if (this.#routeTrouble !== undefined) warnings.push(this.#routeTrouble);
    return warnings;
  }

  async addVips(): Promise<readonly StepTime[]> {
    const departures = this.#departures;
    const beganMs = monotonicMs();
    // Strangers' segments must find the rules, or they are answered with a reset.
    await this.#forwarder.settled;
    const ruledMs = monotonicMs();
    if (departures !== this.#departures) throw new Error(OVERTAKEN);
    await this.renewVips();
    return [
      { step: 'nft', ms: ruledMs - beganMs },
      { step: 'ip', ms: monotonicMs() - ruledMs },
    ];
  }

  async renewVips(): Promise<void> {
    const { vips } = this.#config;
    const departures = this.#departures;
    const requireStay = () => {
      if (departures !== this.#departures) throw new Error(OVERTAKEN);
    };
    const before = this.#held;
    const answer = await this.#change(vips.map(addition));
    requireStay();
    this.#host.announcer.learn(answer.objects);
    const present = this.#present(vips, answer);
    this.#held = new Set(present.map(cidr));
    const missing = vips.filter((vip) => !present.includes(vip));
    if (missing.length > 0) {
      this.#host.ip.refresh();
      throw failure('is not there', missing, answer);
    }
    // One that joins the others later has no burst of announcements of its own.
    if (before.size > 0) this.#host.announcer.announce(vips.filter((vip) => !before.has(cidr(vip))));
    // After the address is on its interface, so that open connections have it at every moment.
    if (this.#parked.length > 0) await this.unparkVips();
    requireStay();
    this.#addRoutes();
    this.#tellCommands();
  }

  async probe(): Promise<readonly VipAnswer[]> {
    throw new OperatorError('CANNOT_PROBE', 'this host cannot ask who answers for a VIP');
  }

  async parkVips(): Promise<boolean> {
    this.#departures++;
    const vips = this.#movable;
    let parked = false;
    try {
      this.#host.quietArp.hold(this.#config.name, vips);
      this.#parked = vips;
      const { objects } = await this.#host.ip.run([...vips.map(parking), 'addr show dev lo']);
      parked = vips.every((vip) => isOn(objects, 'lo', vip.address, hostPrefix(vip)));
      if (!parked) this.#host.onTrouble('open connections break: the VIPs could not be parked on lo');
    } catch (error) {
      this.#host.onTrouble(`open connections break: ${messageOf(error)}`);
    }
    if (parked) await this.#removeFromInterfaces([]);
    else await this.removeVips();
    return parked;
  }

  async renewParked(): Promise<void> {
    if (this.#parked.length > 0) await this.#host.ip.run(this.#parked.map(parking));
  }

  async unparkVips(): Promise<void> {
    const vips = this.#parked;
    this.#parked = [];
    if (vips.length > 0) {
      const { objects } = await this.#host.ip.run([...vips.map(unparking), 'addr show dev lo']);
      const left = vips.filter((vip) => isOn(objects, 'lo', vip.address, hostPrefix(vip)));
      if (left.length > 0)
        this.#host.onTrouble(`still on lo until its lease is over: ${left.map(cidr).join(', ')}`);
    }
    this.#host.quietArp.release(this.#config.name);
  }

  async removeVips(): Promise<void> {
    this.#departures++;
    await this.#removeFromInterfaces(this.#parked.map(unparking));
    await this.unparkVips();
  }

  forward(): Promise<void> {
    return this.#forwarder.forward(this.#movable);
  }

  unforward(): Promise<void> {
    return this.#forwarder.unforward();
  }

  announce(): void {
    this.#host.announcer.announce(this.#config.vips);
  }

  /**
   * Where the VIPs are held, adds those that are new; then removes VIPs and routes that are no longer listed.
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
    const lines = before.routes
      .map((route) => routeLine('del', route))
      .filter((line) => !keptRoutes.has(line));
    lines.push(...gone.map(removal), ...gone.map(unparking));
    if (lines.length > 0) await this.#host.ip.run(lines);
    this.#held = new Set(config.vips.map(cidr).filter((name) => this.#held.has(name)));
    this.#parked = this.#parked.filter((vip) => kept.has(identity(vip)));
    this.#routed = false;
    this.#routeTrouble = undefined;
    this.#dropCommands(config.vips);
  }

  /** @throws OperatorError when they do not come; none of them is there then */
  async #tryVips(vips: readonly VipConfig[]): Promise<void> {
    if (vips.length === 0) return;
    const look = [...new Set(vips.map((vip) => `addr show dev ${vip.interface}`))];
    const answer = await this.#host.ip.run([...vips.map(addition), ...look]);
    const missing = vips.filter((vip) => !isOn(answer.objects, vip.interface, vip.address, vip.prefix));
    if (missing.length === 0) return;
    this.#host.ip.refresh();
    await this.#host.ip.run(vips.map(removal));
    throw failure('is not there', missing, answer);
  }

  /** The lines that take away everything that an earlier run may have left behind. */
  static removals({ vips, routes }: GroupConfig): string[] {
    const removed = routes.map((route) => routeLine('del', route));
    return [...removed, ...vips.map(removal), ...vips.map(unparking)];
  }

  /** Finds out whether open connections can outlive a switchover of this group. */
  async findSecondChance(): Promise<void> {
    const { peerAddress, quietArp } = this.#host;
    const vips = this.#movable;
    try {
      if (vips.length === 0)
        throw new Error(
          `no VIP is of provider interface and of the family of the peer's address ${peerAddress}`,
        );
      quietArp.check(vips);
      await this.#forwarder.check(vips);
      this.#noSecondChance = undefined;
    } catch (error) {
      const why = messageOf(error);
      if (why !== this.#noSecondChance)
        this.#host.onTrouble(`a switchover will break open connections: ${why}`);
      this.#noSecondChance = why;
    }
  }

  /** Leaves nothing behind but the VIPs that are held: those are the guardian's where they could not be removed. */
  async close(): Promise<void> {
    await this.unparkVips().catch(() => {});
    await this.#forwarder.unforward().catch(() => {});
    this.#forwarder.close();
    for (const command of this.#commands.values()) command.close();
  }

  /** @param more lines for `ip` */
  async #removeFromInterfaces(more: readonly string[]): Promise<void> {
    const { vips, routes } = this.#config;
    this.#routed = false;
    const removed = routes.map((route) => routeLine('del', route));
    const answer = await this.#change([...removed, ...vips.map(removal), ...more]);
    const present = this.#present(vips, answer);
    this.#held = new Set(present.map(cidr));
    if (present.length > 0) throw failure('is still there', present, answer);
    // After the address has left, and before the other node tells the network that it has it.
    await Promise.all([...this.#commands.values()].map((command) => command.remove()));
  }

  /** Runs changes and then lists every VIP's interface: what `ip` did counts, not what it was told. */
  #change(lines: readonly string[]): Promise<IpAnswer> {
    const interfaces = new Set(this.#config.vips.map((vip) => vip.interface));
    return this.#host.ip.run([...lines, ...[...interfaces].map((name) => `addr show dev ${name}`)]);
  }

  #present(vips: readonly VipConfig[], answer: IpAnswer): VipConfig[] {
    return vips.filter((vip) => isOn(answer.objects, vip.interface, vip.address, vip.prefix));
  }

  /** VIPs whose open connections can outlive a switchover. */
  get #movable(): readonly VipConfig[] {
    return forwardable(this.#config.vips, this.#host.peerAddress);
  }

  /** Nothing waits for the routes: the VIPs are worth more. What the kernel dropped meanwhile comes back. */
  #addRoutes(): void {
    const { routes } = this.#config;
    if (routes.length === 0) return;
    const verb = this.#routed ? 'add' : 'replace';
    this.#routed = true;
    this.#host.ip.run(routes.map((route) => routeLine(verb, route))).then(
      ({ errors }) =>
        this.#routesAdded(
          routes,
          errors.filter((line) => !line.includes('File exists')),
        ),
      (error: unknown) => this.#routesAdded(routes, [messageOf(error)]),
    );
  }

  #routesAdded(routes: readonly VipRoute[], errors: readonly string[]): void {
    const which = routes.map(({ to }) => to).join(', ');
    const trouble =
      errors.length === 0 ? undefined : `a route (${which}) was not added: ${errors.join('; ')}`;
    if (trouble !== undefined && trouble !== this.#routeTrouble) this.#host.onTrouble(trouble);
    this.#routeTrouble = trouble;
  }

  /** @throws OperatorError when a command has failed for too long */
  #tellCommands(): void {
    for (const vip of this.#config.vips) {
      if (vip.provider !== 'exec') continue;
      const key = commandKey(vip);
      let command = this.#commands.get(key);
      if (command === undefined) {
        command = new VipCommand(vip, this.#host);
        this.#commands.set(key, command);
      }
      command.add();
      if (command.failure !== undefined) throw new OperatorError('VIP_FAILED', command.failure);
    }
  }

  #dropCommands(vips: readonly VipConfig[]): void {
    const kept = new Set(vips.map(commandKey));
    for (const [key, command] of this.#commands) {
      if (kept.has(key)) continue;
      this.#commands.delete(key);
      void command.remove().then(() => command.close());
    }
  }
}

function commandKey(vip: VipConfig): string {
  return JSON.stringify([vip.address, vip.command]);
}

function failure(what: string, vips: readonly VipConfig[], answer: IpAnswer): OperatorError {
  const cause = answer.errors.length > 0 ? `: ${answer.errors.join('; ')}` : '';
  return new OperatorError('VIP_FAILED', `${vips.map(identity).join(', ')} ${what}${cause}`);
}
