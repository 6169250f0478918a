import { existsSync } from 'node:fs';
import { hasTool } from '../../lab/missing.ts';
import type { Contender } from './contender.ts';
import { BACKENDS, COOKIE, type Listener, OTHER_ROUTES, type Place, ROUTE, type Setup } from './setup.ts';

/** Debian has it in a package of its own, libnginx-mod-stream. */
const STREAM_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';

/**
 * nginx has neither active health checks nor an inserted cookie without its commercial subscription: where these are
 * switched on, it hashes the cookie and has its status page.
 */
export const nginx: Contender = {
  name: 'nginx',
  warmsUp: false,
  lacks: ({ listeners }) => {
    if (!hasTool('nginx')) return 'nginx is not installed';
    if (listeners.includes('tcp') && !existsSync(STREAM_MODULE))
      return 'libnginx-mod-stream is not installed';
    return undefined;
  },
  config: (
    setup,
    place,
  ) => `${setup.listeners.includes('tcp') ? `load_module ${STREAM_MODULE};\n` : ''}${main(
    place.directory,
    setup.workers,
  )}
${setup.listeners.some((listener) => listener !== 'tcp') ? web(setup, place) : ''}${setup.listeners.includes('tcp') ? stream(place) : ''}`,
  argv: (_setup, place, file) => ['nginx', '-e', 'stderr', '-p', place.directory, '-c', file],
};

/** Top of every nginx config here. */
export function main(directory: string, workers: number): string {
  return `daemon off;
worker_processes ${workers};
pid ${directory}/nginx.pid;
error_log stderr crit;
events { worker_connections 8000; }`;
}

/** Below the bench's own directory: the built-in places may not be writable. */
export function temporary(directory: string): string {
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return kinds.map((kind) => `${kind}_temp_path ${directory}/${kind};`).join(' ');
}

/** What the directive `listen` says besides. */
const KINDS: Partial<Record<Listener, string>> = { https: ' ssl', h2: ' ssl http2', h2c: ' http2' };

function web({ features, listeners, workers }: Setup, place: Place): string {
  const reuse = workers > 1 ? ' reuseport' : '';
  const listen = listeners.flatMap((listener) => {
    if (listener === 'tcp') return [];
    const kind = KINDS[listener] ?? '';
    return [`    listen 127.0.0.1:${place.ports[listener]}${kind} backlog=4096${reuse};`];
  });
  const names = features ? BACKENDS : BACKENDS.slice(0, 1);
  const servers = names.map(() => `server 127.0.0.1:${place.originPort};`);
  const locations = features ? [...OTHER_ROUTES, ROUTE] : ['/'];
  // Bodies pass as they come, as they do in the others.
  return `http {
  access_log off;
  keepalive_requests 10000000;
  ${temporary(place.directory)}
  map $http_upgrade $connection_field { default upgrade; '' ''; }
  upstream web {
    ${features ? `hash $cookie_${COOKIE} consistent;` : ''}
    ${servers.join(' ')}
    keepalive 100;
    keepalive_requests 10000000;
  }
  server {
${listen.join('\n')}
    ${listeners.includes('https') || listeners.includes('h2') ? `ssl_certificate ${place.certificate}; ssl_certificate_key ${place.certificate}; ssl_protocols TLSv1.2 TLSv1.3;` : ''}
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection $connection_field;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
${locations.map((path) => `    location ${path} { proxy_pass http://web; }`).join('\n')}
    ${features ? 'location = /status { stub_status; }' : ''}
  }
}
`;
}

function stream(place: Place): string {
  return `stream {
  server { listen 127.0.0.1:${place.ports.tcp} backlog=4096; proxy_pass 127.0.0.1:${place.originPort}; }
}
`;
}
