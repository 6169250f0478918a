import { execa, type ResultPromise } from 'execa';
import { messageOf } from '../common/errors.ts';
import { monotonicMs } from '../common/events.ts';
import { announcement, FRAME_BYTES } from './announcement.ts';

/** Numbers of Linux, as `socat` wants them. */
const AF_PACKET = 17;
const SOCK_RAW = 3;
/** It receives nothing. */
const NO_PROTOCOL = 0;
/** One that ended is started again after so long, or after twice as long as the last time if it ended soon. */
const MIN_RESTART_MS = 1_000;
const MAX_RESTART_MS = 60_000;
const SOON_MS = 10_000;
/** Its last line is its complaint. */
const MAX_WORDS_CHARS = 4_096;
/** It says that it has sent within a millisecond; one that has not by then stands still. */
const HANG_MS = 500;

/** An Ethernet interface as the kernel knows it. */
export interface Link {
  readonly name: string;
  readonly index: number;
  /** As `ip` shows it. */
  readonly mac: string;
}

export interface RawLinkEvents {
  /** It cannot send for a while; said once for each cause. */
  onTrouble(why: string): void;
  /** There is no `socat`; it will never send. */
  onMissing(): void;
  /** It stood still, so these were not announced. */
  onLost(addresses: readonly string[]): void;
}

/**
 * Puts announcements on the wire of one interface by a long-lived `socat`, without starting a program for each: a
 * takeover has told the neighbours within a millisecond.
 */
export class RawLink {
  readonly link: Link;
  readonly #events: RawLinkEvents;
  #socat:
    | ResultPromise<{
        stdin: 'pipe';
        stdout: 'ignore';
        stderr: 'pipe';
        buffer: false;
        reject: false;
        cleanup: false;
      }>
    | undefined;
  /** Announced, and not said to be sent. */
  #unsent = new Set<string>();
  #hang: NodeJS.Timeout | undefined;
  /** The end of what it said. */
  #words = '';
  #startedMs = 0;
  #restartMs = MIN_RESTART_MS;
  #restart: NodeJS.Timeout | undefined;
  #told: string | undefined;
  #closed = false;

  constructor(link: Link, events: RawLinkEvents) {
    this.link = link;
    this.#events = events;
    this.#start();
  }

  /**
   * @param address canonical
   * @returns false: it cannot be announced this way now
   */
  announce(address: string): boolean {
    if (this.#socat === undefined) return false;
    const mac = Buffer.from(this.link.mac.replaceAll(':', ''), 'hex');
    this.#socat.stdin.write(announcement(mac, address));
    this.#unsent.add(address);
    this.#hang ??= setTimeout(() => this.#hangs(), HANG_MS);
    return true;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#restart);
    clearTimeout(this.#hang);
    this.#socat?.stdin.end();
    this.#socat = undefined;
  }

  #start(): void {
    this.#startedMs = monotonicMs();
    const to = `SOCKET-SENDTO:${AF_PACKET}:${SOCK_RAW}:${NO_PROTOCOL}:x${linkAddress(this.link.index)}`;
    const socat = execa('socat', ['-u', '-v', '-b', String(FRAME_BYTES), 'STDIN', to], {
      stdin: 'pipe',
      stdout: 'ignore',
      stderr: 'pipe',
      buffer: false,
      reject: false,
      cleanup: false,
    });
    this.#socat = socat;
    this.#words = '';
    socat.stdin.on('error', () => {});
    socat.stderr.setEncoding('latin1').on('data', (text: string) => {
      this.#words = (this.#words + text).slice(-MAX_WORDS_CHARS);
      if (this.#socat === socat) this.#sent();
    });
    socat.once('exit', () => this.#ended(socat, false, this.#words));
    socat.then(
      (result) => this.#ended(socat, (result as { code?: string }).code === 'ENOENT', this.#words),
      (error: unknown) => this.#ended(socat, false, messageOf(error)),
    );
  }

  /** With `-v` it says something of each thing that it sends. */
  #sent(): void {
    clearTimeout(this.#hang);
    this.#hang = undefined;
    this.#unsent.clear();
  }

  #hangs(): void {
    const lost = [...this.#unsent];
    const socat = this.#socat;
    this.#sent();
    if (socat === undefined || this.#closed) return;
    socat.kill('SIGKILL');
    this.#ended(socat, false, `socat has not sent within ${HANG_MS} ms`);
    this.#events.onLost(lost);
  }

  #ended(socat: unknown, missing: boolean, why: string): void {
    if (this.#closed || this.#socat !== socat) return;
    this.#socat = undefined;
    if (missing) {
      this.#events.onMissing();
      return;
    }
    const cause = why.trim().split('\n').at(-1) || 'socat ended';
    if (cause !== this.#told) this.#events.onTrouble(cause);
    this.#told = cause;
    const soon = monotonicMs() - this.#startedMs < SOON_MS;
    this.#restartMs = soon ? Math.min(2 * this.#restartMs, MAX_RESTART_MS) : MIN_RESTART_MS;
    this.#restart = setTimeout(() => this.#start(), this.#restartMs);
  }
}

/** `struct sockaddr_ll` without the family (packet(7)), in hexadecimal: the interface is all that counts for a raw socket. */
function linkAddress(index: number): string {
  const address = Buffer.alloc(18);
  address.writeUInt32LE(index, 2);
  address[9] = 6;
  address.fill(0xff, 10, 16);
  return address.toString('hex');
}
