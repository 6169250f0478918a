import type { AccessLogConfig } from '../../common/access-log-config.ts';
import type { LoggedRequest } from '../route/facts.ts';
import { AccessFields } from './access-fields.ts';
import { accessLine } from './access-line.ts';
import type { AccessLog } from './access-log.ts';
import type { Cause } from './cause.ts';

/** nginx's number for a client that left before its answer: log analysers know it. */
const CLIENT_GONE = 499;

/** Of a start line that nobody could read. */
const MAX_LINE_BYTES = 256;

function firstLine(buffer: Buffer, start: number, end: number): string {
  const line = buffer.toString('latin1', start, Math.min(end, start + MAX_LINE_BYTES)).trimStart();
  return /^[^\r\n]*/.exec(line)![0];
}

/**
 * Learns what the access log says about one request, or one TCP connection, as it happens. An instance serves one
 * connection, request after request; connections of frontends without an access log have none.
 */
export class AccessRecord extends AccessFields {
  readonly config: AccessLogConfig;
  readonly #log: AccessLog;
  #open = false;
  #startedMs = 0;
  #queuedMs = 0;
  #connectingMs = 0;
  #sentMs = 0;

  constructor(log: AccessLog, config: AccessLogConfig, frontend: string, client: string, http: boolean) {
    super(frontend, client, http);
    this.#log = log;
    this.config = config;
  }

  /** The first byte of a request, or a connection, is here. @param tlsMs what the handshake before it took */
  begin(tlsMs = 0): void {
    this.#open = true;
    this.tlsMs = tlsMs;
    this.#startedMs = performance.now();
    this.#queuedMs = this.#connectingMs = this.#sentMs = 0;
    this.headMs = this.queueMs = this.connectMs = this.firstByteMs = 0;
    this.#forget();
    this.requestId = this.cause = this.reason = this.pool = this.backend = '';
    this.status = this.tries = this.bytesIn = this.bytesOut = this.headsOut = 0;
    this.route = -1;
  }

  /** No request will come for a while: what the last one said is let go of. */
  rest(): void {
    this.#forget();
  }

  #forget(): void {
    this.method = this.target = this.host = this.protocol = this.referer = this.userAgent = '';
  }

  /** The head is complete and well formed. @param bytes its length */
  head(request: LoggedRequest, requestId: string, bytes: number): void {
    this.headMs = performance.now() - this.#startedMs;
    this.requestId = requestId;
    this.method = request.method;
    this.target = request.target;
    this.host = request.host;
    this.protocol = request.protocol;
    this.referer = request.header('referer') ?? '';
    this.userAgent = request.header('user-agent') ?? '';
    this.bytesIn = bytes;
  }

  /**
   * The head is malformed, too large or was not completed.
   *
   * @param request of which only the start line counts, where it was read
   */
  part(
    request: LoggedRequest & { readonly started: boolean },
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    this.bytesIn = end - start;
    if (request.started) {
      this.method = request.method;
      this.target = request.target;
      this.protocol = request.protocol;
    } else this.target = firstLine(buffer, start, end);
  }

  routed(route: number, pool: string): void {
    this.route = route;
    this.pool = pool;
  }

  /** It waits for a place at a backend. */
  queued(): void {
    this.#queuedMs = performance.now();
  }

  /** It goes to a backend: to the first one, or for another try. */
  sent(backend: string, tries: number): void {
    const now = performance.now();
    this.#endWaits(now);
    this.backend = backend;
    this.tries = tries;
    this.#sentMs = now;
  }

  /** It goes to a backend, and a connection is made for it. */
  connecting(backend: string, tries: number): void {
    this.sent(backend, tries);
    this.#connectingMs = this.#sentMs;
  }

  connected(): void {
    const now = performance.now();
    this.#endWaits(now);
    this.#sentMs = now;
  }

  /** Bytes of the body, or of a connection. */
  received(bytes: number): void {
    this.bytesIn += bytes;
  }

  /** Bytes of a backend have gone to the client of a TCP connection. */
  sentOn(bytes: number): void {
    if (this.bytesOut === 0) this.firstByteMs = performance.now() - this.#sentMs;
    this.bytesOut += bytes;
  }

  /** The backend's answer begins. */
  answered(status: number): void {
    this.status = status;
    this.firstByteMs = performance.now() - this.#sentMs;
  }

  /** lbd answers itself, or ends it. What comes first is the cause. @param status that the client sees. @param reason what the cause leaves open */
  fault(cause: Cause, status = this.status, reason = ''): void {
    if (this.cause !== '') return;
    this.cause = cause;
    this.reason = reason;
    this.status = status;
  }

  /** The client has left. */
  gone(): void {
    if (!this.#open) return;
    this.fault('client_gone', this.http && this.status === 0 ? CLIENT_GONE : this.status);
    this.end();
  }

  /** It is over. Writes the line; a second call does nothing. */
  end(): void {
    if (!this.#open) return;
    this.#open = false;
    const { sample, format } = this.config;
    if (this.cause === '' && sample < 1 && Math.random() >= sample) return;
    const now = performance.now();
    this.#endWaits(now);
    this.totalMs = now - this.#startedMs;
    this.#log.write(accessLine(this, format));
  }

  #endWaits(now: number): void {
    if (this.#queuedMs > 0) this.queueMs += now - this.#queuedMs;
    if (this.#connectingMs > 0) this.connectMs += now - this.#connectingMs;
    this.#queuedMs = this.#connectingMs = 0;
  }
}
