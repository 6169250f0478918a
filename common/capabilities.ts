import { readFileSync } from 'node:fs';
import { OperatorError } from './errors.ts';
import { errorText, libc } from './libc.ts';

/** Numbers of capabilities (capabilities(7)). */
export const CAPABILITY = { netBindService: 10, netAdmin: 12 } as const;

/** `_LINUX_CAPABILITY_VERSION_3` of capget(2), for which there are two words of each set. */
const VERSION = 0x20080522;
const [HEAD_BYTES, SETS_BYTES, WORDS] = [8, 12, 2] as const;
/** Places in `struct __user_cap_data_struct`, of which there is one for each word. */
const SET = { effective: 0, permitted: 4 } as const;

/** Whether this process may use a capability now. */
export function hasCapability(capability: number): boolean {
  const bits = effectiveCapabilities(readFileSync('/proc/self/status', 'latin1'));
  return ((bits >> BigInt(capability)) & 1n) === 1n;
}

/** A bit for each capability in effect. @param status as `/proc/PID/status` or `/proc/PID/task/TID/status` reads */
export function effectiveCapabilities(status: string): bigint {
  return BigInt(`0x${/^CapEff:\s+([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
}

/**
 * Drops all capabilities of the calling thread but one, which it keeps where it has it (capset(2)). Other threads of the
 * process keep theirs. Where there is nothing to drop no system call is made that a service may be forbidden.
 *
 * @throws OperatorError where the kernel refuses
 */
export function keepOnly(capability: number): void {
  const { capset, capget, errno } = libc();
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(VERSION);
  const sets = Buffer.alloc(WORDS * SETS_BYTES);
  if (capget(head, sets) < 0) throw refused(errno());
  const kept = [0, 1].map(
    (word) => (Math.floor(capability / 32) === word ? 1 << (capability % 32) : 0) >>> 0,
  );
  const has = kept.map((_, word) => sets.readUInt32LE(word * SETS_BYTES + SET.permitted));
  if (has.every((bits, word) => (bits & ~kept[word]!) === 0)) return;
  sets.fill(0);
  for (const [word, bits] of kept.entries())
    for (const set of [SET.effective, SET.permitted])
      sets.writeUInt32LE((bits & has[word]!) >>> 0, word * SETS_BYTES + set);
  if (capset(head, sets) < 0) throw refused(errno());
}

function refused(errno: number): OperatorError {
  return new OperatorError('CAPABILITIES', `its capabilities cannot be dropped: ${errorText(errno)}`);
}
