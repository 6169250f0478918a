import type { Server, Socket } from 'node:net';
import { ipBytes } from './address.ts';
import { descriptorOf } from './descriptors.ts';
import { assemble, type FilterLine, type FilterProgram, FROM_IP, filterSocket } from './socket-filter.ts';
import { TokenBucket } from './token-bucket.ts';

/** Flags of a TCP segment, and those of one that begins a connection. */
const [FLAGS_AT, SYN_AND_ACK, SYN] = [13, 0x12, 0x02];
/** Source address in the header of IPv4 and of IPv6. */
const [SOURCE4_AT, SOURCE6_AT] = [12, 8];
const WORD = 4;
/** While it is narrow, one new connection in so many comes in. A power of two. */
const ONE_IN = 64;
/** It is narrow for so long; a client whose first try was dropped tries again after a second. */
const NARROW_MS = 1000;

export interface TurnstileOptions {
  /** Connections that may come each second, and at once. */
  readonly perSecond: number;
  readonly burst: number;
  /** An IP address that is not kept out because of others; it has as much room of its own. */
  readonly exempt?: string;
  /** It became narrow, and why it could not where it could not. Called each time. */
  onNarrow(trouble: string | undefined): void;
}

/**
 * Bounds what a flood of connections to a TCP port costs, whatever becomes of them: from accept to close each takes some
 * 50 µs of the thread. When too many come, the kernel drops most of what would begin another one (`socket-filter.ts`) for
 * a moment; connections that are open are left alone.
 */
export class Turnstile {
  readonly #server: Server;
  readonly #options: TurnstileOptions;
  readonly #others: TokenBucket;
  readonly #exempt: TokenBucket;
  #timer: NodeJS.Timeout | undefined;

  /** @param server that listens on a TCP port */
  constructor(server: Server, options: TurnstileOptions) {
    this.#server = server;
    this.#options = options;
    this.#others = new TokenBucket(options);
    this.#exempt = new TokenBucket(options);
    server.on('connection', ({ remoteAddress }: Socket) => this.#count(remoteAddress));
    server.on('drop', (drop) => this.#count(drop?.remoteAddress));
    server.once('close', () => clearTimeout(this.#timer));
  }

  /** Most of those who would come now are kept out. */
  get narrow(): boolean {
    return this.#timer !== undefined;
  }

  #count(address: string | undefined): void {
    const { exempt, onNarrow } = this.#options;
    const isExempt = address !== undefined && address === exempt;
    if (!isExempt && this.#timer !== undefined) return;
    if ((isExempt ? this.#exempt : this.#others).take(performance.now())) return;
    const program = turnstileFilter(isExempt ? undefined : exempt);
    const trouble = filterSocket(descriptorOf(this.#server), program);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), NARROW_MS);
    this.#timer.unref();
    onNarrow(trouble);
  }

  #open(): void {
    this.#timer = undefined;
    if (this.#server.listening) filterSocket(descriptorOf(this.#server), undefined);
  }
}

/** Lets in one in some of all who begin a connection, and one address always. What is open inherits it, and is not touched. */
export function turnstileFilter(exempt: string | undefined): FilterProgram {
  return assemble([
    { load: 'byte', at: FLAGS_AT },
    { and: SYN_AND_ACK },
    { is: SYN, no: 'in' },
    ...(exempt === undefined ? [] : isFrom(exempt)),
    { load: 'random' },
    { and: ONE_IN - 1 },
    { is: 0, no: 'out' },
    { label: 'in' },
    'take',
    { label: 'out' },
    'drop',
  ]);
}

function isFrom(address: string): FilterLine[] {
  const bytes = ipBytes(address);
  const at = bytes.length === WORD ? SOURCE4_AT : SOURCE6_AT;
  const lines: FilterLine[] = [];
  for (let i = 0; i < bytes.length; i += WORD)
    lines.push({ load: 'word', at: FROM_IP + at + i }, { is: bytes.readUInt32BE(i), no: 'another' });
  return [...lines, { goto: 'in' }, { label: 'another' }];
}
