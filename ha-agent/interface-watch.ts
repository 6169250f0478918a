import { execa } from 'execa';
import { messageOf } from '../common/errors.ts';
import type { HostNetworkEvents } from './host-network.ts';
import type { IpBatch } from './ip-batch.ts';

/**
 * `ip monitor` does not notice that nobody reads it any more; the shell ends it when the agent is gone, however
 * it went. The shell gives up its standard output, so that the end of `ip` shows there.
 */
const MONITOR = 'ip -oneline monitor link & exec >&-; read -r _; kill $!';
/** After `ip monitor` died. */
const RETRY_MS = 1_000;

/** Tells whether interfaces are up and have a carrier, within milliseconds after that changes. */
export class InterfaceWatch {
  readonly #ip: IpBatch;
  readonly #events: HostNetworkEvents;
  #names: readonly string[];
  #stop: (() => void) | undefined;
  #looking = false;
  #lookAgain = false;
  #closed = false;

  constructor(names: readonly string[], ip: IpBatch, events: HostNetworkEvents) {
    this.#names = names;
    this.#ip = ip;
    this.#events = events;
  }

  /** Settles when every interface was looked at once. */
  async start(): Promise<void> {
    this.#monitor();
    await this.#look();
  }

  /** Watches other interfaces, and looks at them. */
  async watch(names: readonly string[]): Promise<void> {
    this.#names = names;
    await this.#look();
  }

  close(): void {
    this.#closed = true;
    this.#stop?.();
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
    this.#stop = () => {
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
      }, RETRY_MS);
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
        await this.#lookOnce(this.#names);
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
