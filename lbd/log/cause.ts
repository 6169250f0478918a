/**
 * Why lbd answered a request itself, or ended it or a connection: the stable words of the access log. People get a
 * sentence in the answer; programs count these. docs/how-to/logs.md has the table.
 */
export const CAUSES = {
  bad_request: 'the request is malformed or ambiguous',
  head_too_large: 'the request head has more bytes or fields than allowed',
  head_timeout: 'the request head did not come in time',
  body_timeout: 'the request body did not come in time, or slower than limits.min_rate',
  too_many_clients: 'the frontend has its max_connections',
  too_many_of_client: 'the client has its limits.per_source',
  no_files: 'too few open files are left',
  tls_failed: 'the TLS handshake with the client failed; the log of lbd says how',
  proxy_header: 'a peer of accept_proxy did not begin with a usable PROXY header',
  http2_error: 'the client broke a rule of HTTP/2, or asked for too much; the reason says which',
  no_route: 'no route matches and the frontend has no pool',
  no_host: 'a redirect needs a host, and the request has none',
  loop: 'the request has come round: a backend of the pool leads back to this frontend',
  no_backend: 'no backend of the pool takes clients',
  queue_full: 'all backends are full, and so is the queue',
  queue_timeout: 'no backend had room in time',
  breaker_open: 'the pool has all the requests, connections or waiting clients that it may have',
  connect_failed: 'no backend could be connected to',
  connect_timeout: 'no backend was connected to in time',
  backend_closed: 'the backend closed or reset the connection before its answer',
  backend_timeout: 'the backend did not answer in time',
  total_timeout: 'the whole request took longer than it may',
  bad_response: 'the response is malformed or ambiguous',
  response_cut: 'the response could not be completed',
  client_gone: 'the client left before the end',
  client_slow: 'the client did not read its answer in time, or slower than limits.min_rate',
  idle_timeout: 'nothing came from either side of a TCP connection or a tunnel for too long',
  cut: 'the connection was ended by lbd: a drain_timeout or a stop was over',
  other: 'none of these',
} as const;
export type Cause = keyof typeof CAUSES;
