import { ADDRESS, BACKENDS, INTERFACE, NODES, PREFIX, VIP } from './hosts.ts';

/** Ports of the lab's origins (`origin.ts`). */
export const ORIGIN_PORT = 9000;
export const ECHO_PORT = 9001;
/** The pair's TCP frontend, which leads to the echo port of the origins. */
export const TCP_PORT = 5000;
export const MULTICAST_PORT = 7470;
export const UNICAST_PORT = 7471;
/** Of the heartbeats. */
export const GROUP = '239.255.84.1';
export const SYNC_PORT = 7472;
export const METRICS_PORT = 9600;

export interface PairConfigOptions {
  /** Milliseconds between two heartbeats; default 100. */
  readonly heartbeatMs?: number;
  /** More of `ha.paths`, each as in the list. */
  readonly paths?: readonly string[];
  /** Lines of `ha` that say what moves and who has it; default: one VIP, lb1 before lb2. */
  readonly moves?: string;
  /** Value of `ha.witness`. */
  readonly witness?: string;
  /** Value of `admin.metrics`. */
  readonly metrics?: string;
  /** Frontends and pools instead of the lab's own. */
  readonly services?: string;
}

const ONE_VIP = `
  vips:
    - { address: ${VIP}/${PREFIX}, interface: ${INTERFACE} }
  priority: { lb1: 150, lb2: 100 }`;

/** The lab's config: one pool for each kind of stick, all on the same three backends. */
export function pairConfig(options: PairConfigOptions = {}): string {
  return `cluster:
  name: lab
  secret_file: secret
  nodes: { ${NODES.map((node) => `${node}: { address: ${ADDRESS[node]} }`).join(', ')} }
ha:
  heartbeat: { interval: ${options.heartbeatMs ?? 100}ms, dead_after: 3 }
  paths:
    - { type: multicast, group: ${GROUP}, port: ${MULTICAST_PORT}, interface: ${INTERFACE} }
    - { type: unicast, port: ${UNICAST_PORT} }${(options.paths ?? []).map((path) => `\n    - ${path}`).join('')}${options.moves ?? ONE_VIP}${options.witness === undefined ? '' : `\n  witness: ${options.witness}`}
  preempt: false
sessions: { capacity: 65536 }
workers: 1
admin: { metrics: "${options.metrics ?? `127.0.0.1:${METRICS_PORT}`}" }
${options.services ?? LAB_SERVICES}`;
}

const HEALTH = '{ type: deep, path: /health, interval: 1s, timeout: 1s, fall: 3, rise: 2 }';

function backends(port: number): string {
  return `{ ${BACKENDS.map((name) => `${name}: { address: "${ADDRESS[name]}:${port}" }`).join(', ')} }`;
}

const LAB_SERVICES = `frontends:
  web:
    bind: ["*:80"]
    mode: http
    routes:
      - { match: { path: /app/ }, pool: app }
      - { match: { path: /src/ }, pool: src }
    pool: web
  echo: { bind: ["*:${TCP_PORT}"], mode: tcp, pool: echo }
pools:
  web:
    algorithm: round-robin
    stick: { cookie: SERVERID }
    health: ${HEALTH}
    backends: ${backends(ORIGIN_PORT)}
  app:
    algorithm: round-robin
    stick: { cookie: JSESSIONID, learn: true }
    health: ${HEALTH}
    backends: ${backends(ORIGIN_PORT)}
  src:
    algorithm: round-robin
    stick: { source: ip, expire: 30m }
    health: ${HEALTH}
    backends: ${backends(ORIGIN_PORT)}
  echo:
    algorithm: least-connections
    health: { type: tcp, interval: 1s, timeout: 1s }
    backends: ${backends(ECHO_PORT)}
`;
