import { connect, type Socket } from 'node:net';

export interface Answer {
  readonly status: number;
  /** Name of the backend from `X-Backend`; empty where there is none. */
  readonly backend: string;
  /** `name=value` of each Set-Cookie. */
  readonly cookies: readonly string[];
}

export interface RequestOptions {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** Value of the Cookie field; none when empty. */
  readonly cookie?: string;
  /** Source address. */
  readonly from?: string;
  /** From the start of the connection to the last byte. */
  readonly timeoutMs: number;
}

/** Longest answer that is read; the lab's are a few hundred bytes. */
const MAX_ANSWER_BYTES = 65_536;

/**
 * One GET over a connection of its own: light enough for hundreds a second beside what is measured, and its errors
 * are the kernel's own words.
 *
 * @throws Error with the cause as its message: `timeout`, `closed early`, or the code of the socket's error
 */
export function requestOnce(options: RequestOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: options.host, port: options.port, localAddress: options.from });
    const timer = setTimeout(finish, options.timeoutMs, 'timeout');
    let text = '';
    function finish(result: Answer | string): void {
      clearTimeout(timer);
      socket.destroy();
      if (typeof result === 'string') reject(new Error(result));
      else resolve(result);
    }
    socket.on('connect', () => socket.write(requestText(options, 'close')));
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const length = answerLength(text);
      if (length !== undefined && text.length >= length) finish(parseAnswer(text));
      else if (text.length > MAX_ANSWER_BYTES) finish('answer too long');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code ?? error.message));
    socket.on('close', () => finish('closed early'));
  });
}

/**
 * A connection that is kept alive and asks again and again. When an answer says `Connection: close`, the next request
 * goes over a new connection, as with any HTTP client.
 */
export class KeptConnection {
  readonly #options: RequestOptions;
  #socket: Socket;
  #text = '';
  #waiting: { resolve(answer: Answer): void; reject(error: Error): void } | undefined;
  /** The server told that it closes the connection. */
  #told = false;
  /** Times that it went on over a new connection because the server said so. */
  renewed = 0;
  /** Why it broke, or undefined while it is well. */
  broken: string | undefined;

  constructor(options: RequestOptions) {
    this.#options = options;
    this.#socket = this.#connect();
  }

  #connect(): Socket {
    const { host, port, from } = this.#options;
    const socket = connect({ host, port, localAddress: from });
    const mine = (run: () => void) => this.#socket === socket && !this.#told && run();
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => mine(() => this.#read(chunk)));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      mine(() => this.#break(error.code ?? error.message)),
    );
    socket.on('close', () => mine(() => this.#break('closed')));
    return socket;
  }

  /** Asks once; one request at a time. @throws Error when the connection is broken or the answer is late */
  async ask(): Promise<Answer> {
    if (this.broken !== undefined) throw new Error(this.broken);
    if (this.#told) {
      this.#told = false;
      this.#text = '';
      this.renewed++;
      this.#socket.destroy();
      this.#socket = this.#connect();
    }
    const timer = setTimeout(() => this.#break('timeout'), this.#options.timeoutMs);
    try {
      return await new Promise<Answer>((resolve, reject) => {
        this.#waiting = { resolve, reject };
        this.#socket.write(requestText(this.#options, 'keep-alive'));
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param why told as the reason that it is broken */
  close(why: string): void {
    this.#break(why);
  }

  #read(chunk: Buffer): void {
    this.#text += chunk.toString('latin1');
    const length = answerLength(this.#text);
    if (length === undefined || this.#text.length < length) return;
    const answer = parseAnswer(this.#text);
    this.#told = /\r\nconnection: *close/i.test(this.#text.slice(0, this.#text.indexOf('\r\n\r\n') + 2));
    this.#text = this.#text.slice(length);
    this.#waiting?.resolve(answer);
    this.#waiting = undefined;
  }

  #break(why: string): void {
    this.broken ??= why;
    this.#socket.destroy();
    this.#waiting?.reject(new Error(why));
    this.#waiting = undefined;
  }
}

function requestText(options: RequestOptions, connection: string): string {
  const cookie = options.cookie ? `Cookie: ${options.cookie}\r\n` : '';
  return `GET ${options.path} HTTP/1.1\r\nHost: ${options.host}\r\n${cookie}Connection: ${connection}\r\n\r\n`;
}

/** @returns length of the whole answer once its head is there; the lab's origins always tell Content-Length */
function answerLength(text: string): number | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, end))?.[1];
  return end + 4 + Number(length ?? 0);
}

function parseAnswer(text: string): Answer {
  const head = text.slice(0, text.indexOf('\r\n\r\n'));
  return {
    status: Number(/^HTTP\/1\.\d (\d{3})/.exec(head)?.[1] ?? 0),
    backend: /\r\nx-backend: *([^\r\n]*)/i.exec(head)?.[1] ?? '',
    cookies: Array.from(head.matchAll(/\r\nset-cookie: *([^;\r\n]*)/gi), (match) => match[1]!),
  };
}
