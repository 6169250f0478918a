import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SHARED } from '../../lab/holder.ts';
import { ADDRESS, BACKENDS, type Host, INTERFACE, NODES, PREFIX, VIP } from '../../lab/hosts.ts';
import { type Lab, NODE, ROOT } from '../../lab/lab.ts';
import { hasTool } from '../../lab/missing.ts';
import { FILL, LARGE_BYTES, SMALL_BYTES } from '../data/setup.ts';

export const ORIGIN_PORT = 8000;
export const SMALL_PATH = '/small';
export const LARGE_PATH = '/large';
/** Debian has it in a package of its own, libnginx-mod-stream. */
const STREAM_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';

export const CONTENDERS = ['kernel', 'user', 'haproxy', 'haproxy-firewall', 'nginx', 'direct'] as const;
export type Contender = (typeof CONTENDERS)[number];

/** Balancers have a core each, as they do by default where a machine has two. */
const THREADS = 2;

/**
 * Where each one runs. Only the kernel engine needs connection tracking, which would cost the others where it is on; so it
 * has a host of its own. `haproxy-firewall` is the same HAProxy while its host has a stateful firewall, and so has tracking.
 */
const PLACES: Readonly<Record<Contender, { readonly host: Host; readonly port: number }>> = {
  kernel: { host: 'lb1', port: 5000 },
  user: { host: 'lb2', port: 5001 },
  haproxy: { host: 'lb2', port: 5002 },
  'haproxy-firewall': { host: 'lb2', port: 5002 },
  nginx: { host: 'lb2', port: 5003 },
  direct: { host: 's1', port: ORIGIN_PORT },
};

/** What clients ask for a path of an origin. */
export function urlOf(contender: Contender, path: string): string {
  const { host, port } = PLACES[contender];
  return `http://${ADDRESS[host]}:${port}${path}`;
}

/** @returns what this machine lacks to run it, or undefined */
export function lacks(contender: Contender): string | undefined {
  if (contender.startsWith('haproxy') && !hasTool('haproxy')) return 'haproxy is not installed';
  if (contender === 'nginx' && !existsSync(STREAM_MODULE)) return 'libnginx-mod-stream is not installed';
  return undefined;
}

/** The origins: nginx on each backend, with kept-alive connections and a body of each size. */
export function startNginxOrigins(lab: Lab): void {
  for (const host of BACKENDS) {
    const directory = makeDirectory(lab, host);
    writeFileSync(lab.outside(join(directory, 'large')), FILL.repeat(LARGE_BYTES));
    // nginx, started by root, reads what it serves as another user.
    chmodSync(lab.outside(directory), 0o755);
    chmodSync(lab.outside(join(directory, 'large')), 0o644);
    run(
      lab,
      host,
      directory,
      `${nginxMain(directory, THREADS)}
http {
  access_log off;
  keepalive_requests 10000000;
  sendfile on;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((it) => `${it}_temp_path ${directory}/${it};`).join(' ')}
  server {
    listen ${ADDRESS[host]}:${ORIGIN_PORT} backlog=4096 reuseport;
    default_type text/plain;
    location = ${SMALL_PATH} { return 200 "${FILL.repeat(SMALL_BYTES)}"; }
    location = ${LARGE_PATH} { alias ${directory}/large; open_file_cache max=10; }
  }
}
`,
      (file) => ['nginx', '-e', 'stderr', '-p', directory, '-c', file],
    );
  }
}

/** A balancer that runs. */
export interface Running {
  readonly pid: number;
  /** As this process reaches it. */
  readonly configFile: string;
}

/** @returns undefined for `direct`, where there is nothing to start */
export function startContender(
  lab: Lab,
  contender: Exclude<Contender, 'haproxy-firewall'>,
): Running | undefined {
  const { host, port } = PLACES[contender];
  if (contender === 'direct') return undefined;
  const directory = makeDirectory(lab, contender);
  const config = { kernel: lbd, user: lbd, haproxy, nginx }[contender](contender, port, directory);
  return run(lab, host, directory, config, (file) => {
    if (contender === 'haproxy') return ['haproxy', '-db', '-q', '-f', file];
    if (contender === 'nginx') return ['nginx', '-e', 'stderr', '-p', directory, '-c', file];
    return [NODE, join(ROOT, 'lbd/main.ts'), '--config', file, '--run-dir', directory];
  });
}

/** One frontend on the three origins. */
function lbd(engine: string, port: number): string {
  const backends = BACKENDS.map((it) => `${it}: { address: "${ADDRESS[it]}:${ORIGIN_PORT}" }`).join(', ');
  return `workers: ${THREADS}
frontends:
  tcp: { bind: ["*:${port}"], mode: tcp, engine: ${engine}, pool: tcp }
pools:
  tcp: { algorithm: round-robin, health: { type: tcp, interval: 1s }, backends: { ${backends} } }
admin: { metrics: false }
`;
}

/** The settings that docs/kernel-engine.md asks for. */
export async function setForwarding(lab: Lab, host: Host): Promise<void> {
  await lab.exec(host, ['tee', '/proc/sys/net/ipv4/ip_forward'], '1');
  for (const where of ['all', INTERFACE])
    await lab.exec(host, ['tee', `/proc/sys/net/ipv4/conf/${where}/send_redirects`], '0');
}

/** What any firewall begins with. */
const FIREWALL = `table inet firewall {
  chain input {
    type filter hook input priority filter; policy accept;
    ct state established,related accept
    ct state invalid drop
  }
}
`;

/** Does something with a load while the contender's host is as it has to be. */
export async function onItsHost<T>(lab: Lab, contender: Contender, work: () => Promise<T>): Promise<T> {
  if (contender !== 'haproxy-firewall') return await work();
  const { host } = PLACES[contender];
  await lab.exec(host, ['nft', '-f', '-'], FIREWALL);
  try {
    return await work();
  } finally {
    await lab.exec(host, ['nft', 'delete', 'table', 'inet', 'firewall']);
  }
}

/** A node of a pair that has the VIP and serves it alone, and where its clients find it. */
export const VIP_NODE = 'lb2';
const VIP_PORT = 5010;
export const VIP_URL = `http://${VIP}:${VIP_PORT}${SMALL_PATH}`;

/** In a pair backends see the VIP from the kernel engine, the node's own address from lbd. */
export function vipConfig(engine: 'kernel' | 'user'): string {
  const nodes = NODES.map((node) => `${node}: { address: ${ADDRESS[node]} }`).join(', ');
  return `cluster: { name: lab, secret_file: secret, nodes: { ${nodes} } }
ha: { vips: [{ address: ${VIP}/${PREFIX}, interface: ${INTERFACE} }] }
${lbd(engine, VIP_PORT)}`;
}

/** Starts it, without an agent, on a host where it can be the only one with frontends in the kernel. */
export async function startVipNode(lab: Lab): Promise<Running> {
  const directory = makeDirectory(lab, 'vip');
  writeFileSync(lab.outside(join(directory, 'secret')), randomBytes(48), { mode: 0o600 });
  await lab.exec(VIP_NODE, ['ip', 'addr', 'add', `${VIP}/${PREFIX}`, 'dev', INTERFACE]);
  await setForwarding(lab, VIP_NODE);
  return run(lab, VIP_NODE, directory, vipConfig('kernel'), (file) => [
    ...[NODE, join(ROOT, 'lbd/main.ts'), '--config', file, '--node', VIP_NODE, '--run-dir', directory],
  ]);
}

function haproxy(_name: string, port: number): string {
  const servers = BACKENDS.map((it) => `  server ${it} ${ADDRESS[it]}:${ORIGIN_PORT} check inter 1s`);
  return `global
  nbthread ${THREADS}
  maxconn 8000
defaults
  mode tcp
  timeout connect 5s
  timeout client 75s
  timeout server 60s
listen tcp
  bind *:${port}
  balance roundrobin
${servers.join('\n')}
`;
}

function nginx(_name: string, port: number, directory: string): string {
  const servers = BACKENDS.map((it) => `server ${ADDRESS[it]}:${ORIGIN_PORT};`).join(' ');
  return `load_module ${STREAM_MODULE};
${nginxMain(directory, THREADS)}
stream {
  upstream tcp { ${servers} }
  server { listen ${port} backlog=4096 reuseport; proxy_pass tcp; }
}
`;
}

function nginxMain(directory: string, workers: number): string {
  return `daemon off;
worker_processes ${workers};
pid ${directory}/nginx.pid;
error_log stderr crit;
events { worker_connections 8000; }`;
}

/** On the hosts. */
function makeDirectory(lab: Lab, name: string): string {
  const outside = mkdtempSync(lab.outside(join(SHARED, `${name}-`)));
  return outside.slice(lab.outside('').length);
}

function run(
  lab: Lab,
  host: Host,
  directory: string,
  config: string,
  argv: (file: string) => string[],
): Running {
  const file = join(directory, 'config');
  const configFile = lab.outside(file);
  writeFileSync(configFile, config);
  const child = lab.spawn(host, argv(file), { stdio: ['ignore', 'ignore', 'inherit'] });
  return { pid: child.pid!, configFile };
}
