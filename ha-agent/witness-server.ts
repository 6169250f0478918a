import { randomBytes } from 'node:crypto';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { SocketAddress } from '../common/address.ts';
import { LONGEST_LEASE_MS } from '../common/ha-checks.ts';
import {
  clusterOfQuestion,
  decodeQuestion,
  encodeAnswer,
  type LeaseIdentity,
  type LeaseQuestion,
} from './lease-message.ts';
import { type WitnessState, witnessState, witnessStep } from './lease-witness.ts';

/** Answers that the kernel has not taken yet; more would wait in vain. */
const MAX_UNSENT = 256;
/** Datagrams that are thrown away are told so often at most. */
const TELL_MS = 60_000;
/** Where IPv6 is not there. */
const NO_IPV6: readonly unknown[] = ['EAFNOSUPPORT', 'EADDRNOTAVAIL'];

export interface WitnessServerOptions {
  /** Keys of all clusters at the start; one may have two of them, while its secret is replaced. */
  readonly identities: readonly LeaseIdentity[];
  /** undefined: every address of this machine. */
  readonly listen: SocketAddress | { readonly port: number };
  readonly now: () => number;
  /** Another one only in tests. */
  readonly longestMs?: number;
  log(level: 'info' | 'warn', text: string): void;
}

/** The witness: answers each authentic question with one datagram of the same size. Decides nothing itself. */
export class WitnessServer {
  readonly #options: WitnessServerOptions;
  #keys: ReadonlyMap<string, readonly LeaseIdentity[]> = new Map();
  /** Of all clusters since the start: leases run on while the keys of theirs are replaced, or are gone for a while. */
  readonly #states = new Map<string, WitnessState>();
  #socket: Socket | undefined;
  #unsent = 0;
  #thrown = 0;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(options: WitnessServerOptions) {
    this.#options = options;
    this.replaceKeys(options.identities);
  }

  /**
   * Other keys, from the next question on. What was granted counts on. A cluster that is new waits as at a start: an
   * earlier witness may have granted its leases.
   */
  replaceKeys(identities: readonly LeaseIdentity[]): void {
    const { longestMs = LONGEST_LEASE_MS, now } = this.#options;
    this.#keys = Map.groupBy(identities, ({ cluster }) => cluster);
    for (const cluster of this.#keys.keys())
      if (!this.#states.has(cluster))
        this.#states.set(cluster, witnessState(randomBytes(32), longestMs, now()));
  }

  /** @returns where it listens @throws Error when it cannot */
  async open(): Promise<SocketAddress> {
    const { listen } = this.#options;
    if ('host' in listen) return this.#bind(isIPv6(listen.host) ? 'udp6' : 'udp4', listen.port, listen.host);
    try {
      return await this.#bind('udp6', listen.port, '::');
    } catch (error) {
      if (!NO_IPV6.includes((error as NodeJS.ErrnoException).code)) throw error;
      return this.#bind('udp4', listen.port, '0.0.0.0');
    }
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  async #bind(type: 'udp4' | 'udp6', port: number, address: string): Promise<SocketAddress> {
    const socket = createSocket(type);
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ port, address }, resolve);
    });
    socket.removeAllListeners('error');
    socket.on('error', (error) => this.#options.log('warn', `the socket has an error: ${error.message}`));
    socket.on('message', (data, from) => this.#receive(socket, data, from));
    this.#socket = socket;
    const bound = socket.address();
    return { host: bound.address, port: bound.port };
  }

  #receive(socket: Socket, data: Buffer, from: RemoteInfo): void {
    const cluster = clusterOfQuestion(data);
    for (const identity of (cluster !== undefined && this.#keys.get(cluster)) || []) {
      const question = decodeQuestion(identity, data);
      if (question === undefined) continue;
      this.#answer(socket, identity, question, from);
      return;
    }
    this.#throwAway(from);
  }

  #answer(socket: Socket, identity: LeaseIdentity, question: LeaseQuestion, from: RemoteInfo): void {
    const before = this.#states.get(identity.cluster)!;
    const { state, answer } = witnessStep(before, question, this.#options.now());
    this.#states.set(identity.cluster, state);
    this.#tell(before, state, question, from);
    if (answer === undefined || this.#unsent >= MAX_UNSENT) return;
    this.#unsent++;
    // Who did not get it asks again.
    socket.send(encodeAnswer(identity, answer), from.port, from.address, () => this.#unsent--);
  }

  #tell(before: WitnessState, after: WitnessState, question: LeaseQuestion, from: RemoteInfo): void {
    const { group, node } = question;
    const now = this.#options.now();
    const had = before.leases.get(group);
    const has = after.leases.get(group);
    if (has === undefined || has === had) return;
    const isNew = had?.process !== has.process || had.untilMs <= now;
    const what = has.untilMs <= now ? 'is released by' : isNew ? 'goes to' : undefined;
    if (what === undefined) return;
    const who = `node ${node} at ${from.address}`;
    this.#options.log('info', `the lease of group ${group} ${what} ${who}, epoch ${has.epoch}`);
  }

  #throwAway(from: RemoteInfo): void {
    this.#thrown++;
    const now = this.#options.now();
    if (now - this.#toldMs < TELL_MS) return;
    this.#toldMs = now;
    const count = this.#thrown === 1 ? 'a datagram was' : `${this.#thrown} datagrams were`;
    this.#options.log(
      'warn',
      `${count} thrown away, the last one from ${from.address}: not a question of a node whose key this witness has`,
    );
    this.#thrown = 0;
  }
}
