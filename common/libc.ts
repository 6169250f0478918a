import type * as Ffi from 'node:ffi';
import { constants } from 'node:os';
import { getSystemErrorMessage } from 'node:util';
import { OperatorError } from './errors.ts';

/** Flags and types of sockets, the same on x86-64 and arm64. */
export const SOCK = { datagram: 2, raw: 3, nonBlocking: 0o4000, closeOnExec: 0o2000000 } as const;
export const SOL_SOCKET = 1;
/** Options of SOL_SOCKET. */
export const SO = {
  rcvbuf: 8,
  rcvbufForce: 33,
  attachFilter: 26,
  detachFilter: 27,
  bindToInterface: 62,
  namespaceCookie: 71,
} as const;
/** Flags of a message. */
export const MSG = { truncated: 0x20, dontWait: 0x40, noSignal: 0x4000, closeOnExec: 0x40000000 } as const;

const FUNCTIONS = {
  socket: { return: 'i32', arguments: ['i32', 'i32', 'i32'] },
  bind: { return: 'i32', arguments: ['i32', 'buffer', 'u32'] },
  connect: { return: 'i32', arguments: ['i32', 'buffer', 'u32'] },
  setsockopt: { return: 'i32', arguments: ['i32', 'i32', 'i32', 'buffer', 'u32'] },
  getsockopt: { return: 'i32', arguments: ['i32', 'i32', 'i32', 'buffer', 'buffer'] },
  /** The last one is a time-out, which is of no use here: 0n. */
  recvmmsg: { return: 'i32', arguments: ['i32', 'buffer', 'u32', 'i32', 'pointer'] },
  send: { return: 'i64', arguments: ['i32', 'buffer', 'u64', 'i32'] },
  /** Of fewer than 2^31 bytes. */
  sendmsg: { return: 'i32', arguments: ['i32', 'pointer', 'i32'] },
  /** Of fewer than 2^31 bytes. */
  recvmsg: { return: 'i32', arguments: ['i32', 'pointer', 'i32'] },
  /** Of fewer than 2^31 bytes. */
  readv: { return: 'i32', arguments: ['i32', 'pointer', 'i32'] },
  epoll_create1: { return: 'i32', arguments: ['i32'] },
  epoll_ctl: { return: 'i32', arguments: ['i32', 'i32', 'i32', 'pointer'] },
  epoll_wait: { return: 'i32', arguments: ['i32', 'pointer', 'i32', 'i32'] },
  mmap: { return: 'pointer', arguments: ['pointer', 'u64', 'i32', 'i32', 'i32', 'i64'] },
  munmap: { return: 'i32', arguments: ['pointer', 'u64'] },
  /** For calls that have no function of their own; with the types of io_uring_setup(2) and io_uring_enter(2). */
  syscall: { return: 'i32', arguments: ['i64', 'u32', 'u64', 'u32', 'u32', 'pointer', 'u64'] },
  close: { return: 'i32', arguments: ['i32'] },
  capget: { return: 'i32', arguments: ['buffer', 'buffer'] },
  capset: { return: 'i32', arguments: ['buffer', 'buffer'] },
} as const;

/** Functions of the C library that Node has no API of its own for; each as its manual page says, -1 for a failure. */
export type Libc = Ffi.WrappedFunctionsFromDefinitions<typeof FUNCTIONS> & {
  /** Of the call that failed just now. */
  errno(): number;
  /** Address of the first byte; the buffer must live as long as somebody uses it. */
  addressOf(buffer: Buffer): bigint;
  /** Memory that is not the runtime's, such as the kernel's; it must stay mapped as long as somebody uses it. */
  memoryAt(address: bigint, bytes: number): ArrayBuffer;
};

let loaded: Libc | undefined;

/**
 * The C library of this process, by `node:ffi`. That is experimental, but part of the one runtime that the project pins.
 *
 * @throws OperatorError where the runtime has no such thing
 */
export function libc(): Libc {
  loaded ??= load();
  return loaded;
}

/** An error number in words, such as `operation not permitted (EPERM)`. */
export function errorText(errno: number): string {
  const name = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0];
  return name === undefined ? `error ${errno}` : `${getSystemErrorMessage(-errno)} (${name})`;
}

function load(): Libc {
  const ffi = silently(() => process.getBuiltinModule('node:ffi'));
  if (ffi === undefined)
    throw new OperatorError(
      'RUNTIME',
      `node:ffi is missing: expected Node 26.1 or newer, found ${process.version}`,
    );
  const { functions } = ffi.dlopen(null, {
    ...FUNCTIONS,
    __errno_location: { return: 'pointer', arguments: [] },
  });
  const { __errno_location: location } = functions;
  return {
    ...functions,
    errno: () => ffi.getInt32(location()),
    addressOf: (buffer) => ffi.getRawPointer(buffer),
    memoryAt: (address, bytes) => ffi.toArrayBuffer(address, bytes, false),
  };
}

/** Node warns of the experimental module on stderr, in a form that no log has. */
function silently<T>(work: () => T): T {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return work();
  } finally {
    process.emitWarning = emitWarning;
  }
}
