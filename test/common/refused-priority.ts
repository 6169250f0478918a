import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { nodeCommand } from './node.ts';

/** Numbers of setpriority(2). */
const SETPRIORITY = { x64: 141, arm64: 140 } as const;
/** Operations of prctl(2). */
const [PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS] = [22n, 38n];
const SECCOMP_MODE_FILTER = 2n;
/** Of seccomp(2): fail with EPERM; go on. */
const [ERRNO_EPERM, ALLOW] = [0x0005_0001, 0x7fff_0000];
/** Load a word of `struct seccomp_data`, jump if equal, return a constant. */
const [LOAD_WORD, JUMP_IF_EQUAL, RETURN] = [0x20, 0x15, 0x06];

/** The command line of a Node that may not change priorities, like a service with `SystemCallFilter=~@resources`. */
export function refusedPriority(...args: readonly string[]): ReturnType<typeof nodeCommand> {
  return nodeCommand(fileURLToPath(import.meta.url), process.execPath, ...args);
}

function refusePriorities(): void {
  const ffi = process.getBuiltinModule('node:ffi');
  const { functions } = ffi.dlopen(null, {
    prctl: { return: 'i32', arguments: ['u64', 'u64', 'u64', 'u64', 'u64'] },
  });
  const program = Buffer.concat(
    [
      [LOAD_WORD, 0, 0, 0],
      [JUMP_IF_EQUAL, 0, 1, SETPRIORITY[process.arch as keyof typeof SETPRIORITY]],
      [RETURN, 0, 0, ERRNO_EPERM],
      [RETURN, 0, 0, ALLOW],
    ].map(([code = 0, yes = 0, no = 0, value = 0]) => {
      const line = Buffer.alloc(8);
      line.writeUInt16LE(code);
      line.writeUInt8(yes, 2);
      line.writeUInt8(no, 3);
      line.writeUInt32LE(value, 4);
      return line;
    }),
  );
  const lines = Buffer.allocUnsafeSlow(program.length);
  program.copy(lines);
  const head = Buffer.allocUnsafeSlow(16).fill(0);
  head.writeUInt16LE(lines.length / 8);
  head.writeBigUInt64LE(ffi.getRawPointer(lines), 8);
  assert.equal(functions.prctl(PR_SET_NO_NEW_PRIVS, 1n, 0n, 0n, 0n), 0);
  assert.equal(functions.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ffi.getRawPointer(head), 0n, 0n), 0);
}

if (import.meta.main) {
  refusePriorities();
  const [, , program = '', ...args] = process.argv;
  process.execve!(program, [program, ...args]);
}
