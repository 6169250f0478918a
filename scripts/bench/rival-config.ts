import { ADDRESS, BACKENDS, INTERFACE, NODES, type NodeName, PREFIX, VIP } from '../lab/hosts.ts';
import { ECHO_PORT, ORIGIN_PORT, TCP_PORT } from '../lab/pair-config.ts';

/** Where the rival's two nodes exchange stick tables; as Tandem's `sync.port`. */
const PEERS_PORT = 7472;

/** Files of one node, as paths on the node. */
export interface RivalFiles {
  readonly keepalived: string;
  readonly haproxy: string;
  /** Pid of HAProxy, for keepalived's check. */
  readonly pid: string;
  /** HAProxy's own socket, where it tells about its peers. */
  readonly socket: string;
  /** What both say. */
  readonly log: string;
}

/**
 * keepalived as its manual recommends it for such a pair: VRRPv3 (intervals below a second), nopreempt as in the lab's
 * Tandem, and a check of the balancer every second, its shortest interval, of which one failure is enough.
 */
export function keepalivedConfig(node: NodeName, heartbeatMs: number, files: RivalFiles): string {
  return `global_defs {
  router_id ${node}
  script_user root
  enable_script_security
  vrrp_version 3
}
vrrp_script balancer {
  script "/usr/bin/pkill -0 -F ${files.pid}"
  interval 1
  fall 1
  rise 1
}
vrrp_instance vip {
  state BACKUP
  nopreempt
  interface ${INTERFACE}
  virtual_router_id 84
  priority ${node === 'lb1' ? 150 : 100}
  advert_int ${heartbeatMs / 1000}
  virtual_ipaddress {
    ${VIP}/${PREFIX} dev ${INTERFACE}
  }
  track_script {
    balancer
  }
}
`;
}

/** HAProxy with the frontends, pools and ways to stick of the lab's Tandem (`pair-config.ts`). */
export function haproxyConfig(files: RivalFiles): string {
  const servers = (port: number, extra: (name: string) => string) =>
    BACKENDS.map(
      (name) => `  server ${name} ${ADDRESS[name]}:${port} check inter 1s fall 3 rise 2${extra(name)}`,
    ).join('\n');
  const peers = NODES.map((node) => `  peer ${node} ${ADDRESS[node]}:${PEERS_PORT}`).join('\n');
  const plain = () => '';
  return `global
  nbthread 1
  maxconn 8000
  stats socket ${files.socket} mode 600
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  option forwardfor
peers pair
${peers}
frontend web
  bind *:80
  use_backend app if { path_beg /app/ }
  use_backend src if { path_beg /src/ }
  default_backend web
backend web
  balance roundrobin
  option httpchk GET /health
  cookie SERVERID insert indirect nocache
${servers(ORIGIN_PORT, (name) => ` cookie ${name}`)}
backend app
  balance roundrobin
  option httpchk GET /health
  stick-table type string len 64 size 65536 expire 30m peers pair
  stick store-response res.cook(JSESSIONID)
  stick match req.cook(JSESSIONID)
${servers(ORIGIN_PORT, plain)}
backend src
  balance roundrobin
  option httpchk GET /health
  stick-table type ip size 65536 expire 30m peers pair
  stick on src
${servers(ORIGIN_PORT, plain)}
listen echo
  bind *:${TCP_PORT}
  mode tcp
  balance leastconn
${servers(ECHO_PORT, plain)}
`;
}
