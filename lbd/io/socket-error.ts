import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';

/**
 * What ends a TCP connection. The kernel tells each of them once, to whoever reads or writes first; after it, a read finds
 * an end, and a write EPIPE, as if the other side had ended in good order.
 */
const ENDINGS = new Set(
  (
    [
      ...['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ECONNREFUSED', 'ECONNABORTED'],
      ...['EHOSTUNREACH', 'ENETUNREACH', 'EPROTO'],
    ] as (keyof typeof constants.errno)[]
  ).map((name) => constants.errno[name]),
);

/** @param errno positive */
export function endsConnection(errno: number): boolean {
  return ENDINGS.has(errno);
}

/** As Node makes it. @param errno positive */
export function socketError(syscall: 'read' | 'write', errno: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`${syscall} ${code}`), { errno: -errno, code, syscall });
}
