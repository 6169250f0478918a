/** A chunk of its own around body bytes (RFC 9112 §7.1). */
export function asChunk(buffer: Buffer, start: number, length: number): Buffer {
  const size = `${length.toString(16)}\r\n`;
  const chunk = Buffer.allocUnsafe(size.length + length + 2);
  chunk.latin1Write(size, 0);
  buffer.copy(chunk, size.length, start, start + length);
  chunk[size.length + length] = 13;
  chunk[size.length + length + 1] = 10;
  return chunk;
}

/** The chunk that ends a body, without trailers. */
export const LAST_CHUNK = '0\r\n\r\n';

/** @param trailers each with its CRLF */
export function lastChunk(trailers: string): string {
  return trailers === '' ? LAST_CHUNK : `0\r\n${trailers}\r\n`;
}

/** Bodies up to this size are sent as one string with the head: one system call instead of two. */
export const JOIN_BYTES = 8192;
