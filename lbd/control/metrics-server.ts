import type { Server } from 'node:net';
import type { SocketAddress } from '../../common/address.ts';
import { messageOf } from '../../common/errors.ts';
import {
  closeHttpOnce,
  createHttpOnce,
  type HttpAnswer,
  type HttpRequest,
  textAnswer,
} from '../../common/http-once.ts';
import { Turnstile } from '../../common/turnstile.ts';
import { addressText } from './care/backends.ts';
import type { MetricsPage } from './metrics.ts';

const MAX_CONNECTIONS = 32;
/** Far more than scrapers ask, and a few percent of the main thread with thousands of backends. */
const ANSWERS_PER_SECOND = 20;
/** Each costs the main thread some 50 µs, whatever becomes of it. */
const CONNECTIONS = { perSecond: 100, burst: 100 } as const;
/** A flood of them is told once, and again when it has been away for so long. */
const QUIET_MS = 60_000;
/** A collection is worth so long. */
const COLLECT_MS = 1000;

const CROWDED =
  'too many connections come to the metrics port: for a moment the kernel drops most that begin';

/**
 * Serves `GET /metrics` on the address that the config names. An address that cannot be had is a warning: a
 * metrics port must never keep traffic from flowing.
 */
export class MetricsServer {
  readonly #collect: () => Promise<MetricsPage>;
  readonly #tell: (text: string) => void;
  #server: Server | undefined;
  #address: SocketAddress | undefined;
  #warning: string | undefined;
  #latest: Promise<MetricsPage> | undefined;
  #collectedMs = 0;
  #collecting = false;
  #turnstile: Turnstile | undefined;
  #crowdedMs = Number.NEGATIVE_INFINITY;

  constructor(collect: () => Promise<MetricsPage>, tell: (text: string) => void) {
    this.#collect = collect;
    this.#tell = tell;
  }

  /** What an operator should know. */
  warnings(): string[] {
    const crowd = this.#turnstile?.narrow === true ? [CROWDED] : [];
    return this.#warning === undefined ? crowd : [this.#warning, ...crowd];
  }

  /** The port in use; undefined when none is. */
  get port(): number | undefined {
    const address = this.#server?.address();
    return typeof address === 'object' && address !== null ? address.port : undefined;
  }

  /** Moves to another address; undefined: serves no more. An address that failed before is tried again. */
  async apply(address: SocketAddress | undefined): Promise<void> {
    const same = address?.host === this.#address?.host && address?.port === this.#address?.port;
    if (same && this.#warning === undefined) return;
    await this.close();
    this.#address = address;
    if (address === undefined) return;
    const server = createHttpOnce({
      maxConnections: MAX_CONNECTIONS,
      maxBodyBytes: 0,
      perSecond: ANSWERS_PER_SECOND,
      handle: (request) => this.#answer(request),
    });
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(
          { port: address.port, ...(address.host === '*' ? {} : { host: address.host }) },
          resolve,
        );
      });
      this.#server = server;
      this.#turnstile = new Turnstile(server, {
        ...CONNECTIONS,
        onNarrow: (trouble) => this.#crowded(trouble),
      });
    } catch (error) {
      this.#warning = `metrics are not served on ${addressText(address)}: ${messageOf(error)}`;
      this.#tell(this.#warning);
    }
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    this.#turnstile = undefined;
    this.#address = undefined;
    this.#warning = undefined;
    if (server === undefined) return;
    await closeHttpOnce(server);
  }

  #crowded(trouble: string | undefined): void {
    const nowMs = performance.now();
    const isNews = nowMs - this.#crowdedMs >= QUIET_MS;
    this.#crowdedMs = nowMs;
    if (isNews) this.#tell(trouble === undefined ? CROWDED : `${CROWDED}, but cannot: ${trouble}`);
  }

  async #answer({ method, target }: HttpRequest): Promise<HttpAnswer> {
    if (target.split('?')[0] !== '/metrics') return textAnswer(404, 'see /metrics');
    if (method !== 'GET' && method !== 'HEAD') return textAnswer(405, 'GET only', { Allow: 'GET, HEAD' });
    const { pieces, contentType } = await this.#page();
    return { status: 200, headers: { 'Content-Type': contentType }, body: pieces };
  }

  /** Whoever asks within a second of somebody else, or while that one waits, gets what that one got. */
  #page(): Promise<MetricsPage> {
    const nowMs = performance.now();
    const isFresh = this.#collecting || nowMs - this.#collectedMs < COLLECT_MS;
    if (this.#latest !== undefined && isFresh) return this.#latest;
    this.#collectedMs = nowMs;
    this.#collecting = true;
    const page = this.#collect();
    this.#latest = page;
    const done = (latest: Promise<MetricsPage> | undefined) => {
      this.#collecting = false;
      this.#latest = latest;
    };
    page.then(
      () => done(page),
      () => done(undefined),
    );
    return page;
  }
}
