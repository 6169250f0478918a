import { execa } from 'execa';
import { messageOf } from '../common/errors.ts';
import type { VipConfig } from '../common/model.ts';

/** `arping` sends at once and then waits in vain for answers; `ndptool` ends within some milliseconds. */
const TIMEOUT_MS = 3_000;

const PROGRAMS = {
  4: { name: 'arping', package: 'iputils-arping', probe: ['-V'] },
  6: { name: 'ndptool', package: 'libndp-tools', probe: ['--help'] },
} as const;

/**
 * Tells the neighbours on which machine an address is: a gratuitous ARP request for IPv4 (RFC 5944 section 4.6), an
 * unsolicited neighbour advertisement with the override flag to all nodes for IPv6 (RFC 4861 section 7.2.6).
 */
export class Announcer {
  readonly #onTrouble: (text: string) => void;
  readonly #missing = new Set<4 | 6>();
  #closed = false;

  constructor(onTrouble: (text: string) => void) {
    this.#onTrouble = onTrouble;
  }

  /** Looks whether the programs are there. */
  async open(): Promise<void> {
    await Promise.all(
      ([4, 6] as const).map(async (family) => {
        const { name, probe } = PROGRAMS[family];
        const options = { stdio: 'ignore', timeout: TIMEOUT_MS, reject: false } as const;
        if (isMissing(await execa(name, probe, options))) this.#missing.add(family);
      }),
    );
  }

  /** Once for each of the addresses that has neighbours. Fire and forget. */
  announce(vips: readonly VipConfig[]): void {
    for (const vip of vips.filter(hasNeighbours)) if (!this.#missing.has(vip.family)) this.#announceOne(vip);
  }

  /** What cannot be announced, one line a family. */
  warnings(vips: readonly VipConfig[]): string[] {
    return [...this.#missing]
      .filter((family) => vips.some((vip) => vip.family === family && hasNeighbours(vip)))
      .map((family) => {
        const { name, package: from } = PROGRAMS[family];
        return `there is no program "${name}" (${from}), so IPv${family} VIPs are not announced to the neighbours`;
      });
  }

  close(): void {
    this.#closed = true;
  }

  #announceOne({ address, family, interface: device }: VipConfig): void {
    const { name } = PROGRAMS[family];
    // One packet a process: one that goes on after the VIP has moved would lie to the neighbours.
    const args =
      family === 4
        ? ['-q', '-U', '-c', '1', '-I', device, address]
        : ['-t', 'na', '-U', '-T', address, '-i', device, 'send'];
    execa(name, args, { stdio: 'ignore', timeout: TIMEOUT_MS, reject: false }).then(
      (result) => {
        if (isMissing(result)) this.#missing.add(family);
        // arping: 1 means that nobody answered, as nobody should.
        else if (result.exitCode !== 0 && (family === 6 || result.exitCode !== 1) && !this.#closed)
          this.#onTrouble(`${name} of ${address} on ${device} failed: ${result.shortMessage}`);
      },
      (error: unknown) => this.#onTrouble(`${name} failed: ${messageOf(error)}`),
    );
  }
}

/** An address of the loopback interface is nobody's neighbour, and one that a command moves is told by that command. */
function hasNeighbours(vip: VipConfig): boolean {
  return vip.provider === 'interface' && vip.interface !== 'lo';
}

function isMissing(result: unknown): boolean {
  return (result as { code?: string }).code === 'ENOENT';
}
