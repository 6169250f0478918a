import { join } from 'node:path';

/** What clients can connect to. */
export type Listener = 'http' | 'https' | 'tcp' | 'h2' | 'h2c' | 'h2-h2';

/** What a proxy is set up to do; the same for all that are compared. */
export interface Setup {
  readonly listeners: readonly Listener[];
  /**
   * HTTP with what production has switched on: 20 routes of which the last one matches, an inserted cookie, health
   * checks, metrics. Else one pool and nothing more.
   */
  readonly features: boolean;
  readonly workers: number;
}

/** Where a proxy lives. */
export interface Place {
  readonly directory: string;
  /** PEM file with certificate and key. */
  readonly certificate: string;
  readonly originPort: number;
  readonly ports: Readonly<Record<Listener | 'metrics', number>>;
}

/** Below the ephemeral ports, so that no client of a benchmark takes one. */
const FIRST_PORT = 18_200;

export const ORIGIN_PORT = FIRST_PORT;
/** Of the same origin, by HTTP/2 in the clear. */
export const HTTP2_ORIGIN_PORT = FIRST_PORT + 1;

/** @param index of the proxy among those that run at the same time */
export function placeOf(directory: string, index: number): Place {
  const first = FIRST_PORT + 10 + index * 7;
  return {
    directory,
    certificate: join(directory, 'bench.pem'),
    originPort: ORIGIN_PORT,
    ports: {
      http: first,
      https: first + 1,
      tcp: first + 2,
      metrics: first + 3,
      h2: first + 4,
      h2c: first + 5,
      'h2-h2': first + 6,
    },
  };
}

/** Prefixes of the routes that do not match; the one that matches comes after them. */
export const OTHER_ROUTES: readonly string[] = Array.from({ length: 19 }, (_, i) => `/service-${i + 1}/`);
export const ROUTE = '/app/';
export const COOKIE = 'SERVERID';
/** Backends by name; each is the same origin. A client is stuck to the first one. */
export const BACKENDS = ['s1', 's2'] as const;

/** Bytes of a small response's body, where the cost of a request counts, and of large ones. */
export const SMALL_BYTES = 128;
export const LARGE_BYTES = 1 << 20;
export const SMALL_PATH = `${ROUTE}small`;
export const LARGE_PATH = `${ROUTE}large`;
export const UPLOAD_PATH = `${ROUTE}upload`;
export const WEBSOCKET_PATH = `${ROUTE}socket`;
/** All bodies are made of it, so that they can be checked. */
export const FILL = 'x';
