import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { SocketAddress } from '../../common/address.ts';
import { messageOf } from '../../common/errors.ts';
import type { Config } from '../../common/model.ts';
import { addressText } from './care/backends.ts';
import { portHolder } from './port-holder.ts';

export interface NamedBind extends SocketAddress {
  /** Who listens, such as `frontend web`. */
  readonly what: string;
  readonly protocol: 'tcp' | 'udp';
}

/** Every address that a config listens on. */
export function bindsOf(config: Config): NamedBind[] {
  return config.frontends.flatMap((frontend) =>
    frontend.bind.map(({ host, port }) => ({
      what: `frontend ${frontend.name}`,
      protocol: frontend.mode === 'udp' ? ('udp' as const) : ('tcp' as const),
      host,
      port,
    })),
  );
}

/**
 * Tries each bind alone, without `reusePort`, and gives it back. The workers share their ports with whoever also
 * asks to share; this finds out that a port is taken before they start, in words.
 *
 * @returns one line for each bind that cannot be had
 */
export async function preflight(binds: readonly NamedBind[]): Promise<string[]> {
  const problems: string[] = [];
  for (const bind of binds) {
    const error = await (bind.protocol === 'udp' ? tryDatagrams(bind) : tryBind(bind));
    if (error !== undefined)
      problems.push(`${bind.what}: cannot listen on ${addressText(bind)}: ${await explain(error, bind)}`);
  }
  return problems;
}

function tryBind({ host, port }: SocketAddress): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', resolve);
    // Without a host Node takes every address, IPv6 and IPv4, or IPv4 alone where there is no IPv6.
    server.listen({ port, ...(host === '*' ? {} : { host }), backlog: 1 }, () =>
      server.close(() => resolve(undefined)),
    );
  });
}

/** A port of all addresses is tried as IPv4, which every host has. */
function tryDatagrams({ host, port }: SocketAddress): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    socket.once('error', (error) => {
      socket.close();
      resolve(error);
    });
    socket.bind({ port, ...(host === '*' ? {} : { address: host }), exclusive: true }, () =>
      socket.close(() => resolve(undefined)),
    );
  });
}

async function explain(error: NodeJS.ErrnoException, { host, port, protocol }: NamedBind): Promise<string> {
  switch (error.code) {
    case 'EADDRINUSE':
      if ((await portHolder(protocol, port)) === 'connection')
        return (
          `a connection that this machine has made holds the port (ss -${protocol === 'udp' ? 'u' : 't'}anp 'sport = :${port}' shows it); ` +
          'it is free a minute after that ends. Ports to listen on belong into net.ipv4.ip_local_reserved_ports'
        );
      return `another process listens there (ss -l${protocol === 'udp' ? 'u' : 't'}np 'sport = :${port}' shows it)`;
    case 'EACCES':
      return port < 1024
        ? 'no permission; ports below 1024 need root or CAP_NET_BIND_SERVICE'
        : `no permission (${messageOf(error)})`;
    case 'EADDRNOTAVAIL': {
      const family = host.includes(':') ? 'ipv6' : 'ipv4';
      return `this machine does not have the address; a VIP that moves needs sysctl net.${family}.ip_nonlocal_bind=1`;
    }
    default:
      return messageOf(error);
  }
}
