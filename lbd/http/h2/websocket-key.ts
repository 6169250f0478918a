import { createHash, randomBytes } from 'node:crypto';

/** RFC 6455 §1.3 */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** What a client of a WebSocket has to send over HTTP/1.1, and not over HTTP/2 (RFC 8441 §5). */
export function newKey(): string {
  return randomBytes(16).toString('base64');
}

/** Whether a backend has read the key, and so speaks WebSocket (RFC 6455 §4.2.2). */
export function acceptsKey(accept: string | undefined, key: string): boolean {
  return accept === createHash('sha1').update(`${key}${GUID}`).digest('base64');
}
