import { assemble, type FilterLine, type FilterProgram } from '../common/socket-filter.ts';
import {
  CLUSTER_AT,
  type EnvelopeIdentity,
  HASH_BYTES,
  MAGIC,
  MAX_ENVELOPE_BYTES,
  MIN_BYTES,
  PASS_AT,
  SENDER_AT,
} from './envelope.ts';
import { V2, V2_CLUSTER_AT, V2_SENDER_AT } from './heartbeat-v2.ts';
import { passesOn } from './pass.ts';

const UDP_HEAD = 8;
const WORD = 4;
const VERSION_AT = 4;
/** Of what is not let through, one in so many is, so that it goes on to be counted by its cause. A power of two. */
export const SAMPLE_OF_JUNK = 256;
/** Where a flood looks like the peer, of all. A power of two. */
export const SAMPLE_OF_ALL = 32;

export interface FilterWants {
  readonly identity: EnvelopeIdentity;
  /** See `pathId`. */
  readonly way: string;
  /** The peer writes its pass on this path: what has none is not of it. */
  readonly passes: boolean;
  /** What looks like the peer is too much as well. */
  readonly sampled: boolean;
}

/**
 * What the kernel drops of the datagrams to a heartbeat port while it is flooded: before they take room in the receive
 * buffer, where the peer's own would find none, and before they cost this process anything. It looks at what `open`
 * looks at first, and at the pass, which an attacker must have seen. So where a flood has copied all of it, only a
 * share of everything is let through: the path is lost for as long as that lasts, and the processor is not.
 */
export function heartbeatFilter({ identity, way, passes, sampled }: FilterWants): FilterProgram {
  const { cluster, self, peer } = identity;
  const names = (clusterAt: number, senderAt: number, next: string): FilterLine[] => [
    ...equal(cluster, clusterAt, 'junk'),
    ...equal(peer, senderAt, `another than the peer at ${senderAt}`),
    { goto: next },
    { label: `another than the peer at ${senderAt}` },
    ...equal(self, senderAt, 'junk'),
    { goto: next },
  ];
  const chance = (one: number): FilterLine[] => [
    { load: 'random' },
    { and: one - 1 },
    { is: 0, no: 'drop' },
    'take',
  ];
  const pass: FilterLine[] = passes
    ? [
        { label: 'pass' },
        { load: 'word', at: UDP_HEAD + PASS_AT },
        ...passesOn(identity, way).map((word): FilterLine => ({ is: word, yes: 'peer' })),
        { goto: 'junk' },
      ]
    : [];
  return assemble([
    { load: 'length' },
    { above: UDP_HEAD + MIN_BYTES - 1, no: 'junk' },
    { above: UDP_HEAD + MAX_ENVELOPE_BYTES, yes: 'junk' },
    { load: 'word', at: UDP_HEAD },
    { is: MAGIC, no: 'junk' },
    { load: 'byte', at: UDP_HEAD + VERSION_AT },
    { is: V2, yes: passes ? 'junk' : 'old', no: 'new' },
    ...(passes ? [] : [{ label: 'old' }, ...names(V2_CLUSTER_AT, V2_SENDER_AT, 'peer')]),
    { label: 'new' },
    ...names(CLUSTER_AT, SENDER_AT, passes ? 'pass' : 'peer'),
    ...pass,
    { label: 'peer' },
    ...(sampled ? chance(SAMPLE_OF_ALL) : (['take'] as const)),
    { label: 'junk' },
    ...chance(SAMPLE_OF_JUNK),
    { label: 'drop' },
    'drop',
  ]);
}

/** @param otherwise label for what is not equal */
function equal(name: Buffer, at: number, otherwise: string): FilterLine[] {
  const lines: FilterLine[] = [];
  for (let i = 0; i < HASH_BYTES; i += WORD)
    lines.push({ load: 'word', at: UDP_HEAD + at + i }, { is: name.readUInt32BE(i), no: otherwise });
  return lines;
}
