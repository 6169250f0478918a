import { createHash } from 'node:crypto';

/**
 * How frontends of this lbd call themselves where they pass requests on (RFC 8586): one name for both nodes of a pair,
 * and one that nobody else has.
 *
 * @param hashKey see `SessionKey`; it cannot be told from the name
 */
export function loopId(hashKey: Uint32Array): string {
  const bytes = Buffer.from(hashKey.buffer, hashKey.byteOffset, hashKey.byteLength);
  return `lbd-${createHash('sha256').update('loop id').update(bytes).digest('hex').slice(0, 16)}`;
}
