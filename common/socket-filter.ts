import { endianness } from 'node:os';
import { errorText, libc, SO, SOL_SOCKET } from './libc.ts';

/**
 * A program of the classic BSD packet filter (McCanne and Jacobson 1993; Linux: networking/filter.rst) that the kernel runs for
 * each packet before it reaches a socket: what it drops wakes nobody and takes no room. It needs no capability.
 */
export type FilterProgram = Buffer;

/** Where a jump leads: a label, or the next line. */
type To = string | undefined;
/** `load` takes what the next lines look at; `label` names the line that follows. */
export type FilterLine =
  | { readonly label: string }
  | { readonly load: 'byte' | 'word'; readonly at: number }
  | { readonly load: 'length' | 'random' }
  | { readonly and: number }
  | { readonly is: number; readonly yes?: To; readonly no?: To }
  | { readonly above: number; readonly yes?: To; readonly no?: To }
  | { readonly goto: string }
  | 'take'
  | 'drop';

/** Added to an offset from the beginning of the IP header; others count from the header of UDP or TCP. */
export const FROM_IP = -0x100000;
/** `SKF_AD_OFF + SKF_AD_RANDOM` */
const RANDOM_AT = -0x1000 + 56;
const [LOAD_WORD, LOAD_BYTE, LOAD_LENGTH] = [0x20, 0x30, 0x80];
const [AND, JUMP, JUMP_EQUAL, JUMP_GREATER, RETURN] = [0x54, 0x05, 0x15, 0x25, 0x06];
const ALL = 0xffffffff;
const INSTRUCTION_BYTES = 8;
/** Jumps have 8 bits, but for the unconditional one. */
const MAX_JUMP = 255;
/** `struct sock_fprog` of 64-bit systems. */
const PROGRAM_BYTES = 16;
const ENOENT = 2;

/** @throws RangeError for a label that is not there, too far away, or there twice */
export function assemble(lines: readonly FilterLine[]): FilterProgram {
  const places = new Map<string, number>();
  const steps: Step[] = [];
  for (const line of lines) {
    if (typeof line === 'string' || !('label' in line)) {
      steps.push(line);
      continue;
    }
    if (places.has(line.label)) throw new RangeError(`"${line.label}" is in two places of a filter`);
    places.set(line.label, steps.length);
  }
  const out = Buffer.alloc(steps.length * INSTRUCTION_BYTES);
  for (const [i, step] of steps.entries()) {
    const jump = (to: To): number => {
      const place = to === undefined ? i + 1 : places.get(to);
      if (place === undefined || place <= i || place - i - 1 > MAX_JUMP)
        throw new RangeError(`no way to "${to}" in a filter`);
      return place - i - 1;
    };
    write(out, i * INSTRUCTION_BYTES, instruction(step, jump));
  }
  return out;
}

type Step = Exclude<FilterLine, { readonly label: string }>;
type Instruction = readonly [code: number, value: number, yes?: number, no?: number];

function instruction(line: Step, jump: (to: To) => number): Instruction {
  if (line === 'take') return [RETURN, ALL];
  if (line === 'drop') return [RETURN, 0];
  if ('at' in line) return [line.load === 'word' ? LOAD_WORD : LOAD_BYTE, line.at];
  if ('load' in line) return line.load === 'length' ? [LOAD_LENGTH, 0] : [LOAD_WORD, RANDOM_AT];
  if ('and' in line) return [AND, line.and];
  if ('goto' in line) return [JUMP, jump(line.goto)];
  const [code, value] = 'is' in line ? [JUMP_EQUAL, line.is] : [JUMP_GREATER, line.above];
  return [code, value, jump(line.yes), jump(line.no)];
}

function write(out: Buffer, at: number, [code, value, yes = 0, no = 0]: Instruction): void {
  if (endianness() === 'LE') {
    out.writeUInt16LE(code, at);
    out.writeUInt32LE(value >>> 0, at + 4);
  } else {
    out.writeUInt16BE(code, at);
    out.writeUInt32BE(value >>> 0, at + 4);
  }
  out[at + 2] = yes;
  out[at + 3] = no;
}

/**
 * Has the kernel ask a program about each packet for a socket, instead of any former one.
 *
 * @param fd of a UDP socket, or of a TCP socket that listens: each connection that it accepts later keeps the program
 * @param program undefined: all packets reach the socket again
 * @returns what went wrong; undefined: it is in force
 */
export function filterSocket(fd: number, program: FilterProgram | undefined): string | undefined {
  if (fd < 0) return 'the descriptor of the socket is not known';
  const { setsockopt, addressOf, errno } = libc();
  if (program === undefined) {
    const none = Buffer.alloc(4);
    const failed = setsockopt(fd, SOL_SOCKET, SO.detachFilter, none, none.length) < 0;
    // There was none.
    return failed && errno() !== ENOENT ? errorText(errno()) : undefined;
  }
  const whole = Buffer.alloc(PROGRAM_BYTES);
  whole.writeUInt16LE(program.length / INSTRUCTION_BYTES);
  whole.writeBigUInt64LE(addressOf(program), 8);
  return setsockopt(fd, SOL_SOCKET, SO.attachFilter, whole, whole.length) < 0
    ? errorText(errno())
    : undefined;
}
