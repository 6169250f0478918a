import dgram from 'node:dgram';
import { once } from 'node:events';
import type { Test } from 'tap';

/** A UDP service: says its name and the question, to whoever asked. */
export class Origin {
  readonly socket: dgram.Socket;
  readonly heard: { readonly text: string; readonly from: string }[] = [];
  #silent = false;

  private constructor(name: string, host: string) {
    this.socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
    this.socket.on('message', (bytes, from) => {
      this.heard.push({ text: bytes.toString('latin1'), from: `${from.address}:${from.port}` });
      if (!this.#silent) this.socket.send(`${name} ${bytes.toString('latin1')}`, from.port, from.address);
    });
  }

  static async start(t: Test, name: string, host = '127.0.0.1', port = 0): Promise<Origin> {
    const origin = new Origin(name, host);
    origin.socket.bind(port, host);
    await once(origin.socket, 'listening');
    t.teardown(() => origin.stop());
    return origin;
  }

  get port(): number {
    return this.socket.address().port;
  }

  silence(): void {
    this.#silent = true;
  }

  stop(): void {
    try {
      this.socket.close();
    } catch {
      // It was stopped by the test.
    }
  }
}

/** A client with one address and port. */
export class Client {
  readonly socket: dgram.Socket;
  readonly port: number;
  readonly host: string;
  readonly answers: { readonly bytes: Buffer; readonly from: string }[] = [];
  readonly #waiting: (() => void)[] = [];
  #closed = false;

  private constructor(socket: dgram.Socket, port: number, host: string) {
    this.socket = socket;
    this.port = port;
    this.host = host;
    socket.on('message', (bytes, from) => {
      this.answers.push({ bytes, from: from.address });
      for (const wake of this.#waiting.splice(0)) wake();
    });
  }

  static async open(t: Test, port: number, host = '127.0.0.1', own?: string): Promise<Client> {
    const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
    socket.bind(0, own);
    await once(socket, 'listening');
    const client = new Client(socket, port, host);
    t.teardown(() => client.close());
    return client;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.socket.close();
  }

  send(question: string | Buffer): void {
    this.socket.send(question, this.port, this.host);
  }

  /** Sends and waits for one more answer. UDP over loopback loses only what a full buffer does not take. */
  async ask(question: string | Buffer): Promise<string> {
    const before = this.answers.length;
    this.send(question);
    while (this.answers.length === before) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.answers.at(-1)!.bytes.toString('latin1');
  }
}
