import type { Cause } from './cause.ts';

/** What the access log says about one request, or one TCP connection. Times are monotonic milliseconds. */
export class AccessFields {
  readonly frontend: string;
  /** Address of the client; behind a trusted proxy of that of the request. */
  client: string;
  /** false: a TCP connection, of which nobody knows a request. */
  readonly http: boolean;
  method = '';
  target = '';
  host = '';
  /** Empty: no head was read. */
  protocol = '';
  referer = '';
  userAgent = '';
  requestId = '';
  /** 0: none. */
  status = 0;
  /** Empty: nothing went wrong. */
  cause: Cause | '' = '';
  /** What the cause leaves open, in words; empty: nothing. */
  reason = '';
  /** Index in the config; -1: none matched. */
  route = -1;
  pool = '';
  backend = '';
  /** Times that it was sent to a backend. */
  tries = 0;
  /** Head and body without their chunks. */
  bytesIn = 0;
  /** All that went to the client. */
  bytesOut = 0;
  /** What of it was heads. */
  headsOut = 0;
  tlsMs = 0;
  headMs = 0;
  queueMs = 0;
  connectMs = 0;
  firstByteMs = 0;
  totalMs = 0;

  constructor(frontend: string, client: string, http: boolean) {
    this.frontend = frontend;
    this.client = client;
    this.http = http;
  }
}
