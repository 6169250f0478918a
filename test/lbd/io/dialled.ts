import { once } from 'node:events';
import net from 'node:net';
import type { Test } from 'tap';

/** A connection of this process to itself, until the test ends. */
export async function dialled<S extends net.Socket>(
  t: Test,
  connect: (port: number) => S,
  options: net.ServerOpts = {},
): Promise<{ socket: S; peer: net.Socket }> {
  const server = net.createServer(options).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as net.AddressInfo).port);
  const [[peer]] = (await Promise.all([once(server, 'connection'), once(socket, 'connect')])) as [
    [net.Socket],
    unknown,
  ];
  peer.on('error', () => {});
  t.teardown(() => {
    socket.destroy();
    peer.destroy();
    server.close();
  });
  return { socket, peer };
}
