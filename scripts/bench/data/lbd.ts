import { join } from 'node:path';
import { NODE, ROOT } from '../../lab/lab.ts';
import type { Contender } from './contender.ts';
import {
  BACKENDS,
  COOKIE,
  HTTP2_ORIGIN_PORT,
  type Listener,
  OTHER_ROUTES,
  type Place,
  ROUTE,
  type Setup,
} from './setup.ts';

export const lbd: Contender = {
  name: 'lbd',
  warmsUp: true,
  lacks: () => undefined,
  config: (setup, place) => `workers: ${setup.workers}
frontends:
${setup.listeners.map((listener) => frontend(listener, setup, place)).join('')}pools:
${setup.listeners.includes('tcp') || !setup.features ? plainPool(setup, place) : ''}${setup.features ? featuredPool(place) : ''}admin: { metrics: ${setup.features ? `"127.0.0.1:${place.ports.metrics}"` : 'false'} }
`,
  argv: (_setup, place, file) => [
    ...[NODE, join(ROOT, 'lbd/main.ts'), '--config', file, '--run-dir', place.directory],
  ],
};

function frontend(listener: Listener, setup: Setup, place: Place): string {
  const bind = `bind: ["127.0.0.1:${place.ports[listener]}"]`;
  if (listener === 'tcp') return `  tcp: { ${bind}, mode: tcp, pool: plain }\n`;
  const { certificate } = place;
  const tls =
    listener === 'https' || listener === 'h2'
      ? `, tls: { certificates: [{ cert: ${certificate}, key: ${certificate} }] }`
      : listener === 'h2c' || listener === 'h2-h2'
        ? ', protocols: [h2]'
        : '';
  if (!setup.features) return `  ${listener}: { ${bind}, mode: http, pool: plain${tls} }\n`;
  const routes = [...OTHER_ROUTES, ROUTE].map((path) => `{ match: { path: ${path} }, pool: web }`);
  return `  ${listener}: { ${bind}, mode: http${tls}, routes: [${routes.join(', ')}] }\n`;
}

function plainPool({ listeners }: Setup, place: Place): string {
  const isHttp2 = listeners.includes('h2-h2');
  const backend = `{ address: "127.0.0.1:${isHttp2 ? HTTP2_ORIGIN_PORT : place.originPort}" }`;
  return `  plain: { ${isHttp2 ? 'protocol: h2, ' : ''}algorithm: round-robin, health: { type: none }, backends: { s1: ${backend} } }\n`;
}

function featuredPool(place: Place): string {
  const backends = BACKENDS.map((name) => `${name}: { address: "127.0.0.1:${place.originPort}" }`);
  return `  web:
    algorithm: round-robin
    stick: { cookie: ${COOKIE} }
    health: { type: http, path: ${ROUTE}small, interval: 1s }
    backends: { ${backends.join(', ')} }
`;
}
