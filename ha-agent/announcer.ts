import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { VipConfig } from '../common/model.ts';
import { LineShell } from './line-shell.ts';

const SCRIPT = fileURLToPath(new URL('announcer.sh', import.meta.url));
/** A program that says its version or its options takes some milliseconds. */
const PROBE_TIMEOUT_MS = 3_000;
/** Exit code of a shell for a program that does not exist. */
const NOT_FOUND = 127;

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
    this.#shell?.close();
    this.#shell = undefined;
  }

  #announceOne({ address, family, interface: device }: VipConfig): void {
    if (this.#closed) return;
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
