import type { PeerReport } from './election-types.ts';
import { type Sections, writeSectionHead } from './envelope.ts';
import { HexReader, writeHex } from './hex.ts';

/** A report in the making. */
type Draft = { -readonly [Name in keyof PeerReport]: PeerReport[Name] };

/** A field of the report that may be missing: a section of its own in the heartbeat. */
interface Field {
  /** Of the section. 16 to 255, never used again for anything else. */
  readonly type: number;
  /** Of its value; a longer one is read as far as it is known, a shorter one counts as missing. */
  readonly bytes: number;
  has(report: PeerReport): boolean;
  /** Writes the value at `at`. */
  write(report: PeerReport, out: Buffer, at: number): void;
  /** Reads the value at `at`; one that does not exist is left out, as if the field was missing. */
  read(data: Buffer, at: number, report: Draft): void;
}

/** The longest dead time: 100 missed intervals of a minute. */
const MAX_DEAD_TIME_MS = 6_000_000;
const MAX_48_BITS = 2 ** 48 - 1;
const INSTANCES = new HexReader();

/** A new optional field is a new line here, and one in `PeerReport`. */
const FIELDS: readonly Field[] = [
  uint(16, 'deadTimeMs', 4, MAX_DEAD_TIME_MS),
  uint(17, 'servedMs', 6, MAX_48_BITS),
  hex(18, 'instance', 8),
  {
    type: 19,
    bytes: 13,
    has: ({ lease }) => lease !== undefined,
    write: writeLease,
    read: (data, at, report) => {
      report.lease = readLease(data, at);
    },
  },
];

/** Writes the sections of all fields that the report has. @returns where they end */
export function writeFields(report: PeerReport, out: Buffer, at: number): number {
  let next = at;
  for (const field of FIELDS) {
    if (!field.has(report)) continue;
    const valueAt = writeSectionHead(out, next, field.type, field.bytes);
    field.write(report, out, valueAt);
    next = valueAt + field.bytes;
  }
  return next;
}

/** Adds to the report what the sections say of it. */
export function readFields(sections: Sections, report: Draft): void {
  for (const field of FIELDS) {
    const at = sections.find(field.type);
    if (sections.lengthAt(at) >= field.bytes) field.read(sections.data, at, report);
  }
}

/** A number of milliseconds; parts of one are left out. */
function uint(type: number, name: 'deadTimeMs' | 'servedMs', bytes: number, max: number): Field {
  return {
    type,
    bytes,
    has: (report) => report[name] !== undefined,
    write: (report, out, at) => {
      out.writeUIntBE(Math.min(max, Math.max(0, Math.floor(report[name]!))), at, bytes);
    },
    read: (data, at, report) => {
      const number = data.readUIntBE(at, bytes);
      if (number <= max) report[name] = number;
    },
  };
}

/** So many bytes, in the report as hexadecimal digits. */
function hex(type: number, name: 'instance', bytes: number): Field {
  return {
    type,
    bytes,
    has: (report) => report[name] !== undefined,
    write: (report, out, at) => {
      writeHex(out, at, report[name]!);
    },
    read: (data, at, report) => {
      report[name] = INSTANCES.read(data, at, bytes);
    },
  };
}

function writeLease({ lease }: PeerReport, out: Buffer, at: number): void {
  const { held, reachesWitness, isBound, sentMs, heardSentMs } = lease!;
  out[at] = (held ? 1 : 0) | (reachesWitness ? 2 : 0) | (isBound ? 4 : 0);
  out.writeUIntBE(sentMs, at + 1, 6);
  out.writeUIntBE(heardSentMs, at + 7, 6);
}

function readLease(data: Buffer, at: number): PeerReport['lease'] {
  const bits = data[at]!;
  return {
    held: (bits & 1) !== 0,
    reachesWitness: (bits & 2) !== 0,
    isBound: (bits & 4) !== 0,
    sentMs: data.readUIntBE(at + 1, 6),
    heardSentMs: data.readUIntBE(at + 7, 6),
  };
}
