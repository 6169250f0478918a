import { once } from 'node:events';
import net from 'node:net';
import type { Test } from 'tap';
import { parseConfig } from '../../common/config.ts';
import type { Config } from '../../common/model.ts';
import { DataPlane } from '../../lbd/plane/data-plane.ts';
import { SessionTable } from '../../lbd/session/table.ts';
import type { Plan } from '../../lbd/shared/plan.ts';
import { createSharedBuffers, GATE_OPEN, type Gate, SharedState } from '../../lbd/shared/shared.ts';
import { readTlsFiles } from '../../lbd/tls/files.ts';
import {
  compareFiles,
  type FrontendNews,
  NOTHING_READ,
  tlsMaterial,
  wantedOf,
  withNews,
} from '../../lbd/tls/material.ts';
import { freePort } from '../common/free-port.ts';

/** The same for every plane: they are like the workers and nodes of a pair. */
const TICKET_SECRET = Buffer.alloc(32, 7);

/** An origin on raw sockets: records what arrives and answers what the test says, byte by byte if need be. */
export class RawOrigin {
  /** Bytes of each connection, in the order of their arrival. */
  readonly received: string[] = [];
  readonly sockets: net.Socket[] = [];
  port = 0;
  readonly #server: net.Server;
  readonly #waiting: (() => void)[] = [];

  private constructor(onData: (socket: net.Socket, text: string, connection: number) => void) {
    this.#server = net.createServer({ allowHalfOpen: true }, (socket) => {
      const connection = this.sockets.push(socket) - 1;
      this.received.push('');
      this.#wake();
      socket.on('error', () => {});
      socket.on('data', (bytes) => {
        this.received[connection] += bytes.toString('latin1');
        onData(socket, bytes.toString('latin1'), connection);
        this.#wake();
      });
      socket.on('end', () => {
        this.received[connection] += '<end>';
        this.#wake();
      });
      socket.on('close', (hadError) => {
        this.received[connection] += hadError ? '<reset>' : '<close>';
        this.#wake();
      });
    });
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Resolves once something has arrived that fulfils the condition. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  static async start(
    t: Test,
    onData: (socket: net.Socket, text: string, connection: number) => void = () => {},
    port = 0,
  ): Promise<RawOrigin> {
    const origin = new RawOrigin(onData);
    origin.#server.listen(port, '127.0.0.1');
    await once(origin.#server, 'listening');
    origin.port = (origin.#server.address() as net.AddressInfo).port;
    t.teardown(() => origin.stop());
    return origin;
  }

  stop(): void {
    this.#server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

/** Answers each request that ends with its head. */
export function answering(text: string): (socket: net.Socket, data: string) => void {
  return (socket, data) => {
    for (const _ of data.matchAll(/\r\n\r\n/g)) socket.write(text, 'latin1');
  };
}

export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** One worker's data plane in this process, behind a real listener. */
export class Plane {
  readonly shared: SharedState;
  readonly control: SharedState;
  readonly sessions: SessionTable;
  readonly plane: DataPlane;
  config: Config;
  port: number;
  #serialSlots: Record<string, number> = {};
  readonly #accessLines: string[] = [];
  readonly #waiting: (() => void)[] = [];

  private constructor(config: Config, port: number) {
    const buffers = createSharedBuffers(1);
    this.shared = new SharedState(buffers, 0);
    this.control = new SharedState(buffers, -1);
    const memory = SessionTable.create(1024);
    this.sessions = new SessionTable(memory, 1, { hashKey: Uint32Array.of(1, 2, 3, 4) });
    this.plane = new DataPlane(0, this.shared, this.sessions, 'test-', undefined, (_path, lines) => {
      this.#accessLines.push(...new TextDecoder().decode(lines).trimEnd().split('\n'));
      for (const wake of this.#waiting.splice(0)) wake();
    });
    this.config = config;
    this.port = port;
  }

  /** @param yaml with `PORT` for a free port, on which the first frontend is reached */
  static async start(t: Test, yaml: string): Promise<Plane> {
    const port = await freePort();
    const config = parseConfig(yaml.replaceAll('PORT', String(port)), '/test.yaml', { cpus: 1 });
    const plane = new Plane(config, port);
    await plane.apply(config);
    t.teardown(() => plane.plane.stop(0));
    return plane;
  }

  async apply(config: Config): Promise<void> {
    this.config = config;
    for (const pool of config.pools)
      for (const backend of pool.backends) {
        const key = `${pool.name}/${backend.name}`;
        const known = this.#serialSlots[key] !== undefined;
        this.#serialSlots[key] ??= Object.keys(this.#serialSlots).length;
        if (!known) this.control.setGate(this.#serialSlots[key], GATE_OPEN, backend.weight);
      }
    const wanted = wantedOf(config);
    const { missing, frontends, pools } = compareFiles(wanted, readTlsFiles(wanted), NOTHING_READ);
    if (missing.length > 0) throw new Error(missing.join('; '));
    const read = Object.fromEntries(
      Object.entries(frontends).map(([name, it]) => [name, withNews(it as FrontendNews, undefined)]),
    );
    const plan: Plan = {
      config,
      tls: tlsMaterial({ frontends: read, pools }, this.ticketSecrets),
      slots: { ...this.#serialSlots },
      frontendRows: Object.fromEntries(config.frontends.map((frontend, row) => [frontend.name, row])),
    };
    const errors = await this.plane.apply(plan);
    if (errors.length > 0) throw new Error(errors.join('; '));
  }

  /** Secrets of session tickets, as of the next `apply`. */
  ticketSecrets: readonly Uint8Array[] = [TICKET_SECRET];

  /** The next so many lines of the access log. */
  async accessLines(count = 1): Promise<string[]> {
    while (this.#accessLines.length < count)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.#accessLines.splice(0, count);
  }

  slot(name: string): number {
    return this.#serialSlots[name]!;
  }

  gate(name: string, gate: Gate, weight = 1): void {
    this.control.setGate(this.slot(name), gate, weight);
  }

  /** Requests in flight over all backends. */
  get active(): number {
    return Object.values(this.#serialSlots).reduce((sum, slot) => sum + this.control.active(slot), 0);
  }
}

/** lbd adds it where a backend sends none, and it is never twice the same (RFC 9110 §6.6.1). */
const DATE = /Date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n/g;
const DATE_LENGTH = 'Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n'.length;

/** What has come and what comes now, without the Date that lbd adds. */
export function withoutDate(text: string, came: string): string {
  const old = Math.max(0, text.length - DATE_LENGTH);
  return text.slice(0, old) + (text.slice(old) + came).replaceAll(DATE, '');
}

/** A client on a raw socket. */
export class RawClient {
  /** What came, without the Date of answers. */
  text = '';
  /** What came, byte by byte. */
  raw = '';
  ended = false;
  closed: 'no' | 'clean' | 'reset' = 'no';
  readonly socket: net.Socket;
  readonly #waiting: (() => void)[] = [];

  private constructor(port: number) {
    this.socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const wake = () => {
      for (const resolve of this.#waiting.splice(0)) resolve();
    };
    this.socket.on('data', (bytes) => {
      const came = bytes.toString('latin1');
      this.raw += came;
      this.text = withoutDate(this.text, came);
      wake();
    });
    this.socket.on('end', () => {
      this.ended = true;
      wake();
    });
    this.socket.on('error', () => {
      this.closed = 'reset';
      wake();
    });
    this.socket.on('close', () => {
      if (this.closed === 'no') this.closed = 'clean';
      wake();
    });
  }

  static async open(t: Test, port: number): Promise<RawClient> {
    const client = new RawClient(port);
    t.teardown(() => client.socket.destroy());
    await once(client.socket, 'connect');
    return client;
  }

  write(text: string): void {
    this.socket.write(text, 'latin1');
  }

  /** One byte a packet. */
  async trickle(text: string): Promise<void> {
    for (const char of text) {
      if (this.socket.destroyed) return;
      await new Promise((resolve) => this.socket.write(char, 'latin1', resolve));
    }
  }

  /** Resolves once what came fulfils the condition, or the connection is over. */
  async until(condition: (text: string) => boolean): Promise<string> {
    while (!condition(this.text) && !this.ended && this.closed === 'no')
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.text;
  }

  async end(): Promise<string> {
    while (!this.ended && this.closed === 'no')
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.text;
  }
}
