import type { EnvelopeIdentity } from './envelope.ts';
import { FloodGuard, type FloodLevel } from './flood-guard.ts';
import { heartbeatFilter, SAMPLE_OF_ALL, SAMPLE_OF_JUNK } from './heartbeat-filter.ts';
import type { Lane } from './lane.ts';

/** Has the kernel filter one lane while it is flooded. */
export class LaneFilter {
  readonly #lane: Lane;
  readonly #way: string;
  readonly #guard = new FloodGuard();
  #trouble: string | undefined;
  /** The peer writes its pass on this lane, as its latest authentic datagram there shows. */
  passes = false;

  /** @param way see `pathId` */
  constructor(lane: Lane, way: string) {
    this.#lane = lane;
    this.#way = way;
  }

  get level(): FloodLevel {
    return this.#guard.level;
  }

  /** A datagram of this lane was thrown away. @returns whether the level is another one now */
  threw(nowMs: number, identity: EnvelopeIdentity): boolean {
    if (this.#lane.filter === undefined || !this.#guard.threw(nowMs)) return false;
    this.#apply(identity);
    return true;
  }

  /**
   * To be asked with each round.
   *
   * @param usual heartbeats of a peer in a millisecond
   * @returns whether the level is another one now
   */
  look(nowMs: number, identity: EnvelopeIdentity, usual: number): boolean {
    if (!this.#guard.look(nowMs, usual)) return false;
    this.#apply(identity);
    return true;
  }

  /** The passes are others now. */
  rekey(identity: EnvelopeIdentity): void {
    if (this.level !== 'open') this.#apply(identity);
  }

  #apply(identity: EnvelopeIdentity): void {
    const { level } = this.#guard;
    const sampled = level === 'sampled';
    this.#trouble = this.#lane.filter?.(
      level === 'open'
        ? undefined
        : heartbeatFilter({ identity, way: this.#way, passes: this.passes, sampled }),
    );
  }

  /** What an operator should know; undefined while there is no flood. */
  get warning(): string | undefined {
    const { level } = this.#guard;
    if (level === 'open') return undefined;
    if (this.#trouble !== undefined)
      return `${this.#lane.name} is flooded, and the kernel does not filter it: ${this.#trouble}`;
    return `${this.#lane.name} is flooded: ${EXPLANATIONS[level]}`;
  }
}

const EXPLANATIONS: Readonly<Record<Exclude<FloodLevel, 'open'>, string>> = {
  filtered: `the kernel drops what cannot be of the peer, and lets through one in ${SAMPLE_OF_JUNK} of that for the counts; the others are not counted`,
  sampled: `somebody has copied what the peer sends, and the kernel drops all but one in ${SAMPLE_OF_ALL} datagrams, also those of the peer`,
};
