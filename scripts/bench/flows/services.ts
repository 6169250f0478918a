import { ADDRESS, BACKENDS } from '../../lab/hosts.ts';

/** Ports of the VIP and of the backends alike. */
export const PORTS = { echo: 5000, download: 5001, datagrams: 5002, redis: 6379, postgres: 5432 } as const;
export type ServiceName = keyof typeof PORTS;

/** PostgreSQL has one server, so that a session has one place only. */
const POSTGRES_HOSTS = ['s1'] as const;

/** A random backend, so that only a flow that was synced leads to the same one on the other node. */
export function flowServices(names: readonly ServiceName[]): string {
  const frontends = names.map((name) => {
    const mode = name === 'datagrams' ? 'udp' : 'tcp';
    return `  ${name}: { bind: ["*:${PORTS[name]}"], mode: ${mode}, engine: kernel, pool: ${name} }`;
  });
  const pools = names.map((name) => {
    const health =
      name === 'datagrams' ? '{ type: none }' : '{ type: tcp, interval: 1s, timeout: 1s, fall: 3 }';
    const hosts = name === 'postgres' ? POSTGRES_HOSTS : BACKENDS;
    const backends = hosts.map((host) => `${host}: { address: "${ADDRESS[host]}:${PORTS[name]}" }`);
    return `  ${name}: { algorithm: random, health: ${health}, backends: { ${backends.join(', ')} } }`;
  });
  return ['frontends:', ...frontends, 'pools:', ...pools, ''].join('\n');
}
