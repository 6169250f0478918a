import { execa } from 'execa';
import { messageOf, OperatorError } from '../common/errors.ts';
import type { VipConfig } from '../common/model.ts';
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

/** The one place that touches the machine's network: `ip` and `arping`. */
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

  constructor(vips: readonly VipConfig[], watched: readonly string[], events: HostNetworkEvents) {
    this.#vips = vips;
    this.#watched = watched;
    this.#events = events;
  }

  get held(): ReadonlySet<string> {
    return this.#held;
  }

  get warnings(): readonly string[] {
    const warnings: string[] = [];
    if (this.#arpingMissing)
      warnings.push('there is no program "arping" (iputils), so VIPs are not announced to the neighbours');
    if (this.#vips.some(({ family }) => family === 6))
      warnings.push('IPv6 VIPs are not announced: arping speaks IPv4 only');
    return warnings;
  }

  async open(): Promise<void> {
    const answer = await this.#change(this.#vips.map(removal));
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
    this.#monitor();
    await this.#look();
  }

  async addVips(): Promise<void> {
    const vips = this.#vips;
    const lines = vips.map(
      (vip) =>
        `addr replace ${cidr(vip)} dev ${vip.interface} valid_lft ${LEASE_S} preferred_lft ${LEASE_S}` +
        (vip.family === 6 ? ' nodad' : ''),
    );
    const answer = await this.#change(lines);
    const present = this.#present(vips, answer);
    this.#held = new Set(present.map(cidr));
    const missing = vips.filter((vip) => !present.includes(vip));
    if (missing.length === 0) return;
    this.#ip.refresh();
    throw failure('is not there', missing, answer);
  }

  async removeVips(): Promise<void> {
    const vips = this.#vips;
    const answer = await this.#change(vips.map(removal));
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
    if (dropped.length > 0) await this.#ip.run(dropped.map(removal));
    await this.#look();
  }

  async close(): Promise<void> {
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
    return vips.filter((vip) =>
      answer.objects.some(
        (link) =>
          link.ifname === vip.interface &&
          Array.isArray(link.addr_info) &&
          link.addr_info.some((info) => info.local === vip.address && info.prefixlen === vip.prefix),
      ),
    );
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

function failure(what: string, vips: readonly VipConfig[], answer: IpAnswer): OperatorError {
  const cause = answer.errors.length > 0 ? `: ${answer.errors.join('; ')}` : '';
  return new OperatorError('VIP_FAILED', `${vips.map(identity).join(', ')} ${what}${cause}`);
}
