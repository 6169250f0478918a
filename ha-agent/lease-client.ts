import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { formatEndpoint, type SocketAddress } from '../common/address.ts';
import type { LeaseStatus } from '../common/control.ts';
import { messageOf } from '../common/errors.ts';
import { monotonicMs } from '../common/events.ts';
import type { LeaseView } from './election-types.ts';
import { groupHash } from './heartbeat.ts';
import {
  askAtMs,
  beat,
  drop,
  due,
  type LeaseConfig,
  type LeaseOutcome,
  type LeaseState,
  leaseState,
  reachesWitness,
  receive,
  want,
} from './lease.ts';
import { type LeaseIdentities, LeaseKeys } from './lease-keys.ts';
import { encodeQuestion, type LeaseVerdict, nodeHash } from './lease-message.ts';

/** Datagrams that the kernel has not taken yet; more would wait in vain. */
const MAX_UNSENT = 32;
/** After the socket failed. */
const REOPEN_MS = 1_000;

/** Where the witness is, and how a lease is used. */
export interface LeasePlan {
  readonly witness: SocketAddress;
  /** Between two heartbeats: 10 to 60000. */
  readonly intervalMs: number;
  /** Time of a lease. */
  readonly leaseMs: number;
  /** Without an answer for so long, the witness is away. */
  readonly awayMs: number;
}

export interface LeaseClientOptions {
  /** undefined: there is no witness that grants leases. */
  readonly plan: LeasePlan | undefined;
  readonly identities: LeaseIdentities;
  readonly node: string;
  /** The address of this node, from which it asks. */
  readonly selfAddress: string;
  /** What is known of a group's lease has changed. */
  onView(group: string, view: LeaseView): void;
  onTrouble(text: string): void;
}

/** It answers nobody whose key it does not have. */
const NEVER = 'it has never answered; has the witness the key of this secret? its log says';

/** Carries what `lease.ts` says to the witness and back. Holds the socket and a timer, and no decision. */
export class LeaseClient {
  readonly #options: LeaseClientOptions;
  readonly #process = randomBytes(8).toString('hex');
  readonly #keys: LeaseKeys;
  #plan: LeasePlan | undefined;
  #state: LeaseState = leaseState(monotonicMs());
  /** Names by their hashes. */
  readonly #names = new Map<string, string>();
  #reaches = true;
  #socket: Socket | undefined;
  #unsent = 0;
  #timer: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isOpen = false;
  /** Why questions cannot be sent; undefined: they can. */
  #trouble: string | undefined;

  constructor(options: LeaseClientOptions) {
    this.#options = options;
    this.#plan = options.plan;
    this.#keys = new LeaseKeys(options.identities);
  }

  open(): void {
    this.#isOpen = true;
    this.#open();
  }

  /** Another plan. What another witness granted is worth nothing. */
  configure(plan: LeasePlan | undefined): void {
    const isSame = JSON.stringify(plan?.witness) === JSON.stringify(this.#plan?.witness);
    this.#plan = plan;
    if (isSame) return;
    this.#close();
    const { groups, counter } = this.#state;
    this.#state = { ...leaseState(monotonicMs()), counter };
    if (this.#isOpen) this.#open();
    for (const [hash, { isWanted, epoch }] of groups) this.want(this.#names.get(hash)!, isWanted, epoch);
    this.#tell();
  }

  /** Other keys, such as after the secret was replaced. The leases that are held count on: see `LeaseKeys`. */
  rekey(identities: LeaseIdentities): void {
    this.#keys.replace(identities);
  }

  /** With every round of heartbeats, and after these. */
  beat(): void {
    this.#step((config, now) => beat(this.#state, config, now));
    if (this.#reaches !== this.#reachesNow()) this.#tell();
  }

  /** @param epoch of this node's leadership */
  want(group: string, isWanted: boolean, epoch: number): void {
    const hash = groupHash(group);
    this.#names.set(hash, group);
    this.#step((config, now) => want(this.#state, config, hash, isWanted, epoch, now));
  }

  /** A group that this node does not have any more. */
  forget(group: string): void {
    const hash = groupHash(group);
    this.#step((config, now) => drop(this.#state, config, hash, now));
    this.#names.delete(hash);
  }

  view(group: string): LeaseView {
    const lease = this.#state.groups.get(groupHash(group));
    return {
      reachesWitness: this.#reaches,
      heardMs: this.#state.heardMs ?? 0,
      heldUntilMs: lease?.heldUntilMs ?? 0,
      takenUntilMs: lease?.takenUntilMs ?? 0,
      epoch: lease?.highestEpoch ?? 0,
      silenceMs: this.#state.silenceMs,
    };
  }

  /** undefined: there is no such witness. */
  status(): LeaseStatus | undefined {
    if (this.#plan === undefined) return undefined;
    const { answeredMs, verdict } = this.#state;
    const grants = this.#reaches && answeredMs !== undefined;
    return {
      address: formatEndpoint(this.#plan.witness),
      state: grants ? 'grants' : verdict === 'starting' ? 'starting' : 'away',
      answered_ms_ago: answeredMs === undefined ? undefined : Math.round(monotonicMs() - answeredMs),
      why: grants ? '' : (this.#trouble ?? (verdict === undefined ? NEVER : WHY[verdict])),
    };
  }

  close(): void {
    this.#isOpen = false;
    this.#close();
  }

  #step(decide: (config: LeaseConfig, now: number) => LeaseOutcome): void {
    if (this.#plan === undefined) return;
    const { intervalMs, leaseMs, awayMs } = this.#plan;
    const node = nodeHash(this.#options.node);
    const config = { node, process: this.#process, intervalMs, timeMs: leaseMs, awayMs };
    const now = monotonicMs();
    const { state, questions } = decide(config, now);
    this.#state = state;
    if (questions.length > 0) {
      const identity = this.#keys.next(now, intervalMs);
      for (const question of questions) this.#send(encodeQuestion(identity, question));
    }
    clearTimeout(this.#timer);
    const at = askAtMs(state);
    if (at !== Number.POSITIVE_INFINITY && this.#isOpen)
      this.#timer = setTimeout(
        () => this.#step((again, now) => due(this.#state, again, now)),
        Math.max(1, at - monotonicMs()),
      );
  }

  #receive(data: Buffer): void {
    const answer = this.#keys.decode(data, monotonicMs());
    if (answer === undefined) return;
    this.#step((config, now) => receive(this.#state, config, answer, now));
    if (this.#reaches !== this.#reachesNow()) this.#tell();
    else this.#tellGroup(answer.group);
  }

  #reachesNow(): boolean {
    return this.#plan !== undefined && reachesWitness(this.#state, this.#plan, monotonicMs());
  }

  #tell(): void {
    this.#reaches = this.#reachesNow();
    for (const hash of this.#names.keys()) this.#tellGroup(hash);
  }

  #tellGroup(hash: string): void {
    const group = this.#names.get(hash);
    if (group !== undefined) this.#options.onView(group, this.view(group));
  }

  #send(data: Buffer): void {
    const socket = this.#socket;
    if (socket === undefined || this.#plan === undefined || this.#unsent >= MAX_UNSENT) return;
    const { host, port } = this.#plan.witness;
    this.#unsent++;
    socket.send(data, port, host, (error) => {
      if (this.#socket !== socket) return;
      this.#unsent--;
      this.#sent(error ?? undefined);
    });
  }

  #sent(error: Error | undefined): void {
    const trouble = error && messageOf(error);
    if (trouble !== undefined && this.#trouble === undefined)
      this.#options.onTrouble(`the witness cannot be asked: ${trouble}`);
    this.#trouble = trouble;
  }

  #open(): void {
    if (this.#plan === undefined) return;
    const socket = createSocket(isIPv6(this.#plan.witness.host) ? 'udp6' : 'udp4');
    this.#socket = socket;
    this.#unsent = 0;
    socket.on('error', (error) => {
      this.#sent(error);
      this.#close();
      this.#retry = setTimeout(() => this.#open(), REOPEN_MS);
    });
    socket.on('message', (data) => this.#receive(data));
    socket.bind({ port: 0, address: this.#options.selfAddress });
  }

  #close(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#socket = undefined;
    // What the kernel still has to say is nobody's business any more.
    socket?.removeAllListeners('error').on('error', () => {});
    socket?.close();
  }
}

/** Why a witness that has spoken does not count. */
const WHY: Readonly<Record<LeaseVerdict, string>> = {
  granted: 'no answer',
  denied: 'no answer',
  vacant: 'no answer',
  prove: 'no answer',
  starting: 'it has just started, and does not know yet what it granted before',
  'too-long': 'it does not grant for so long',
  unheard: 'its answers come too late',
};
