import { endianness } from 'node:os';
import { type FilterProgram, FROM_IP } from '../../common/socket-filter.ts';

/** A packet as a filter sees it. */
export interface Packet {
  /** From the header of UDP or TCP on. */
  readonly data: Buffer;
  /** The header of IP. */
  readonly ip?: Buffer;
}

const INSTRUCTION_BYTES = 8;
const RANDOM_AT = 0xfffff038;
const FROM_IP_AT = FROM_IP >>> 0;

/**
 * Carries out a program as the kernel does, for tests that must not depend on chance.
 *
 * @param random what the kernel would draw
 * @returns whether the packet reaches the socket
 */
export function runFilter(program: FilterProgram, { data, ip }: Packet, random = 1): boolean {
  const little = endianness() === 'LE';
  let loaded = 0;
  for (let at = 0; at < program.length; at += INSTRUCTION_BYTES) {
    const code = little ? program.readUInt16LE(at) : program.readUInt16BE(at);
    const value = little ? program.readUInt32LE(at + 4) : program.readUInt32BE(at + 4);
    const jump = (holds: boolean) => {
      at += program[at + (holds ? 2 : 3)]! * INSTRUCTION_BYTES;
    };
    if (code === 0x06) return value > 0;
    if (code === 0x80) loaded = data.length;
    else if (code === 0x54) loaded = (loaded & value) >>> 0;
    else if (code === 0x05) at += value * INSTRUCTION_BYTES;
    else if (code === 0x15) jump(loaded === value);
    else if (code === 0x25) jump(loaded > value);
    else if (value === RANDOM_AT) loaded = random;
    else {
      const isIp = value >= FROM_IP_AT && value < RANDOM_AT;
      const [bytes, place] = isIp ? [ip, value - FROM_IP_AT] : [data, value];
      const size = code === 0x30 ? 1 : 4;
      // A load beyond the end drops the packet.
      if (bytes === undefined || place + size > bytes.length) return false;
      loaded = bytes.readUIntBE(place, size);
    }
  }
  throw new Error('a filter without an end');
}
