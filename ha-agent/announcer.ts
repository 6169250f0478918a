import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { VipConfig } from '../common/model.ts';
import { LineShell } from './line-shell.ts';
import { type Link, RawLink } from './raw-link.ts';

const SCRIPT = fileURLToPath(new URL('announcer.sh', import.meta.url));
/** A program that says its version or its options takes some milliseconds. */
const PROBE_TIMEOUT_MS = 3_000;
/** Exit code of a shell for a program that does not exist. */
const NOT_FOUND = 127;

const PROGRAMS = {
  4: { name: 'arping', package: 'iputils-arping', probe: ['-V'] },
  6: { name: 'ndptool', package: 'libndp-tools', probe: ['--help'] },
} as const;

const NO_SOCAT =
  'there is no program "socat" (socat), so each announcement to the neighbours starts a program of its own';
/** How `ip` shows a MAC address. */
const MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/;

/**
 * Tells the neighbours on which machine an address is, see `announcement.ts`. Frames go out by a `RawLink`; where there
 * is none, by a program for each.
 */
export class Announcer {
  readonly #onTrouble: (text: string) => void;
  readonly #missing = new Set<4 | 6>();
  /** By interface. */
  readonly #links = new Map<string, RawLink>();
  #rawMissing = false;
  #shell: LineShell | undefined;
  #closed = false;

  constructor(onTrouble: (text: string) => void) {
    this.#onTrouble = onTrouble;
  }

  /** Looks whether the programs are there, and has the shell ready. */
  async open(): Promise<void> {
    this.#shell ??= this.#start();
    await Promise.all(
      ([4, 6] as const).map(async (family) => {
        const { name, probe } = PROGRAMS[family];
        const options = { stdio: 'ignore', timeout: PROBE_TIMEOUT_MS, reject: false } as const;
        if (isMissing(await execa(name, probe, options))) this.#missing.add(family);
      }),
    );
  }

  /** @param objects what `ip -json addr show` says of interfaces that have VIPs */
  learn(objects: readonly Record<string, unknown>[]): void {
    if (this.#closed || this.#rawMissing) return;
    for (const { ifname, ifindex, link_type, address } of objects) {
      if (typeof ifname !== 'string' || typeof ifindex !== 'number' || typeof address !== 'string') continue;
      if (link_type !== 'ether' || !MAC.test(address)) continue;
      const known = this.#links.get(ifname);
      if (known?.link.index === ifindex && known.link.mac === address) continue;
      known?.close();
      this.#links.set(ifname, this.#openRaw({ name: ifname, index: ifindex, mac: address }));
    }
  }

  /** Once for each of the addresses that has neighbours. Fire and forget. */
  announce(vips: readonly VipConfig[]): void {
    for (const vip of vips.filter(hasNeighbours))
      if (this.#links.get(vip.interface)?.announce(vip.address) !== true) this.#announceOne(vip);
  }

  /** What cannot be announced as it should be, one line each. */
  warnings(vips: readonly VipConfig[]): string[] {
    if (!this.#rawMissing || !vips.some(hasNeighbours)) return [];
    const lost = [...this.#missing].filter((family) =>
      vips.some((vip) => vip.family === family && hasNeighbours(vip)),
    );
    return [
      NO_SOCAT,
      ...lost.map((family) => {
        const { name, package: from } = PROGRAMS[family];
        return `there is no program "${name}" (${from}) either, so IPv${family} VIPs are not announced to the neighbours`;
      }),
    ];
  }

  close(): void {
    this.#closed = true;
    this.#shell?.close();
    this.#shell = undefined;
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }

  #openRaw(link: Link): RawLink {
    return new RawLink(link, {
      onTrouble: (why) =>
        this.#onTrouble(`announcements on ${link.name} take a program each for a while: ${why}`),
      onMissing: () => {
        if (!this.#rawMissing) this.#onTrouble(NO_SOCAT);
        this.#rawMissing = true;
      },
      onLost: (addresses) => {
        for (const address of addresses) this.#announceOne({ address, interface: link.name });
      },
    });
  }

  #announceOne({ address, interface: device }: Pick<VipConfig, 'address' | 'interface'>): void {
    const family = address.includes(':') ? 6 : 4;
    if (this.#closed || this.#missing.has(family)) return;
    this.#shell ??= this.#start();
    this.#shell.write(`${PROGRAMS[family].name} ${device} ${address}`);
  }

  #start(): LineShell {
    const shell = new LineShell(SCRIPT, [], {
      onLine: (line) => this.#read(line),
      onEnded: (why) => {
        if (this.#shell === shell) this.#shell = undefined;
        this.#onTrouble(`announcements are started anew: ${why}`);
      },
    });
    return shell;
  }

  #read(line: string): void {
    const [name, device, address, digits] = line.split(' ');
    const family = name === PROGRAMS[4].name ? 4 : 6;
    const code = Number(digits);
    if (code === NOT_FOUND) this.#missing.add(family);
    // arping: 1 means that nobody answered, as nobody should.
    else if (code !== 0 && (family === 6 || code !== 1))
      this.#onTrouble(`${name} of ${address} on ${device} failed: exit code ${digits}`);
  }
}

/** An address of the loopback interface is nobody's neighbour, and one that a command moves is told by that command. */
function hasNeighbours(vip: VipConfig): boolean {
  return vip.provider === 'interface' && vip.interface !== 'lo';
}

function isMissing(result: unknown): boolean {
  return (result as { code?: string }).code === 'ENOENT';
}
