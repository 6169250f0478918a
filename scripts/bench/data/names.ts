/** The benchmarks of the data plane by name, in the order in which they are run, and what each measures. */
export const LOAD_HELP = {
  http: 'CPU per kept-alive request: 20 routes, a cookie, health checks, metrics',
  bare: 'CPU per kept-alive request, one pool and nothing more',
  close: 'CPU per request on a connection of its own',
  download: 'CPU per response of 1 MiB',
  upload: 'CPU per request of 1 MiB',
  websocket: 'CPU per WebSocket message and its echo',
  tls: 'CPU per kept-alive HTTPS request',
  'tls-new': 'CPU per TLS 1.3 connection with one request, full handshake',
  'tls-resumed': 'CPU per TLS 1.3 connection with one request, resumed',
  h2: 'CPU per HTTP/2 request over TLS, 10 at a time on each of 50 connections',
  h2c: 'CPU per HTTP/2 request in the clear, as h2',
  'h2-h2':
    'CPU per HTTP/2 request in the clear, as h2c, to an origin that speaks it too, one pool and nothing more',
  'h2-download': 'CPU per response of 1 MiB by HTTP/2 over TLS',
  tcp: 'CPU per request through a TCP relay, kept alive',
  'tcp-bulk': 'CPU per response of 1 MiB through a TCP relay',
  latency: 'p50, p99, p99.9 of the load http at half of the rate that saturates HAProxy',
  'latency-tls': 'p50, p99, p99.9 of the load tls at half of the rate that saturates HAProxy',
  'latency-tcp': 'p50, p99, p99.9 of the load tcp at half of the rate that saturates HAProxy',
  idle: 'resident memory of 1,000 idle connections',
  'idle-tls': 'resident memory of 1,000 idle TLS connections',
  workers: 'CPU per request of two workers against one',
  soak: 'resident memory over minutes of mixed load',
} as const;

/** Loads whose latency is measured at a rate that all get. */
export const OFFERED = { latency: 'http', 'latency-tls': 'tls', 'latency-tcp': 'tcp' } as const;

export type LoadName = keyof typeof LOAD_HELP;

export type LatencyName = keyof typeof OFFERED;

export const LOAD_NAMES = Object.keys(LOAD_HELP) as LoadName[];
