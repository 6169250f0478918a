import type { VipConfig } from '../common/model.ts';
import type { Complaints } from './complaints.ts';
import type { IpAnswer, IpBatch } from './ip-batch.ts';
import type { IpRelay } from './ip-relay.ts';
import { type Copy, copiesIn, copyName, copyQuery, copyRemoval, isOurs } from './vip-copies.ts';
import { notListed } from './vip-trouble.ts';

export interface PresenceHost {
  readonly relay: IpRelay;
  readonly queries: IpBatch;
}

/** What a group knows of its VIPs. */
export interface PresenceOf {
  vips(): readonly VipConfig[];
  /** Some are on `lo`, for connections that are open. */
  isParked(): boolean;
}

/** Where the addresses of one group's VIPs are on this host, and who has put them there. */
export class VipPresence {
  readonly #host: PresenceHost;
  readonly #group: PresenceOf;
  readonly #complaints: Complaints;
  #copies: readonly Copy[] = [];
  /** The VIPs are to be here. */
  here = false;
  /** How often they began to come or go, and what of that is under way: what was seen meanwhile tells nothing. */
  #moves = 0;
  #moving = 0;

  constructor(host: PresenceHost, group: PresenceOf, complaints: Complaints) {
    this.#host = host;
    this.#group = group;
    this.#complaints = complaints;
  }

  /** Those that are not this agent's and could not be removed. */
  get copies(): readonly Copy[] {
    return this.#copies;
  }

  /** VIPs come or go while this runs. */
  async move<T>(work: () => Promise<T>): Promise<T> {
    this.#moves++;
    this.#moving++;
    try {
      return await work();
    } finally {
      this.#moving--;
      this.#moves++;
    }
  }

  /** Whether that address of a VIP is not this agent's. */
  isForeign(copy: Copy): boolean {
    return !isOurs(copy, this.#group.vips(), this.here, this.#group.isParked());
  }

  /** Looks for what is not this agent's, and removes it. */
  async clean(): Promise<void> {
    const moves = this.#moves;
    const vips = this.#group.vips();
    const { objects, complete } = await this.#host.queries.run(vips.map(copyQuery));
    const isStill = () => moves === this.#moves && this.#moving === 0;
    if (!complete || !isStill()) return;
    const copies = copiesIn(objects, vips).filter((copy) => this.isForeign(copy));
    // What is a copy now is the VIP itself once that comes.
    if (copies.length > 0) await this.#remove(copies, [], isStill);
    else this.#copies = [];
  }

  /**
   * Carries out what removes the VIPs, and then removes whatever is left of their addresses: the peer adds them next.
   *
   * @param lines for `ip` @param own those of them that remove the VIPs themselves
   * @returns what is still there, and what `ip` said of it @throws OperatorError when that is not known
   */
  async leave(lines: readonly string[], own: readonly string[]): Promise<{ left: Copy[]; answer: IpAnswer }> {
    let answer = await this.#host.relay.change([...lines, ...this.#group.vips().map(copyQuery)]);
    let left = this.#leftIn(answer);
    if (left.length > 0) {
      answer = await this.#remove(left, own);
      left = this.#leftIn(answer);
    }
    return { left, answer };
  }

  #leftIn(answer: IpAnswer): Copy[] {
    const left = copiesIn(answer.objects, this.#group.vips()).filter((copy) => this.isForeign(copy));
    if (left.length === 0 && !answer.complete) throw notListed(answer);
    return left;
  }

  async #remove(
    copies: readonly Copy[],
    own: readonly string[],
    isWanted?: () => boolean,
  ): Promise<IpAnswer> {
    const foreign = copies.filter((copy) => !own.includes(copyRemoval(copy)));
    for (const copy of foreign)
      this.#complaints.add(
        `copy ${copyName(copy)}`,
        `${copyName(copy)} was here, and not by this agent: removed, or both nodes would answer for it`,
      );
    this.#copies = foreign;
    const vips = this.#group.vips();
    const lines = [...copies.map(copyRemoval), ...vips.map(copyQuery)];
    const answer = await this.#host.relay.change(lines, undefined, isWanted);
    const left = copiesIn(answer.objects, vips).filter((copy) => this.isForeign(copy));
    if (answer.complete || left.length > 0) this.#copies = left;
    return answer;
  }
}
