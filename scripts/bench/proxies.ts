import { join } from 'node:path';
import { NODE, ROOT } from '../lab/lab.ts';

/** A proxy to compare: one worker, kept-alive connections on both sides, no logs. */
export interface Contender {
  readonly name: string;
  /** Program that must be there. */
  readonly tool: string;
  readonly port: number;
  /** Config file's text. */
  config(directory: string): string;
  /** @param file path of the config */
  argv(file: string, directory: string): string[];
}

/** The origin: nginx, so that it costs little beside the load generator. */
export const ORIGIN_PORT = 18080;
/** A body with which the whole response has about 128 bytes of content, as in DESIGN.md. */
const BODY = 'x'.repeat(128);

export const ORIGIN: Contender = {
  name: 'origin',
  tool: 'nginx',
  port: ORIGIN_PORT,
  config: (directory) => `${nginxMain(directory)}
http {
  access_log off;
  keepalive_requests 10000000;
  ${nginxTemporary(directory)}
  server {
    listen 127.0.0.1:${ORIGIN_PORT} backlog=4096;
    location / { default_type text/plain; return 200 "${BODY}"; }
  }
}
`,
  argv: (file, directory) => ['nginx', '-e', 'stderr', '-p', directory, '-c', file],
};

export const PROXIES: readonly Contender[] = [
  {
    name: 'lbd',
    tool: NODE,
    port: 18081,
    config: () => `workers: 1
sessions: { capacity: 1024 }
frontends:
  web: { bind: ["127.0.0.1:18081"], mode: http, pool: web }
pools:
  web:
    algorithm: round-robin
    health: { type: none }
    backends: { origin: { address: "127.0.0.1:${ORIGIN_PORT}" } }
admin: { metrics: false }
`,
    argv: (file, directory) => [NODE, join(ROOT, 'lbd/main.ts'), '--config', file, '--run-dir', directory],
  },
  {
    name: 'haproxy',
    tool: 'haproxy',
    port: 18082,
    config: () => `global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  http-reuse always
  option forwardfor
frontend web
  bind 127.0.0.1:18082
  default_backend web
backend web
  balance roundrobin
  server origin 127.0.0.1:${ORIGIN_PORT}
`,
    argv: (file) => ['haproxy', '-db', '-q', '-f', file],
  },
  {
    name: 'nginx',
    tool: 'nginx',
    port: 18083,
    config: (directory) => `${nginxMain(directory)}
http {
  access_log off;
  keepalive_requests 10000000;
  ${nginxTemporary(directory)}
  upstream web { server 127.0.0.1:${ORIGIN_PORT}; keepalive 100; keepalive_requests 10000000; }
  server {
    listen 127.0.0.1:18083 backlog=4096;
    location / {
      proxy_pass http://web;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
    }
  }
}
`,
    argv: (file, directory) => ['nginx', '-e', 'stderr', '-p', directory, '-c', file],
  },
];

export function nginxMain(directory: string): string {
  return `daemon off;
worker_processes 1;
pid ${directory}/nginx.pid;
error_log stderr crit;
events { worker_connections 8000; }`;
}

/** Below the bench's own directory: the built-in places may not be writable. */
export function nginxTemporary(directory: string): string {
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return kinds.map((kind) => `${kind}_temp_path ${directory}/${kind};`).join(' ');
}
