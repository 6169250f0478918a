import type { Keys } from '../common/secret.ts';
import { decodeAnswer, type LeaseAnswer, type LeaseIdentity, leaseIdentity } from './lease-message.ts';

/** The key of the secret, then, while the secret is replaced, that of the one from before. */
export type LeaseIdentities = readonly [LeaseIdentity, ...LeaseIdentity[]];

/** @param keys from `clusterKeys(…, 'witness')` */
export function leaseIdentities(cluster: string, [key, ...former]: Keys): LeaseIdentities {
  return [leaseIdentity(cluster, key), ...former.map((old) => leaseIdentity(cluster, old))];
}

/** After so many intervals without an answer it may be the key: early enough to try another one before the lease ends. */
const DOUBT_INTERVALS = 1.25;

/**
 * Which key a node signs its questions to the witness with, while it has two and the witness may have either one. A
 * question is signed with one of them: with that of the latest answer, and while none comes with the other one each time.
 * So it costs no question more than usual.
 *
 * A lease does not belong to a key: the witness keeps it by cluster, and node and process ask with one sequence of
 * counters, whatever they sign with. So what `lease.ts` says about two processes holds with two keys as with one.
 */
export class LeaseKeys {
  #identities: LeaseIdentities;
  #at: number | undefined;
  /** When an answer came; undefined: none has come since the keys are those. */
  #heardMs: number | undefined;

  constructor(identities: LeaseIdentities) {
    this.#identities = identities;
  }

  /** Other keys. Nothing is known of what the witness says to them. */
  replace(identities: LeaseIdentities): void {
    this.#identities = identities;
    this.#at = this.#heardMs = undefined;
  }

  /**
   * With which to sign what goes out now.
   *
   * @param now monotonic milliseconds
   * @param intervalMs between two heartbeats
   */
  next(now: number, intervalMs: number): LeaseIdentity {
    const isDoubtful = this.#heardMs === undefined || now - this.#heardMs > intervalMs * DOUBT_INTERVALS;
    if (this.#at === undefined) this.#at = 0;
    else if (isDoubtful) this.#at = (this.#at + 1) % this.#identities.length;
    return this.#identities[this.#at]!;
  }

  /** @returns undefined when it is not an authentic answer, by none of the keys */
  decode(data: Buffer, now: number): LeaseAnswer | undefined {
    for (const [at, identity] of this.#identities.entries()) {
      const answer = decodeAnswer(identity, data);
      if (answer === undefined) continue;
      this.#at = at;
      this.#heardMs = now;
      return answer;
    }
    return undefined;
  }
}
