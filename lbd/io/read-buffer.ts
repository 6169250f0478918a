const READ_BYTES = 64 * 1024;

let shared: Buffer | undefined;

/**
 * The buffer that all sockets of this thread read into. Made at the first use, so that the main thread, which relays
 * nothing, does not hold one.
 */
export function readBuffer(): Buffer {
  shared ??= Buffer.allocUnsafeSlow(READ_BYTES);
  return shared;
}
