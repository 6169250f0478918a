import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { proxyHeader } from '../../../common/proxy-protocol.ts';
import type { HealthTarget } from './probe.ts';

/**
 * Connects to a backend that expects a PROXY header: it says that the connection is this proxy's own (v1 UNKNOWN, v2
 * LOCAL). With TLS, where the pool has it.
 *
 * @param version of the header
 */
export function connectProxied(
  { host, address, port, config, tls }: HealthTarget,
  version: 'v1' | 'v2',
): Socket {
  const socket = connect({ host: address, port: config.port ?? port });
  socket.write(proxyHeader(version, undefined));
  if (tls === undefined) return socket;
  const secure = connectTls({ socket, ...tls.optionsFor(host) });
  socket.on('error', (error) => secure.destroy(error));
  return secure;
}
