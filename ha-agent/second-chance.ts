import { within } from '../common/bounded.ts';
import { messageOf } from '../common/errors.ts';
import type { VipConfig } from '../common/model.ts';
import { forwardable } from './forward-rules.ts';
import { Forwarder } from './forwarder.ts';
import type { IpBatch } from './ip-batch.ts';
import type { QuietArp } from './quiet-arp.ts';

/** What does not work may do so later: a machine that boots has no routes yet. */
const RETRY_MS = 60_000;

export interface SecondChanceHost {
  /** For queries, see `IpBatch`. */
  readonly queries: IpBatch;
  readonly quietArp: QuietArp;
  /** To which segments of the peer's connections are sent on. */
  readonly peerAddress: string;
  /** Whether this host's kernel balances flows itself. */
  readonly knowsFlows: () => boolean;
  onTrouble(text: string): void;
  /** Whether open connections can outlive a switchover is known anew. */
  onAbility(): void;
}

/** Whether open connections of one VIP group can outlive a switchover, and the rules by which they do. */
export class SecondChance {
  readonly #host: SecondChanceHost;
  readonly #forwarder: Forwarder;
  #vips: readonly VipConfig[];
  /** Why they cannot; undefined: they can. */
  #trouble: string | undefined = 'not known yet';
  #retry: NodeJS.Timeout | undefined;
  /** Searches before the latest one do not count. */
  #searches = 0;

  constructor(group: string, vips: readonly VipConfig[], host: SecondChanceHost) {
    this.#host = host;
    this.#vips = vips;
    this.#forwarder = new Forwarder(group, host.peerAddress, host.knowsFlows);
  }

  get available(): boolean {
    return this.#trouble === undefined;
  }

  /** VIPs whose open connections can outlive a switchover. */
  get movable(): readonly VipConfig[] {
    return forwardable(this.#vips, this.#host.peerAddress);
  }

  get warnings(): readonly string[] {
    // Without a VIP that could be forwarded there is nothing to mend, but to know: see `notes`.
    if (this.#trouble === undefined || this.movable.length === 0) return [];
    return [`a switchover breaks open connections: ${this.#trouble}`];
  }

  /** What the config makes so, on purpose or not. */
  get notes(): readonly string[] {
    const left = this.#vips.filter((vip) => !this.movable.includes(vip));
    if (left.length === 0) return [];
    return [
      `a switchover breaks open connections of ${left.map(({ address }) => address).join(', ')}: only VIPs of provider interface and of the family of the peer's address ${this.#host.peerAddress} are forwarded`,
    ];
  }

  configure(vips: readonly VipConfig[]): void {
    this.#vips = vips;
    void this.find();
  }

  /** Finds out whether it can be done. `nft` may take its time: settles when it is known, and never rejects. */
  async find(): Promise<void> {
    const search = ++this.#searches;
    clearTimeout(this.#retry);
    const trouble = await this.#look().then(() => undefined, messageOf);
    if (search !== this.#searches) return;
    const news = trouble !== this.#trouble;
    this.#trouble = trouble;
    if (trouble !== undefined) {
      if (news) this.#host.onTrouble(`a switchover will break open connections: ${trouble}`);
      if (this.movable.length > 0) this.#retry = setTimeout(() => void this.find(), RETRY_MS).unref();
    }
    if (news) this.#host.onAbility();
  }

  /** @returns whether what was asked for is done, or has failed, within `ms` */
  async settled(ms: number): Promise<boolean> {
    return (
      (await within(
        ms,
        this.#forwarder.settled.then(() => true),
      )) ?? false
    );
  }

  forward(): Promise<void> {
    return this.#forwarder.forward(this.movable);
  }

  unforward(): Promise<void> {
    return this.#forwarder.unforward();
  }

  close(): void {
    this.#searches++;
    clearTimeout(this.#retry);
    this.#forwarder.close();
  }

  async #look(): Promise<void> {
    const { peerAddress, quietArp } = this.#host;
    const vips = this.movable;
    if (vips.length === 0)
      throw new Error(
        `no VIP is of provider interface and of the family of the peer's address ${peerAddress}`,
      );
    quietArp.check(vips);
    await this.#requireNeighbour();
    await this.#forwarder.check(vips);
  }

  /** A router would send a segment for a VIP back to the node that has it. */
  async #requireNeighbour(): Promise<void> {
    const { peerAddress, queries } = this.#host;
    const { objects, errors } = await queries.run([`route get ${peerAddress}`]);
    const route = objects.find(({ dst }) => dst === peerAddress);
    if (route === undefined)
      throw new Error(`it is not known how ${peerAddress} is reached: ${errors.join('; ') || 'no answer'}`);
    const { gateway, via, type } = route;
    if (type === 'local') throw new Error(`${peerAddress} is an address of this host`);
    if (gateway !== undefined || via !== undefined)
      throw new Error(
        `not available there: ${peerAddress} is on another network, behind the router ${gateway ?? JSON.stringify(via)}, which would send the segments back`,
      );
  }
}
