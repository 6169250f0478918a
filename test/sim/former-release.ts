import type { Datagram } from './network.ts';
import { createHmac } from './stand-in/crypto.ts';

const BYTES = 152;
const MAC_AT = 120;
const MAGIC = 0x544e444d;
/** Of the heartbeats, see `newAgent`. */
const KEY = Buffer.alloc(32, 1);
/** By this bit of the path a process of today shows in a datagram of the former format that it speaks another one, too. */
const MARK = 0x80;

/**
 * What a node of the former release sends or reads of a datagram: heartbeats of version 2 and no others. It does not make
 * the mark, and it does not look at it.
 *
 * @returns undefined: it sends no such datagram, and throws it away
 */
export function asFormerRelease(datagram: Datagram): Datagram | undefined {
  const { data } = datagram;
  if (!isRead(data)) return undefined;
  const changed = Buffer.from(data);
  changed[8] = data[8]! & ~MARK;
  createHmac('sha256', KEY).update(changed.subarray(0, MAC_AT)).digest().copy(changed, MAC_AT);
  return { ...datagram, data: changed };
}

/** What that release looks at, beside names and signature; it is strict. */
function isRead(data: Buffer): boolean {
  if (data.length !== BYTES || data.readUInt32BE(0) !== MAGIC || data[4] !== 2) return false;
  const interval = data.readUInt16BE(10);
  const sound =
    (data[5]! & ~0x3f) === 0 &&
    data[6]! <= 3 &&
    data[7]! <= 254 &&
    interval >= 10 &&
    interval <= 60_000 &&
    data.readUIntBE(66, 6) > 0 &&
    data.readBigUInt64BE(40) !== 0n &&
    data[9] === 0 &&
    data.readUInt16BE(64) === 0 &&
    data.readUIntBE(114, 6) === 0;
  if (!sound) throw new Error('a heartbeat of version 2 that the former release calls malformed');
  return true;
}
