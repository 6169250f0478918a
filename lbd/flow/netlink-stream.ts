/** A message of the kernel that cannot be one. */
export class NetlinkError extends Error {
  override readonly name = 'NetlinkError';
}

/** `struct nlmsghdr`: length, type, flags, sequence, port; in the byte order of the host. */
export const NETLINK_HEAD = 16;
/** The largest message of conntrack has some 600 bytes. */
const MAX_MESSAGE = 65536;

/** Called with a whole message at `at` of `bytes`, valid during the call only; `end` is after its last byte. */
export type OnNetlinkMessage = (bytes: Buffer, at: number, end: number) => void;

/** Puts netlink messages together from whatever pieces a pipe delivers. Holds at most one. */
export class NetlinkStream {
  readonly #rest = Buffer.alloc(MAX_MESSAGE);
  #filled = 0;

  /** @throws NetlinkError for an impossible length: the stream cannot be read on */
  push(chunk: Buffer, onMessage: OnNetlinkMessage): void {
    let at = 0;
    if (this.#filled > 0) {
      at = this.#fill(chunk, 0, NETLINK_HEAD);
      if (this.#filled < NETLINK_HEAD) return;
      const padded = paddedLength(this.#rest, 0);
      at = this.#fill(chunk, at, padded);
      if (this.#filled < padded) return;
      this.#filled = 0;
      onMessage(this.#rest, 0, this.#rest.readUInt32LE(0));
    }
    while (chunk.length - at >= NETLINK_HEAD) {
      const padded = paddedLength(chunk, at);
      if (chunk.length - at < padded) break;
      onMessage(chunk, at, at + chunk.readUInt32LE(at));
      at += padded;
    }
    this.#fill(chunk, at, MAX_MESSAGE);
  }

  /** @returns the place in the chunk after what was taken */
  #fill(chunk: Buffer, at: number, upTo: number): number {
    const count = Math.min(Math.max(upTo - this.#filled, 0), chunk.length - at);
    chunk.copy(this.#rest, this.#filled, at, at + count);
    this.#filled += count;
    return at + count;
  }
}

function paddedLength(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32LE(at);
  if (length < NETLINK_HEAD || length > MAX_MESSAGE - 4)
    throw new NetlinkError(
      `a netlink message of ${length} bytes, expected ${NETLINK_HEAD} to ${MAX_MESSAGE}`,
    );
  return (length + 3) & ~3;
}
