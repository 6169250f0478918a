import { join } from 'node:path';
import { NODE } from '../../lab/lab.ts';
import { main, temporary } from './nginx.ts';
import { STATUS_PATH } from './origin-status.ts';
import { FILL, HTTP2_ORIGIN_PORT, LARGE_BYTES, LARGE_PATH, ORIGIN_PORT, SMALL_BYTES } from './setup.ts';

/** What answers behind the proxies: nginx, which costs little beside the load, or Node where nginx cannot. */
export type OriginName = 'nginx' | 'node';

/** @returns name and text of the files that nginx needs as an origin */
export function nginxOriginFiles(directory: string): Record<string, string> {
  return {
    config: `${main(directory, 1)}
http {
  access_log off;
  keepalive_requests 10000000;
  sendfile on;
  ${temporary(directory)}
  server {
    listen 127.0.0.1:${ORIGIN_PORT} backlog=4096;
    listen 127.0.0.1:${HTTP2_ORIGIN_PORT} http2 backlog=4096;
    default_type text/plain;
    location / { return 200 "${FILL.repeat(SMALL_BYTES)}"; }
    location = ${STATUS_PATH} { stub_status; }
    location = ${LARGE_PATH} { alias ${join(directory, 'large')}; open_file_cache max=10; }
  }
}
`,
    large: FILL.repeat(LARGE_BYTES),
  };
}

export function originArgv(name: OriginName, directory: string): string[] {
  return name === 'nginx'
    ? ['nginx', '-e', 'stderr', '-p', directory, '-c', join(directory, 'config')]
    : [NODE, join(import.meta.dirname, 'node-origin.ts')];
}
