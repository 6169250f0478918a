import type net from 'node:net';
import { TLSSocket } from 'node:tls';

/**
 * Whether a socket encrypts what is written to it within that call, so that its bytes may be overwritten right after it:
 * nothing waits before it. What OpenSSL does not take at once, Node copies itself (`TLSWrap::DoWrite` in crypto_tls.cc).
 */
export function encryptsAtOnce(socket: net.Socket): boolean {
  return (
    socket instanceof TLSSocket &&
    socket.writable &&
    socket.writableLength === 0 &&
    socket.writableCorked === 0 &&
    !socket.connecting
  );
}
