import { readFileSync } from 'node:fs';
import { OperatorError } from './errors.ts';
import { errorText, libc } from './libc.ts';

/** Numbers of capabilities (capabilities(7)). */
export const CAPABILITY = { netBindService: 10, netAdmin: 12 } as const;

/** `_LINUX_CAPABILITY_VERSION_3` of capget(2), for which there are two words of each set. */
const VERSION = 0x20080522;
const [HEAD_BYTES, WORD_BYTES, SETS] = [8, 4, 3] as const;
const WORDS = 2;

/** Whether this process may use a capability now. */
export function hasCapability(capability: number): boolean {
  return (
    ((permittedOf(readFileSync('/proc/self/status', 'latin1'), 'CapEff') >> BigInt(capability)) & 1n) === 1n
  );
}

/** @param status as /proc/PID/status reads @param name of the line, such as `CapPrm` */
export function permittedOf(status: string, name: string): bigint {
  const hex = new RegExp(`^${name}:\\s+([0-9a-f]+)$`, 'm').exec(status)?.[1];
  return BigInt(`0x${hex ?? '0'}`);
}

/**
 * Drops all capabilities of the calling thread but one, which it keeps where it has it, and leaves none to programs that
 * the thread would start (capset(2)). Other threads of the process keep theirs.
 *
 * @throws OperatorError where the kernel refuses
 */
export function keepOnly(capability: number): void {
  const { capset, capget, errno } = libc();
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(VERSION);
  const sets = Buffer.alloc(SETS * WORDS * WORD_BYTES);
  if (capget(head, sets) < 0) throw refused(errno());
  const [effective, permitted, inheritable] = [0, WORD_BYTES, 2 * WORD_BYTES];
  const word = Math.floor(capability / 32) * SETS * WORD_BYTES;
  const kept = (sets.readUInt32LE(word + permitted) & (1 << (capability % 32))) >>> 0;
  sets.fill(0);
  sets.writeUInt32LE(kept, word + effective);
  sets.writeUInt32LE(kept, word + permitted);
  sets.writeUInt32LE(0, word + inheritable);
  if (capset(head, sets) < 0) throw refused(errno());
}

function refused(errno: number): OperatorError {
  return new OperatorError('CAPABILITIES', `its capabilities cannot be dropped: ${errorText(errno)}`);
}
