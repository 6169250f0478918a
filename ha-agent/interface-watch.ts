import { execa } from 'execa';
import { messageOf } from '../common/errors.ts';
import { linkTrouble } from '../common/link-state.ts';
import type { IpAnswer, IpBatch } from './ip-batch.ts';
import type { Copy } from './vip-copies.ts';

/**
 * `ip monitor` does not notice that nobody reads it any more; the shell ends it when the agent is gone, however
 * it went. The shell gives up its standard output, so that the end of `ip` shows there.
 */
const MONITOR = 'ip -oneline monitor link address & exec >&-; read -r _; kill -KILL $!';
/** After `ip monitor` died, or the interfaces could not be looked at. */
const RETRY_MS = 1_000;
/** So often the interfaces are looked at in any case: `ip monitor` may stand still. */
const LOOK_MS = 1_000;
const MAX_LINE_CHARS = 4_096;
/** An address that has come or changed, see ip-address(8). */
const ADDRESS = /^\d+: ([^\s@]+)(?:@\S+)?\s+inet6? ([^\s/]+)(?: peer [^\s/]+)?\/(\d+) /;
/** An address that has gone. */
const NO_NEWS = /^Deleted \d+: \S+\s+inet/;

export interface InterfaceEvents {
  /** It came or went; also once for each at the start. `why` says what is wrong. */
  onInterface(name: string, up: boolean, why: string): void;
  /** Interfaces are there that were not there before; those with a name of before are others. */
  onNew(): void;
  /** This host has an address; told again and again. */
  onAddress(copy: Copy): void;
  /**
   * What has never been there is not missed, where this says so; nor is what came by `watch` and has never been up since.
   *
   * @param lacking all that are not there, or not up
   */
  isDispensable(name: string, lacking: ReadonlySet<string>): boolean;
  /** It is left aside until it is there and up. `why` says what is wrong. */
  onDispensed(name: string, why: string): void;
  onTrouble(text: string): void;
}

/** Tells whether interfaces are up and have a carrier, within milliseconds after that changes. */
export class InterfaceWatch {
  readonly #ip: IpBatch;
  readonly #events: InterfaceEvents;
  /** Of those that have been there: the kernel's number of each. */
  readonly #indexes = new Map<string, number>();
  /** Came by `watch` or were left aside, and have not been up since: what serves without them goes on. */
  readonly #unproven = new Set<string>();
  /** What was wrong with each at the last look; empty: nothing. */
  #states: ReadonlyMap<string, string> = new Map();
  #rest = '';
  /** A change was found of which `ip monitor` has not told yet. */
  #untold = false;
  #beat: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #names: readonly string[];
  #stop: (() => void) | undefined;
  #looking = false;
  #lookAgain = false;
  #closed = false;

  constructor(names: readonly string[], ip: IpBatch, events: InterfaceEvents) {
    this.#names = names;
    this.#ip = ip;
    this.#events = events;
  }

  /** Settles when every interface was looked at once. */
  async start(): Promise<void> {
    this.#monitor();
    this.#beat = setInterval(() => this.#lookUnasked(), LOOK_MS);
    await this.#look();
  }

  /** Watches other interfaces, and looks at them. */
  async watch(names: readonly string[]): Promise<void> {
    for (const name of names) if (!this.#names.includes(name)) this.#unproven.add(name);
    this.#names = names;
    await this.#look();
  }

  /** Looks at them, in case that nothing has told of a change. */
  look(): void {
    void this.#look();
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#beat);
    clearTimeout(this.#retry);
    this.#stop?.();
  }

  /** `ip monitor` says within a millisecond that something changed; what it is now is then asked for. */
  #monitor(): void {
    if (this.#closed) return;
    // Without SHLVL, as under a service manager, bash takes a socket as its input for a login over the network, and reads
    // the ~/.bashrc of whoever it is: code of others, which takes as long as it likes.
    const child = execa('bash', ['--norc', '-c', MONITOR], {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'ignore',
      buffer: false,
      reject: false,
      // A signal would end the shell before it has ended `ip`.
      cleanup: false,
    });
    child.stdin.on('error', () => {});
    this.#rest = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    let timer: NodeJS.Timeout | undefined;
    let isStopped = false;
    this.#stop = () => {
      isStopped = true;
      clearTimeout(timer);
      child.stdin.end();
    };
    child.stdout.on('close', () => {
      child.stdin.end();
      if (isStopped) return;
      this.#events.onTrouble('ip monitor ended; starting it again');
      timer = setTimeout(() => {
        this.#monitor();
        void this.#look();
      }, RETRY_MS);
    });
    child.catch((error: unknown) => this.#events.onTrouble(`bash failed: ${messageOf(error)}`));
  }

  /** What is found by this and not told within the time to the next look shows that `ip monitor` stands still. */
  #lookUnasked(): void {
    if (this.#untold) {
      this.#untold = false;
      this.#events.onTrouble('ip monitor did not tell of a change; starting another one');
      this.#stop?.();
      this.#monitor();
    }
    const before = this.#states;
    void this.#look().then(() => {
      this.#untold = before.size > 0 && [...this.#states].some(([name, why]) => before.get(name) !== why);
    });
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = (lines.pop() ?? '').slice(-MAX_LINE_CHARS);
    let isLink = false;
    for (const line of lines) {
      const [, device, address, prefix] = ADDRESS.exec(line) ?? [];
      if (device !== undefined && address !== undefined)
        this.#events.onAddress({ address, prefix: Number(prefix), interface: device });
      else if (!NO_NEWS.test(line)) isLink = true;
    }
    if (!isLink) return;
    this.#untold = false;
    void this.#look();
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
        await this.#lookOnce(this.#names);
      } while (this.#lookAgain && !this.#closed);
    } catch (error) {
      if (this.#closed) return;
      this.#events.onTrouble(`the interfaces cannot be looked at: ${messageOf(error)}`);
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => void this.#look(), RETRY_MS);
    } finally {
      this.#looking = false;
    }
  }

  async #lookOnce(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    const queries = names.map((name) => `addr show dev ${name}`);
    let answer = await this.#ip.run(queries);
    const isThere = (name: string) => answer.objects.some(({ ifname }) => ifname === name);
    if (!names.every(isThere)) {
      this.#ip.refresh();
      answer = await this.#ip.run(queries);
    }
    if (!answer.complete) throw new Error(answer.errors.join('; ') || 'ip did not answer');
    const troubles = new Map(
      names.map((name) => [
        name,
        troubleOf(
          name,
          answer.objects.find(({ ifname }) => ifname === name),
        ),
      ]),
    );
    const lacking = new Set(names.filter((name) => troubles.get(name) !== ''));
    for (const [name, why] of troubles) {
      if (why === '') this.#unproven.delete(name);
      const isNew = this.#unproven.has(name) || (!isThere(name) && !this.#indexes.has(name));
      const isDispensed = why !== '' && isNew && this.#events.isDispensable(name, lacking);
      if (isDispensed) {
        this.#unproven.add(name);
        this.#events.onDispensed(name, why);
      }
      this.#events.onInterface(name, why === '' || isDispensed, isDispensed ? '' : why);
    }
    this.#states = troubles;
    this.#compare(answer.objects);
  }

  #compare(links: IpAnswer['objects']): void {
    const isFirst = this.#indexes.size === 0;
    let isNew = false;
    for (const { ifname, ifindex } of links) {
      isNew ||= this.#indexes.get(String(ifname)) !== ifindex;
      this.#indexes.set(String(ifname), Number(ifindex));
    }
    if (isNew && !isFirst) this.#events.onNew();
  }
}

/** @returns what is wrong with an interface; empty: nothing */
function troubleOf(name: string, link: Readonly<Record<string, unknown>> | undefined): string {
  return link === undefined ? `interface ${name} does not exist` : linkTrouble(name, link.flags);
}
