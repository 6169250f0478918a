import { DROP_CAUSES, type DropCause } from './heartbeat.ts';

/** Drops by these causes are how a network is; the others want an operator for so long after the last one. */
const HARMLESS: ReadonlySet<DropCause> = new Set(['self', 'cluster']);
const WARN_MS = 10_000;

const EXPLANATIONS: Readonly<Record<DropCause, string>> = {
  truncated: 'too short to be a heartbeat; another program sends to this port',
  magic: 'not a heartbeat; another program sends to this port',
  version: 'the peer runs another version of Tandem',
  cluster: 'from another cluster',
  self: 'its own',
  sender: 'from a node that is not in this config',
  key: 'signed with another secret; the nodes have two different ones, or somebody forges heartbeats',
  auth: 'wrong signature; the peer has another secret, or somebody forges heartbeats',
  malformed: 'signed, but with values that do not exist; the peer runs another version of Tandem',
  group: 'about a VIP group that this config does not have; the peer has another config',
  replay:
    'old ones; a few are usual after a pause of a node, more mean that the network or somebody repeats them',
  twin: 'from a second machine that claims the name of the peer',
};

/** What a datagram that cannot be understood may mean, where it seems to be of the peer. */
export const PRESENCE: Partial<Readonly<Record<DropCause, string>>> = {
  version: 'it speaks another version of the protocol',
  key: 'it has another secret',
  auth: 'it has another secret',
  malformed: 'it says what this version does not know',
};

/** When which kind of datagram was last thrown away. */
export class DropLog {
  readonly #lastMs = new Map<DropCause, number>();

  add(cause: DropCause, now: number): void {
    this.#lastMs.set(cause, now);
  }

  /** Drops of the last seconds that an operator should mend. */
  warnings(now: number): string[] {
    return DROP_CAUSES.filter((cause) => {
      const at = this.#lastMs.get(cause);
      return at !== undefined && now - at < WARN_MS && !HARMLESS.has(cause);
    }).map((cause) => `heartbeats are thrown away (${cause}): ${EXPLANATIONS[cause]}`);
  }
}
