import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Test } from 'tap';
import type { HealthConfig } from '../../../../common/model.ts';
import type { BackendTarget, HealthTarget } from '../../../../lbd/control/health/probe.ts';

export interface RawServer {
  readonly port: number;
  readonly server: Server;
  /** Connections so far. */
  readonly connections: () => number;
  /** Stops listening and cuts what is open. */
  close(): Promise<void>;
}

/** A TCP server on loopback, closed with the test. */
export async function serve(t: Test, onSocket: (socket: Socket) => void, port = 0): Promise<RawServer> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  t.teardown(close);
  return { port: (server.address() as AddressInfo).port, server, connections: () => connections, close };
}

/** Answers every request with these bytes and leaves the connection open. */
export function answer(text: string | (() => string)): (socket: Socket) => void {
  return (socket) => {
    socket.on('data', () => socket.write(typeof text === 'string' ? text : text()));
  };
}

/** An HTTP answer with its length. */
export function http(status: string, body = '', fields = ''): string {
  return `HTTP/1.1 ${status}\r\n${fields}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/** For one check as well as for a monitor. */
export function target(
  port: number,
  config: Partial<HealthConfig> = {},
  id = 'web/s1',
): HealthTarget & BackendTarget {
  return {
    id,
    host: '127.0.0.1',
    address: '127.0.0.1',
    addresses: ['127.0.0.1'],
    port,
    config: {
      type: 'http',
      intervalMs: 10,
      timeoutMs: 5000,
      fall: 3,
      rise: 2,
      path: '/health',
      method: 'GET',
      host: undefined,
      expect: config.type === 'deep' ? [[200, 299]] : [[200, 399]],
      port: undefined,
      send: '',
      receive: '',
      ...config,
    },
  };
}
