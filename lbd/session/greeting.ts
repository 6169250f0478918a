import { HashKeyAgreement } from './hash-key-agreement.ts';
import type { SyncCompanion, TicketSharing } from './sync-companion.ts';
import { ProtocolError } from './sync-frame.ts';
import { type Hello, helloFrame } from './sync-hello.ts';
import type { SessionTable } from './table.ts';
import type { UpdateStream } from './update-stream.ts';

export interface GreetingOptions {
  readonly table: SessionTable;
  readonly cluster: string;
  /** Names of this node and of the other one. */
  readonly node: string;
  readonly peer: string;
  /** 16 hex digits, random at each start of the process. */
  readonly boot: string;
  readonly companion?: SyncCompanion | undefined;
  /** Secrets of session tickets that both nodes share. */
  readonly tickets?: TicketSharing | undefined;
  /** Whether this node takes a second connection for heartbeats. */
  readonly heartbeats?: boolean;
}

/**
 * The beginning of a link: `hello` from both, then the key of the hashes, where they differ, then `start`, which says
 * whether the updates resume where the peer left off or whether it must compare digests first.
 */
export class Greeting {
  readonly #options: GreetingOptions;
  readonly #updates: UpdateStream;
  readonly #hashKey: HashKeyAgreement;
  #helloSent = false;
  #isHeard = false;
  #start: Buffer | undefined;
  #isOver = false;
  #warning = '';

  constructor(options: GreetingOptions, updates: UpdateStream) {
    const { table } = options;
    this.#options = options;
    this.#updates = updates;
    this.#hashKey = new HashKeyAgreement(table, () => updates.isUnused && table.unused);
  }

  /** A new link. */
  begin(): void {
    this.#helloSent = this.#isHeard = this.#isOver = false;
    this.#start = undefined;
    this.#hashKey.begin();
  }

  /** Whether the peer has said hello. */
  get isHeard(): boolean {
    return this.#isHeard;
  }

  /** Whether anything else may follow what this node has said. */
  get isOpen(): boolean {
    return this.#isHeard && !this.#hashKey.isAwaited;
  }

  /** Whether both have said all. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether there is something left to say to a peer that was heard. */
  get hasNews(): boolean {
    return this.#start !== undefined;
  }

  /** What both should agree on and do not, though it works; empty: nothing. */
  get warning(): string {
    return this.#warning;
  }

  next(): Buffer | undefined {
    if (!this.#helloSent) {
      this.#helloSent = true;
      return helloFrame(this.#hello());
    }
    return this.isOpen ? (this.#hashKey.next() ?? this.#nextStart()) : undefined;
  }

  /** @throws ProtocolError where the two cannot work together */
  onHello(hello: Hello, nowMs: number): void {
    const { cluster, node, peer, boot, table } = this.#options;
    if (this.#isHeard) throw new ProtocolError('a second hello');
    if (hello.cluster !== cluster)
      throw new ProtocolError(
        `the peer is of cluster ${JSON.stringify(hello.cluster)}, this node of "${cluster}"`,
      );
    if (hello.node !== peer || hello.boot === boot)
      throw new ProtocolError(`${JSON.stringify(hello.node)} called, "${node}" expects "${peer}"`);
    this.#hashKey.onHello(hello, node, peer);
    this.#warning =
      hello.capacity === table.capacity
        ? ''
        : `sessions.capacity is ${table.capacity} here and ${hello.capacity} on ${peer}: the smaller table forgets first`;
    this.#start = this.#updates.startFrame(this.#updates.onHello(hello, boot, nowMs));
    this.#isHeard = true;
  }

  /** @throws ProtocolError where it is not wanted, or another one than was offered */
  onHashKey(words: Int32Array): void {
    this.#hashKey.onKey(words);
  }

  /** @throws ProtocolError out of turn */
  onStart(words: Int32Array, nowMs: number): void {
    if (this.#isOver) throw new ProtocolError('a second start');
    if (this.#hashKey.isAwaited) throw new ProtocolError('a start before the key of the hashes');
    this.#updates.onStart(words, nowMs);
    this.#hashKey.settle();
    this.#isOver = true;
  }

  #nextStart(): Buffer | undefined {
    const start = this.#start;
    this.#start = undefined;
    return start;
  }

  #hello(): Hello {
    const { cluster, node, boot, table, companion, tickets, heartbeats } = this.#options;
    return {
      cluster,
      node,
      boot,
      capacity: table.capacity,
      keyFingerprint: table.keyFingerprint,
      clock: table.clock,
      known: this.#updates.known,
      flows: companion !== undefined,
      flowTable: companion?.tableMark,
      heartbeats: heartbeats === true,
      tickets: tickets !== undefined,
      engines: true,
      takesHashKey: this.#hashKey.offersToTake,
    };
  }
}
