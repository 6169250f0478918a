import { hasTool } from '../../lab/missing.ts';
import type { Contender } from './contender.ts';
import { BACKENDS, COOKIE, HTTP2_ORIGIN_PORT, OTHER_ROUTES, type Place, ROUTE, type Setup } from './setup.ts';

export const haproxy: Contender = {
  name: 'haproxy',
  warmsUp: false,
  lacks: () => (hasTool('haproxy') ? undefined : 'haproxy is not installed'),
  config: (setup, place) => `global
  nbthread ${setup.workers}
  maxconn 8000
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout tunnel 300s
${setup.listeners.some((listener) => listener !== 'tcp') ? web(setup, place) : ''}${setup.listeners.includes('tcp') ? tcp(place) : ''}`,
  argv: (_setup, _place, file) => ['haproxy', '-db', '-q', '-f', file],
};

function web({ features, listeners }: Setup, place: Place): string {
  const binds = listeners.flatMap((listener) => {
    if (listener === 'http') return [`  bind 127.0.0.1:${place.ports.http}`];
    if (listener === 'h2c' || listener === 'h2-h2')
      return [`  bind 127.0.0.1:${place.ports[listener]} proto h2`];
    if (listener === 'h2') return [`  bind 127.0.0.1:${place.ports.h2} ssl crt ${place.certificate} alpn h2`];
    if (listener === 'https')
      return [`  bind 127.0.0.1:${place.ports.https} ssl crt ${place.certificate} alpn http/1.1`];
    return [];
  });
  const address = `127.0.0.1:${place.originPort}`;
  if (!features)
    return `frontend web
${binds.join('\n')}
  option forwardfor
  default_backend web
backend web
  balance roundrobin
  http-reuse always
  server s1 ${listeners.includes('h2-h2') ? `127.0.0.1:${HTTP2_ORIGIN_PORT} proto h2` : address}
`;
  const routes = [...OTHER_ROUTES, ROUTE].map((path) => `  use_backend web if { path_beg ${path} }`);
  const servers = BACKENDS.map((name) => `  server ${name} ${address} cookie ${name} check inter 1s`);
  return `frontend web
${binds.join('\n')}
  option forwardfor
${routes.join('\n')}
backend web
  balance roundrobin
  http-reuse always
  cookie ${COOKIE} insert indirect nocache httponly
  option httpchk GET ${ROUTE}small
${servers.join('\n')}
frontend metrics
  bind 127.0.0.1:${place.ports.metrics}
  http-request use-service prometheus-exporter
`;
}

function tcp(place: Place): string {
  return `listen tcp
  mode tcp
  bind 127.0.0.1:${place.ports.tcp}
  balance roundrobin
  server s1 127.0.0.1:${place.originPort}
`;
}
