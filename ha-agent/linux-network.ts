import { closeSync, constants, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { execa } from 'execa';
import { messageOf, OperatorError } from '../common/errors.ts';
import type { VipConfig } from '../common/model.ts';
import { forwardable, forwardRules, REMOVE_RULES } from './forward-rules.ts';
import type { HostNetwork, HostNetworkEvents } from './host-network.ts';
import { type IpAnswer, IpBatch } from './ip-batch.ts';

/**
 * Lease of a VIP. The kernel removes an address that nobody renews within 1 s after it (it sweeps once a
 * second), so this is the last of the three layers.
 */
const LEASE_S = 2;
/**
 * `ip monitor` does not notice that nobody reads it any more; the shell ends it when the agent is gone, however
 * it went. The shell gives up its standard output, so that the end of `ip` shows there.
 */
const MONITOR = 'ip -oneline monitor link & exec >&-; read -r _; kill $!';
/** After `ip monitor` died. */
const MONITOR_RETRY_MS = 1_000;
/** `arping` sends at once and then waits in vain for answers. */
const ARPING_TIMEOUT_MS = 3_000;
/** `nft` answers within some milliseconds; a takeover waits for it, so not for long. */
const NFT_TIMEOUT_MS = 1_000;
/** Its first run loads modules of the kernel, and at the start of a machine all wait for the disk. */
const NFT_CHECK_TIMEOUT_MS = 15_000;
const SETTINGS = '/proc/sys/net/ipv4/conf';
/**
 * While a VIP is parked on `lo`, the host must neither answer ARP for it nor send it in its own requests; see
 * ip-sysctl in the kernel's documentation. Values that are higher already stay.
 */
const QUIET_ARP = { arp_ignore: 1, arp_announce: 2 } as const;

/** Query for what is on it; `IpBatch` knows this line. */
const LOOPBACK = 'addr show dev lo';

/** The one place that touches the machine's network: `ip`, `arping`, `nft` and two settings of the kernel. */
export class LinuxNetwork implements HostNetwork {
  readonly #events: HostNetworkEvents;
  readonly #ip = new IpBatch();
  #vips: readonly VipConfig[];
  #watched: readonly string[];
  #held: ReadonlySet<string> = new Set();
  #stopMonitor: (() => void) | undefined;
  #looking = false;
  #lookAgain = false;
  #arpingMissing = false;
  #closed = false;
  readonly #peerAddress: string;
  /** Why open connections do not outlive a switchover; undefined: they do. */
  #noSecondChance: string | undefined = 'not known yet';
  #parked: readonly VipConfig[] = [];
  /** `interface/setting=value`, to be restored. */
  #former: readonly string[] = [];
  #forwarding = false;
  /** The latest run of `nft`; they happen one after the other. */
  #nft: Promise<unknown> = Promise.resolve();
  /** How often the VIPs were asked to leave: an addition that waited meanwhile must not bring them back. */
  #departures = 0;

  /** @param peerAddress to which segments of the peer's connections are sent on */
  constructor(
    vips: readonly VipConfig[],
    watched: readonly string[],
    peerAddress: string,
    events: HostNetworkEvents,
  ) {
    this.#vips = vips;
    this.#watched = watched;
    this.#peerAddress = peerAddress;
    this.#events = events;
  }

  get held(): ReadonlySet<string> {
    return this.#held;
  }

  get secondChance(): boolean {
    return this.#noSecondChance === undefined;
  }

  get warnings(): readonly string[] {
    const warnings: string[] = [];
    if (this.#noSecondChance !== undefined)
      warnings.push(`a switchover breaks open connections: ${this.#noSecondChance}`);
    else if (this.#movable.length < this.#vips.length)
      warnings.push(
        `a switchover breaks open connections of VIPs whose family is not that of the peer's address ${this.#peerAddress}`,
      );
    if (this.#arpingMissing)
      warnings.push('there is no program "arping" (iputils), so VIPs are not announced to the neighbours');
    if (this.#vips.some(({ family }) => family === 6))
      warnings.push('IPv6 VIPs are not announced: arping speaks IPv4 only');
    return warnings;
  }

  async open(): Promise<void> {
    const answer = await this.#change([...this.#vips.map(removal), ...this.#vips.map(unparking)]);
    const denied = answer.errors.find((line) => line.includes('Operation not permitted'));
    if (denied !== undefined)
      throw new OperatorError(
        'NO_PERMISSION',
        'no permission to change addresses; run as root or with CAP_NET_ADMIN',
      );
    const left = this.#present(this.#vips, answer);
    if (left.length > 0)
      throw new OperatorError(
        'STALE_VIP',
        `a VIP of an earlier run cannot be removed: ${left.map(cidr).join(', ')}`,
      );
    await this.#findArping();
    await this.#findSecondChance();
    this.#monitor();
    await this.#look();
  }

  async addVips(): Promise<void> {
    const vips = this.#vips;
    const departures = this.#departures;
    const requireStay = () => {
      if (departures !== this.#departures) throw new Error('the VIPs were asked to leave in the meantime');
    };
    // Strangers' segments must find the rules, or they are answered with a reset.
    await this.#nft;
    requireStay();
    const lines = vips.map(
      (vip) =>
        `addr replace ${cidr(vip)} dev ${vip.interface} valid_lft ${LEASE_S} preferred_lft ${LEASE_S}` +
        (vip.family === 6 ? ' nodad' : ''),
    );
    const answer = await this.#change(lines);
    requireStay();
    const present = this.#present(vips, answer);
    this.#held = new Set(present.map(cidr));
    const missing = vips.filter((vip) => !present.includes(vip));
    if (missing.length === 0) {
      // After the address is on its interface, so that open connections have it at every moment.
      if (this.#parked.length > 0) await this.unparkVips();
      return;
    }
    this.#ip.refresh();
    throw failure('is not there', missing, answer);
  }

  async parkVips(): Promise<boolean> {
    this.#departures++;
    const vips = this.#movable;
    let parked = false;
    try {
      this.#quietArp(vips);
      this.#parked = vips;
      const { objects } = await this.#ip.run([...vips.map(parking), LOOPBACK]);
      parked = vips.every((vip) => isOn(objects, 'lo', vip.address, hostPrefix(vip)));
      if (!parked) this.#events.onTrouble('open connections break: the VIPs could not be parked on lo');
    } catch (error) {
      this.#events.onTrouble(`open connections break: ${messageOf(error)}`);
    }
    if (parked) await this.#removeFromInterfaces([]);
    else await this.removeVips();
    return parked;
  }

  async renewParked(): Promise<void> {
    if (this.#parked.length > 0) await this.#ip.run(this.#parked.map(parking));
  }

  async unparkVips(): Promise<void> {
    const vips = this.#parked;
    this.#parked = [];
    if (vips.length > 0) {
      const { objects } = await this.#ip.run([...vips.map(unparking), LOOPBACK]);
      const left = vips.filter((vip) => isOn(objects, 'lo', vip.address, hostPrefix(vip)));
      if (left.length > 0)
        this.#events.onTrouble(`still on lo until its lease is over: ${left.map(cidr).join(', ')}`);
    }
    this.#restoreArp();
  }

  forward(): Promise<void> {
    this.#forwarding = true;
    return this.#runNft(forwardRules(this.#movable, this.#peerAddress));
  }

  unforward(): Promise<void> {
    this.#forwarding = false;
    return this.#runNft(REMOVE_RULES);
  }

  async removeVips(): Promise<void> {
    this.#departures++;
    await this.#removeFromInterfaces(this.#parked.map(unparking));
    await this.unparkVips();
  }

  /** @param more lines for `ip` */
  async #removeFromInterfaces(more: readonly string[]): Promise<void> {
    const vips = this.#vips;
    const answer = await this.#change([...vips.map(removal), ...more]);
    const present = this.#present(vips, answer);
    this.#held = new Set(present.map(cidr));
    if (present.length > 0) throw failure('is still there', present, answer);
  }

  announce(): void {
    if (this.#arpingMissing) return;
    for (const vip of this.#vips) {
      if (vip.family === 6) continue;
      // One packet a process: an arping that goes on after the VIP has moved would lie to the neighbours.
      const args = ['-q', '-U', '-c', '1', '-I', vip.interface, vip.address];
      execa('arping', args, { stdio: 'ignore', timeout: ARPING_TIMEOUT_MS, reject: false }).then(
        (result) => {
          if ((result as { code?: string }).code === 'ENOENT') this.#arpingMissing = true;
          // 1 means that nobody answered, as nobody should.
          else if (result.exitCode !== 0 && result.exitCode !== 1 && !this.#closed)
            this.#events.onTrouble(
              `arping of ${vip.address} on ${vip.interface} failed: ${result.shortMessage}`,
            );
        },
        (error: unknown) => this.#events.onTrouble(`arping failed: ${messageOf(error)}`),
      );
    }
  }

  async configure(vips: readonly VipConfig[], watched: readonly string[]): Promise<void> {
    const kept = new Set(vips.map(identity));
    const dropped = this.#vips.filter((vip) => !kept.has(identity(vip)));
    this.#vips = vips;
    this.#watched = watched;
    if (dropped.length > 0) await this.#ip.run([...dropped.map(removal), ...dropped.map(unparking)]);
    this.#parked = this.#parked.filter((vip) => kept.has(identity(vip)));
    await this.#findSecondChance();
    await this.#look();
  }

  async close(): Promise<void> {
    // What fails here is left to the guardian, which does the same once more.
    await this.unparkVips().catch(() => {});
    if (this.#forwarding) await this.unforward().catch(() => {});
    this.#closed = true;
    this.#stopMonitor?.();
    this.#ip.close();
  }

  /** Runs changes and then lists every VIP's interface: what `ip` did counts, not what it was told. */
  #change(lines: readonly string[]): Promise<IpAnswer> {
    const interfaces = new Set(this.#vips.map((vip) => vip.interface));
    return this.#ip.run([...lines, ...[...interfaces].map((name) => `addr show dev ${name}`)]);
  }

  #present(vips: readonly VipConfig[], answer: IpAnswer): VipConfig[] {
    return vips.filter((vip) => isOn(answer.objects, vip.interface, vip.address, vip.prefix));
  }

  /** VIPs whose open connections can outlive a switchover. */
  get #movable(): readonly VipConfig[] {
    return forwardable(this.#vips, this.#peerAddress);
  }

  /** Makes and removes the very rules in one transaction: what the kernel lacks shows now, not at a switchover. */
  async #findSecondChance(): Promise<void> {
    const vips = this.#movable;
    try {
      if (vips.length === 0)
        throw new Error(`no VIP has the family of the peer's address ${this.#peerAddress}`);
      // Not access(2): that one leaves out capabilities, by which a user who is not root may write here.
      for (const name of quietNames(vips))
        if (existsSync(`${SETTINGS}/${name}`)) closeSync(openSync(`${SETTINGS}/${name}`, constants.O_WRONLY));
      const rules = forwardRules(vips, this.#peerAddress);
      // What is in force stays; a check of rules that are there already tells nothing new.
      if (!this.#forwarding) await this.#runNft(rules + REMOVE_RULES, NFT_CHECK_TIMEOUT_MS);
      this.#noSecondChance = undefined;
    } catch (error) {
      const why = messageOf(error);
      if (why !== this.#noSecondChance)
        this.#events.onTrouble(`a switchover will break open connections: ${why}`);
      this.#noSecondChance = why;
    }
  }

  #runNft(script: string, timeoutMs = NFT_TIMEOUT_MS): Promise<void> {
    const run = this.#nft.then(async () => {
      const result = await execa('nft', ['-f', '-'], {
        input: script,
        timeout: timeoutMs,
        reject: false,
        env: { LC_ALL: 'C' },
      });
      if ((result as { code?: string }).code === 'ENOENT')
        throw new OperatorError('NO_NFT', 'there is no program "nft"; install nftables');
      if (result.failed)
        throw new OperatorError('NFT_FAILED', `nft: ${result.stderr.split('\n')[0] || result.shortMessage}`);
    });
    this.#nft = run.catch(() => {});
    return run;
  }

  /** @throws Error when a setting cannot be written; what was changed is told before and can be undone */
  #quietArp(vips: readonly VipConfig[]): void {
    const values = quietNames(vips).map((name) => ({
      name,
      former: readFileSync(`${SETTINGS}/${name}`, 'utf8').trim(),
      wanted: QUIET_ARP[name.slice(name.lastIndexOf('/') + 1) as keyof typeof QUIET_ARP],
    }));
    const changes = values.filter(({ former, wanted }) => Number(former) < wanted);
    const known = new Set(this.#former.map((entry) => entry.slice(0, entry.indexOf('='))));
    const added = changes
      .filter(({ name }) => !known.has(name))
      .map(({ name, former }) => `${name}=${former}`);
    this.#former = [...this.#former, ...added];
    if (this.#former.length > 0) this.#events.onSettings(this.#former);
    for (const { name, wanted } of changes) writeFileSync(`${SETTINGS}/${name}`, String(wanted));
  }

  #restoreArp(): void {
    if (this.#former.length === 0) return;
    for (const entry of this.#former) {
      const at = entry.indexOf('=');
      try {
        writeFileSync(`${SETTINGS}/${entry.slice(0, at)}`, entry.slice(at + 1));
      } catch (error) {
        // The interface may be gone, and its settings with it.
        this.#events.onTrouble(`${entry} was not restored: ${messageOf(error)}`);
      }
    }
    this.#former = [];
    this.#events.onSettings([]);
  }

  async #findArping(): Promise<void> {
    const result = await execa('arping', ['-V'], {
      stdio: 'ignore',
      timeout: ARPING_TIMEOUT_MS,
      reject: false,
    });
    this.#arpingMissing = (result as { code?: string }).code === 'ENOENT';
  }

  /** `ip monitor` says within a millisecond that something changed; what it is now is then asked for. */
  #monitor(): void {
    if (this.#closed) return;
    const child = execa('bash', ['-c', MONITOR], {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'ignore',
      buffer: false,
      reject: false,
      // A signal would end the shell before it has ended `ip`.
      cleanup: false,
    });
    child.stdin.on('error', () => {});
    child.stdout.on('data', () => void this.#look());
    let timer: NodeJS.Timeout | undefined;
    this.#stopMonitor = () => {
      clearTimeout(timer);
      child.stdin.end();
    };
    child.stdout.on('close', () => {
      child.stdin.end();
      if (this.#closed) return;
      this.#events.onTrouble('ip monitor ended; starting it again');
      timer = setTimeout(() => {
        this.#monitor();
        void this.#look();
      }, MONITOR_RETRY_MS);
    });
    child.catch((error: unknown) => this.#events.onTrouble(`bash failed: ${messageOf(error)}`));
  }

  /** Asks for the state of all watched interfaces; never twice at the same time. */
  async #look(): Promise<void> {
    if (this.#looking) {
      this.#lookAgain = true;
      return;
    }
    this.#looking = true;
    try {
      do {
        this.#lookAgain = false;
        await this.#lookOnce(this.#watched);
      } while (this.#lookAgain && !this.#closed);
    } catch (error) {
      if (!this.#closed) this.#events.onTrouble(`the interfaces cannot be looked at: ${messageOf(error)}`);
    } finally {
      this.#looking = false;
    }
  }

  async #lookOnce(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    const queries = names.map((name) => `addr show dev ${name}`);
    let { objects } = await this.#ip.run(queries);
    if (names.some((name) => !objects.some(({ ifname }) => ifname === name))) {
      this.#ip.refresh();
      objects = (await this.#ip.run(queries)).objects;
    }
    for (const name of names) {
      const link = objects.find(({ ifname }) => ifname === name);
      const flags = Array.isArray(link?.flags) ? link.flags : [];
      const why =
        link === undefined
          ? `interface ${name} does not exist`
          : !flags.includes('UP')
            ? `interface ${name} is down`
            : !flags.includes('LOWER_UP') || flags.includes('NO-CARRIER')
              ? `interface ${name} has no carrier`
              : '';
      this.#events.onInterface(name, why === '', why);
    }
  }
}

function cidr(vip: VipConfig): string {
  return `${vip.address}/${vip.prefix}`;
}

function identity(vip: VipConfig): string {
  return `${cidr(vip)} dev ${vip.interface}`;
}

function removal(vip: VipConfig): string {
  return `addr del ${identity(vip)}`;
}

function hostPrefix({ family }: VipConfig): number {
  return family === 4 ? 32 : 128;
}

function parking(vip: VipConfig): string {
  const lease = `valid_lft ${LEASE_S} preferred_lft ${LEASE_S}`;
  return `addr replace ${vip.address}/${hostPrefix(vip)} dev lo ${lease}${vip.family === 6 ? ' nodad' : ''}`;
}

function unparking(vip: VipConfig): string {
  return `addr del ${vip.address}/${hostPrefix(vip)} dev lo`;
}

/** Settings that keep a host quiet about addresses of `lo`; IPv6 needs none: a neighbour asks one interface. */
function quietNames(vips: readonly VipConfig[]): string[] {
  const interfaces = new Set(vips.filter(({ family }) => family === 4).map((vip) => vip.interface));
  return [...interfaces].flatMap((name) => Object.keys(QUIET_ARP).map((setting) => `${name}/${setting}`));
}

function isOn(objects: IpAnswer['objects'], name: string, address: string, prefix: number): boolean {
  return objects.some(
    ({ ifname, addr_info }) =>
      ifname === name &&
      Array.isArray(addr_info) &&
      addr_info.some((info) => info.local === address && info.prefixlen === prefix),
  );
}

function failure(what: string, vips: readonly VipConfig[], answer: IpAnswer): OperatorError {
  const cause = answer.errors.length > 0 ? `: ${answer.errors.join('; ')}` : '';
  return new OperatorError('VIP_FAILED', `${vips.map(identity).join(', ')} ${what}${cause}`);
}
