import type { Server, Socket } from 'node:net';
import { constants } from 'node:os';
import { OperatorError } from './errors.ts';
import { errorText, libc, MSG, SOL_SOCKET } from './libc.ts';

/** `struct msghdr` and the places in it, `struct iovec` and `struct cmsghdr`; of 64-bit systems. */
const MSGHDR = { bytes: 56, iov: 16, iovCount: 24, control: 32, controlBytes: 40, flags: 48 } as const;
const IOVEC_BYTES = 16;
const CMSGHDR = { bytes: 16, level: 8, type: 12 } as const;
const SCM_RIGHTS = 1;
const DESCRIPTOR_BYTES = 4;
/** With what aligns it. */
const CONTROL_BYTES = 24;

type WithHandle = { readonly _handle?: { readonly fd?: number } | null };

/** File descriptor of an open socket; -1 where it is not to be had: Node has no API for it. */
export function descriptorOf(socket: Socket | Server): number {
  return (socket as unknown as WithHandle)._handle?.fd ?? -1;
}

/**
 * Sends a descriptor, and one byte, over a unix socket on which nothing waits to be written (SCM_RIGHTS, unix(7)). Both
 * sides have it then.
 *
 * @param socket its descriptor
 * @throws OperatorError
 */
export function sendDescriptor(socket: number, descriptor: number): void {
  const message = newMessage(CONTROL_BYTES);
  message.control.writeBigUInt64LE(BigInt(CMSGHDR.bytes + DESCRIPTOR_BYTES));
  message.control.writeInt32LE(SOL_SOCKET, CMSGHDR.level);
  message.control.writeInt32LE(SCM_RIGHTS, CMSGHDR.type);
  message.control.writeInt32LE(descriptor, CMSGHDR.bytes);
  const { sendmsg, addressOf, errno } = libc();
  const sent = sendmsg(socket, addressOf(message.head), MSG.dontWait | MSG.noSignal);
  if (sent !== 1) throw failed('sendmsg', sent < 0 ? errno() : 0);
}

/**
 * Takes a descriptor that was sent, and its byte, from a unix socket that Node does not read yet. It never waits.
 *
 * @param socket its descriptor
 * @returns the descriptor, which is the caller's to close
 * @throws OperatorError where none is there
 */
export function receiveDescriptor(socket: number): number {
  const descriptor = takeDescriptor(socket);
  if (descriptor === undefined) throw failed('recvmsg', constants.errno.EAGAIN);
  return descriptor;
}

/**
 * The same where it may not have come yet.
 *
 * @returns undefined: nothing has come
 * @throws OperatorError where something else came, or the other end closed the connection
 */
export function takeDescriptor(socket: number): number | undefined {
  // Room for one: the kernel closes others that a sender adds, which nobody here would.
  const message = newMessage(CMSGHDR.bytes + DESCRIPTOR_BYTES);
  const { recvmsg, addressOf, errno } = libc();
  const received = recvmsg(socket, addressOf(message.head), MSG.dontWait | MSG.closeOnExec);
  const code = received < 0 ? errno() : 0;
  if (code === constants.errno.EAGAIN) return undefined;
  if (received < 0) throw failed('recvmsg', code);
  const { control } = message;
  const isOne =
    received === 1 &&
    message.head.readBigUInt64LE(MSGHDR.controlBytes) >= BigInt(CMSGHDR.bytes + DESCRIPTOR_BYTES) &&
    control.readBigUInt64LE() === BigInt(CMSGHDR.bytes + DESCRIPTOR_BYTES) &&
    control.readInt32LE(CMSGHDR.level) === SOL_SOCKET &&
    control.readInt32LE(CMSGHDR.type) === SCM_RIGHTS;
  if (!isOne) throw new OperatorError('DESCRIPTOR', 'no descriptor came over the socket');
  return control.readInt32LE(CMSGHDR.bytes);
}

/** A message of one byte with room for one descriptor. What it points to lives as long as it. */
function newMessage(controlBytes: number): {
  readonly head: Buffer;
  readonly control: Buffer;
  readonly parts: readonly Buffer[];
} {
  const { addressOf } = libc();
  // Memory of its own, which does not move.
  const [head, vector, control, byte] = [MSGHDR.bytes, IOVEC_BYTES, CONTROL_BYTES, 1].map((bytes) =>
    Buffer.allocUnsafeSlow(bytes).fill(0),
  ) as [Buffer, Buffer, Buffer, Buffer];
  vector.writeBigUInt64LE(addressOf(byte));
  vector.writeBigUInt64LE(1n, 8);
  head.writeBigUInt64LE(addressOf(vector), MSGHDR.iov);
  head.writeBigUInt64LE(1n, MSGHDR.iovCount);
  head.writeBigUInt64LE(addressOf(control), MSGHDR.control);
  head.writeBigUInt64LE(BigInt(controlBytes), MSGHDR.controlBytes);
  return { head, control, parts: [vector, byte] };
}

function failed(call: string, errno: number): OperatorError {
  return new OperatorError('DESCRIPTOR', `a descriptor could not be passed: ${call}: ${errorText(errno)}`);
}
