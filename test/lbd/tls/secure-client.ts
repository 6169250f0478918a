import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import { withoutDate } from '../harness.ts';
import { certify, type Identity } from './authority.ts';

/** A directory of certificates for one test, and the names of their files. */
export class Certificates {
  readonly directory: string;
  readonly root: Identity = certify({ name: 'root', authority: true });

  constructor(t: Test) {
    this.directory = mkdtempSync(join(tmpdir(), 'tandem-tls-'));
    t.teardown(() => rmSync(this.directory, { recursive: true, force: true }));
    this.write('root.pem', this.root.cert);
  }

  /** @returns the file's path */
  write(name: string, text: string): string {
    const file = join(this.directory, name);
    writeFileSync(file, text);
    return file;
  }

  /** Signed by the root. @returns as the config takes it */
  server(
    name: string,
    alternatives: readonly string[] = [name],
    more: { rsa?: boolean; toDays?: number } = {},
  ) {
    const identity = certify({ name, alternatives, issuer: this.root, ...more });
    const cert = this.write(`${name}.crt`, identity.cert);
    const key = this.write(`${name}.key`, identity.key);
    return { ...identity, files: `{ cert: ${cert}, key: ${key} }`, certFile: cert, keyFile: key };
  }

  get rootFile(): string {
    return join(this.directory, 'root.pem');
  }
}

/** A TLS client that keeps what it gets. */
export class SecureClient {
  text = '';
  ended = false;
  /** Code of the error with which it ended; `closed` without one. */
  closed: string | undefined;
  /** Newest last. */
  readonly sessions: Buffer[] = [];
  readonly socket: TLSSocket;
  readonly #waiting: (() => void)[] = [];

  constructor(t: Test, port: number, options: ConnectionOptions = {}) {
    this.socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
    t.teardown(() => this.socket.destroy());
    const wake = () => {
      for (const resolve of this.#waiting.splice(0)) resolve();
    };
    this.socket.on('data', (bytes) => {
      this.text = withoutDate(this.text, bytes.toString('latin1'));
      wake();
    });
    this.socket.on('session', (session) => {
      this.sessions.push(session);
      wake();
    });
    this.socket.on('end', () => {
      this.ended = true;
      wake();
    });
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      this.closed = error.code ?? error.message;
      wake();
    });
    this.socket.on('close', () => {
      this.closed ??= 'closed';
      wake();
    });
  }

  /** @throws the error of the handshake */
  static async open(t: Test, port: number, options: ConnectionOptions = {}): Promise<SecureClient> {
    const client = new SecureClient(t, port, options);
    await once(client.socket, 'secureConnect');
    return client;
  }

  write(text: string): void {
    this.socket.write(text, 'latin1');
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves once what came fulfils the condition, or the connection is over. */
  async until(condition: (text: string) => boolean): Promise<string> {
    await this.#until(() => condition(this.text) || this.ended || this.closed !== undefined);
    return this.text;
  }

  async end(): Promise<string> {
    await this.#until(() => this.ended || this.closed !== undefined);
    return this.text;
  }

  /** Sends a request and waits for an answer that ends with `ok`. @returns the answer */
  async ask(request = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', ending = '\r\n\r\nok'): Promise<string> {
    const from = this.text.length;
    this.write(request);
    return (await this.until((text) => text.slice(from).endsWith(ending))).slice(from);
  }

  /** The latest session ticket. */
  async session(): Promise<Buffer> {
    await this.#until(() => this.sessions.length > 0);
    return this.sessions.at(-1)!;
  }
}
