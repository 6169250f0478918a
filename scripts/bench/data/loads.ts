import { join } from 'node:path';
import { NODE } from '../../lab/lab.ts';
import type { Contender } from './contender.ts';
import { haproxy } from './haproxy.ts';
import { lbd } from './lbd.ts';
import type { LatencyName, LoadName } from './names.ts';
import { nginx } from './nginx.ts';
import { httpProxy3, nodeHttp, nodeNet } from './node-contenders.ts';
import type { OriginName } from './origin.ts';
import {
  BACKENDS,
  COOKIE,
  LARGE_BYTES,
  LARGE_PATH,
  type Listener,
  SMALL_BYTES,
  SMALL_PATH,
  UPLOAD_PATH,
  WEBSOCKET_PATH,
} from './setup.ts';
import { SERVER_FRAME } from './websocket-frame.ts';

/** A kind of traffic whose cost is measured as CPU time of the proxy for each unit of it. */
export interface Load {
  readonly unit: 'request' | 'message' | 'connection';
  readonly listener: Listener;
  readonly features: boolean;
  readonly origin: OriginName;
  readonly contenders: readonly Contender[];
  readonly connections: number;
  readonly path: string;
  /** The least that the clients read with each unit. */
  readonly bytesOfUnit: number;
  argv(order: Order): string[];
}

/** One run of a load. */
export interface Order {
  readonly port: number;
  readonly seconds: number;
  readonly connections: number;
  /** PEM file of the certificate to trust. */
  readonly ca: string;
}

/** The loads of which this is all there is to say; the others have a file each. */
export type CostName = Exclude<LoadName, LatencyName | 'idle' | 'idle-tls' | 'workers' | 'soak'>;

const HTTP_CONTENDERS = [lbd, haproxy, nginx, httpProxy3, nodeHttp];
const TCP_CONTENDERS = [lbd, haproxy, nginx, nodeNet];
/** Large bodies fill the core with fewer. */
const FEW = 10;

const kept: Load = {
  unit: 'request',
  listener: 'http',
  features: true,
  origin: 'nginx',
  contenders: HTTP_CONTENDERS,
  connections: 50,
  path: SMALL_PATH,
  bytesOfUnit: SMALL_BYTES,
  argv: (order) => wrk(order, `http://127.0.0.1:${order.port}${SMALL_PATH}`),
};
const large = {
  connections: FEW,
  path: LARGE_PATH,
  bytesOfUnit: LARGE_BYTES,
  argv: (order: Order) => wrk(order, `http://127.0.0.1:${order.port}${LARGE_PATH}`),
};
const handshakes: Load = {
  ...kept,
  unit: 'connection',
  listener: 'https',
  connections: FEW,
  bytesOfUnit: 0,
  argv: (order) => generator('tls-load.ts', SMALL_PATH, order),
};

/** Neither http-proxy-3 nor a proxy of `node:http` speaks HTTP/2 with clients. */
const HTTP2_CONTENDERS = [lbd, haproxy, nginx];
const http2: Load = {
  ...kept,
  listener: 'h2',
  contenders: HTTP2_CONTENDERS,
  argv: (order) => [...generator('h2-load.ts', SMALL_PATH, order), '--tls'],
};

export const LOADS: Readonly<Record<CostName, Load>> = {
  http: kept,
  bare: { ...kept, features: false, contenders: [lbd, haproxy, nginx] },
  close: {
    ...kept,
    argv: (order) => wrk(order, `http://127.0.0.1:${order.port}${SMALL_PATH}`, ['-H', 'Connection: close']),
  },
  download: { ...kept, ...large },
  upload: {
    ...kept,
    origin: 'node',
    connections: FEW,
    path: UPLOAD_PATH,
    argv: (order) => wrk(order, `http://127.0.0.1:${order.port}${UPLOAD_PATH}`, [], [String(LARGE_BYTES)]),
  },
  websocket: {
    ...kept,
    unit: 'message',
    origin: 'node',
    path: WEBSOCKET_PATH,
    bytesOfUnit: SERVER_FRAME.length,
    argv: (order) => generator('websocket-load.ts', WEBSOCKET_PATH, order),
  },
  tls: {
    ...kept,
    listener: 'https',
    argv: (order) => wrk(order, `https://127.0.0.1:${order.port}${SMALL_PATH}`),
  },
  'tls-new': handshakes,
  'tls-resumed': { ...handshakes, argv: (order) => [...handshakes.argv(order), '--resume'] },
  h2: http2,
  h2c: { ...http2, listener: 'h2c', argv: (order) => generator('h2-load.ts', SMALL_PATH, order) },
  'h2-h2': {
    ...http2,
    listener: 'h2-h2',
    features: false,
    // nginx speaks HTTP/1 to what is behind it.
    contenders: [lbd, haproxy],
    argv: (order) => generator('h2-load.ts', SMALL_PATH, order),
  },
  'h2-download': {
    ...http2,
    connections: FEW,
    path: LARGE_PATH,
    bytesOfUnit: LARGE_BYTES,
    argv: (order) => [...generator('h2-load.ts', LARGE_PATH, order), '--tls'],
  },
  tcp: { ...kept, listener: 'tcp', features: false, contenders: TCP_CONTENDERS },
  'tcp-bulk': { ...kept, ...large, listener: 'tcp', features: false, contenders: TCP_CONTENDERS },
};

/** Every client has been here before. */
export const COOKIE_PAIR = `${COOKIE}=${BACKENDS[0]}`;

function wrk(order: Order, url: string, options: string[] = [], script: string[] = []): string[] {
  return [
    ...['wrk', '-t', '1', '-c', String(order.connections), '-d', `${order.seconds}s`, '--timeout', '10s'],
    ...['-H', `Cookie: ${COOKIE_PAIR}`, ...options],
    ...['-s', join(import.meta.dirname, 'wrk.lua'), url, '--', ...script],
  ];
}

/** Command line of one of the programs beside this file. */
export function generator(file: string, path: string, order: Order): string[] {
  return [
    ...[NODE, join(import.meta.dirname, file), '--path', path, '--port', String(order.port)],
    ...['--seconds', String(order.seconds), '--connections', String(order.connections)],
    ...['--ca', order.ca, '--cookie', COOKIE_PAIR],
  ];
}
