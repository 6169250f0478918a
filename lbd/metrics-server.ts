import { createServer, type Server } from 'node:http';
import { messageOf } from '../common/errors.ts';
import type { SocketAddress } from '../common/model.ts';
import { addressText } from './backends.ts';

/** A scraper that needs longer has hung. */
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 32;

/**
 * Serves `GET /metrics` on the address that the config names. An address that cannot be had is a warning: a
 * metrics port must never keep traffic from flowing.
 */
export class MetricsServer {
  readonly #collect: () => Promise<{ text: string; contentType: string }>;
  readonly #tell: (text: string) => void;
  #server: Server | undefined;
  #address: SocketAddress | undefined;
  #warning: string | undefined;

  constructor(collect: () => Promise<{ text: string; contentType: string }>, tell: (text: string) => void) {
    this.#collect = collect;
    this.#tell = tell;
  }

  /** Why the metrics are not served; undefined when they are, or when nobody wants them. */
  get warning(): string | undefined {
    return this.#warning;
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
    const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, maxHeaderSize: 8192 }, (req, res) => {
      if (req.url?.split('?')[0] !== '/metrics') {
        res.writeHead(404).end('see /metrics\n');
        return;
      }
      if (req.method !== 'GET' && req.method !== 'HEAD') {
        res.writeHead(405, { Allow: 'GET, HEAD' }).end();
        return;
      }
      this.#collect().then(
        ({ text, contentType }) => res.writeHead(200, { 'Content-Type': contentType }).end(text),
        (error: unknown) => res.writeHead(500).end(`${messageOf(error)}\n`),
      );
    });
    server.maxConnections = MAX_CONNECTIONS;
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(
          { port: address.port, ...(address.host === '*' ? {} : { host: address.host }) },
          resolve,
        );
      });
      this.#server = server;
    } catch (error) {
      this.#warning = `metrics are not served on ${addressText(address)}: ${messageOf(error)}`;
      this.#tell(this.#warning);
    }
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    this.#address = undefined;
    this.#warning = undefined;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  }
}
