import type { PeerReport } from './election-types.ts';

/** A field of the report that may be missing: a section of its own in the heartbeat. */
export interface Field {
  /** Of the section. 16 to 255, never used again for anything else. */
  readonly type: number;
  /** @returns undefined where the report does not have it */
  write(report: PeerReport): Buffer | undefined;
  /** @returns undefined where the value is none that exists: the field counts as missing */
  read(value: Buffer): Partial<PeerReport> | undefined;
}

/** The longest dead time: 100 missed intervals of a minute. */
const MAX_DEAD_TIME_MS = 6_000_000;
const MAX_48_BITS = 2 ** 48 - 1;
const LEASE_BYTES = 13;

/** A new optional field is a new line here, and one in `PeerReport`. */
export const FIELDS: readonly Field[] = [
  uint(16, 'deadTimeMs', 4, MAX_DEAD_TIME_MS),
  uint(17, 'servedMs', 6, MAX_48_BITS),
  hex(18, 'instance', 8),
  { type: 19, write: writeLease, read: readLease },
];

/** A number of milliseconds; parts of one are left out. */
function uint(type: number, name: 'deadTimeMs' | 'servedMs', bytes: number, max: number): Field {
  return {
    type,
    write: ({ [name]: number }) => {
      if (number === undefined) return undefined;
      const value = Buffer.alloc(bytes);
      value.writeUIntBE(Math.min(max, Math.max(0, Math.floor(number))), 0, bytes);
      return value;
    },
    read: (value) => {
      if (value.length < bytes) return undefined;
      const number = value.readUIntBE(0, bytes);
      return number > max ? undefined : { [name]: number };
    },
  };
}

/** So many bytes, in the report as hexadecimal digits. */
function hex(type: number, name: 'instance', bytes: number): Field {
  return {
    type,
    write: ({ [name]: digits }) => (digits === undefined ? undefined : Buffer.from(digits, 'hex')),
    read: (value) => (value.length < bytes ? undefined : { [name]: value.toString('hex', 0, bytes) }),
  };
}

function writeLease({ lease }: PeerReport): Buffer | undefined {
  if (lease === undefined) return undefined;
  const value = Buffer.alloc(LEASE_BYTES);
  value[0] = (lease.held ? 1 : 0) | (lease.reachesWitness ? 2 : 0) | (lease.isBound ? 4 : 0);
  value.writeUIntBE(lease.sentMs, 1, 6);
  value.writeUIntBE(lease.heardSentMs, 7, 6);
  return value;
}

function readLease(value: Buffer): Partial<PeerReport> | undefined {
  if (value.length < LEASE_BYTES) return undefined;
  const bits = value[0]!;
  return {
    lease: {
      held: (bits & 1) !== 0,
      reachesWitness: (bits & 2) !== 0,
      isBound: (bits & 4) !== 0,
      sentMs: value.readUIntBE(1, 6),
      heardSentMs: value.readUIntBE(7, 6),
    },
  };
}
