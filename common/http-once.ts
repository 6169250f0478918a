import { STATUS_CODES } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { messageOf } from './errors.ts';
import { TokenBucket } from './token-bucket.ts';

/** Request line and fields of one request. */
const MAX_HEAD_BYTES = 8192;
const END_OF_HEAD = '\r\n\r\n';
/** Whoever needs longer to send a request, or to read an answer, has hung. */
const PATIENCE_MS = 10_000;
/** What a client sends beyond its request is thrown away for so long and so far, so that it can read its answer. */
const DRAIN_MS = 1000;
/** Of an answer at one go: some 0.2 ms. */
const MAX_SENT_BYTES = 256 * 1024;
const MAX_DRAINED_BYTES = 2 * 1024 * 1024;

export interface HttpRequest {
  readonly method: string;
  /** As in the request line. */
  readonly target: string;
  readonly body: Buffer;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Pieces that are sent one after the other and not copied: several answers may share them. */
  readonly body?: readonly Buffer[];
}

export interface HttpOnceOptions {
  /** More are closed unread. */
  readonly maxConnections: number;
  /** A larger body is answered with 413. */
  readonly maxBodyBytes: number;
  /** Answers a second, and how many may come at once; the others are answered with 429. No limit by default. */
  readonly perSecond?: number;
  /** How a refusal looks; one line of text by default. */
  refuse?(status: number, text: string): HttpAnswer;
  /** May take as long as it likes; a rejection is answered with 500. */
  handle(request: HttpRequest): Promise<HttpAnswer>;
}

/**
 * HTTP/1.1 for a few clients that ask seldom (RFC 9112), such as a scraper or a command: one request for each connection,
 * and nothing that comes after it is even parsed. So a packet that is full of pipelined requests costs what one of them
 * costs; with `node:http` each of them would be parsed and answered before anything else gets its turn.
 *
 * @returns a server that does not listen yet
 */
export function createHttpOnce(options: HttpOnceOptions): Server {
  const rate =
    options.perSecond === undefined
      ? undefined
      : new TokenBucket({ perSecond: options.perSecond, burst: options.perSecond });
  const open = new Set<Exchange>();
  // A client may end its side after the request and still wait for the answer.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const exchange = new Exchange(socket, options, rate);
    open.add(exchange);
    socket.once('close', () => open.delete(exchange));
  });
  exchanges.set(server, open);
  server.maxConnections = options.maxConnections;
  return server;
}

/** Stops to listen and ends every connection. */
export async function closeHttpOnce(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const exchange of exchanges.get(server) ?? []) exchange.end();
  await closed;
}

/** Those that are open. */
const exchanges = new WeakMap<Server, Set<Exchange>>();

/** `end`: bytes up to the body; `length`: of the body. */
interface Head {
  readonly method: string;
  readonly target: string;
  readonly end: number;
  readonly length: number;
}

/** One connection. */
class Exchange {
  readonly #socket: Socket;
  readonly #options: HttpOnceOptions;
  readonly #rate: TokenBucket | undefined;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  /** Of the request, once its head is there. */
  #head: Head | undefined;
  #answered = false;
  #timer: NodeJS.Timeout;

  constructor(socket: Socket, options: HttpOnceOptions, rate: TokenBucket | undefined) {
    this.#socket = socket;
    this.#options = options;
    this.#rate = rate;
    this.#timer = setTimeout(() => socket.destroy(), PATIENCE_MS);
    socket.on('error', () => {});
    socket.once('close', () => clearTimeout(this.#timer));
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('end', () => {
      if (!this.#answered) socket.destroy();
    });
  }

  end(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#answered) {
      if (this.#bytes > MAX_DRAINED_BYTES) this.#socket.destroy();
      return;
    }
    this.#chunks.push(chunk);
    this.#head ??= this.#parse();
    const head = this.#head;
    if (head === undefined) return;
    if (head.length > this.#options.maxBodyBytes)
      this.#refuse(413, `the body may have ${this.#options.maxBodyBytes} bytes`);
    else if (this.#bytes - head.end >= head.length) this.#ask(head);
  }

  #parse(): Head | undefined {
    // A flood of large bodies is not to be copied only to be refused.
    const [first] = this.#chunks;
    const bytes =
      this.#chunks.length === 1
        ? first!.subarray(0, MAX_HEAD_BYTES)
        : Buffer.concat(this.#chunks, Math.min(this.#bytes, MAX_HEAD_BYTES));
    const end = bytes.indexOf(END_OF_HEAD);
    if (end < 0) {
      if (this.#bytes >= MAX_HEAD_BYTES) this.#refuse(431, `the head may have ${MAX_HEAD_BYTES} bytes`);
      return undefined;
    }
    const [line = '', ...fields] = bytes.toString('latin1', 0, end).split('\r\n');
    const [, method, target] = /^([A-Z]+) (\S+) HTTP\/1\.[01]$/.exec(line) ?? [];
    const length = lengthOf(fields);
    if (method === undefined || target === undefined) this.#refuse(400, 'not a request of HTTP/1.1');
    else if (length === undefined) this.#refuse(411, 'a body needs one Content-Length');
    else return { method, target, length, end: end + END_OF_HEAD.length };
    return undefined;
  }

  #ask({ method, target, end, length }: Head): void {
    if (this.#rate?.take(performance.now()) === false) {
      this.#refuse(429, 'too many requests');
      return;
    }
    const body = Buffer.concat(this.#chunks).subarray(end, end + length);
    this.#close();
    this.#options.handle({ method, target, body }).then(
      (answer) => this.#answer(answer, method === 'HEAD'),
      (error: unknown) => this.#refuse(500, messageOf(error)),
    );
  }

  #refuse(status: number, text: string): void {
    this.#close();
    this.#answer((this.#options.refuse ?? textAnswer)(status, text));
  }

  /** There is nothing more to read. */
  #close(): void {
    clearTimeout(this.#timer);
    this.#answered = true;
    this.#chunks.length = 0;
  }

  #answer({ status, headers = {}, body = [] }: HttpAnswer, headOnly = false): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    this.#timer = setTimeout(() => socket.destroy(), PATIENCE_MS);
    const length = body.reduce((sum, piece) => sum + piece.length, 0);
    const fields = {
      ...headers,
      ...(status === 204 ? {} : { 'Content-Length': `${length}` }),
      Connection: 'close',
    };
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
    const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('\r\n')}${END_OF_HEAD}`;
    this.#send([Buffer.from(head), ...(headOnly ? [] : body)], 0);
  }

  /** Some pieces at a time, each when the former ones have left: megabytes at one go would take milliseconds. */
  #send(pieces: readonly Buffer[], from: number): void {
    const socket = this.#socket;
    let to = from;
    for (let bytes = 0; to < pieces.length && bytes < MAX_SENT_BYTES; to++) bytes += pieces[to]!.length;
    const sent = (error?: Error | null) => {
      if (error == null && to < pieces.length) setImmediate(() => this.#send(pieces, to));
    };
    socket.cork();
    for (let at = from; at < to; at++) socket.write(pieces[at]!, at === to - 1 ? sent : undefined);
    socket.uncork();
    if (to < pieces.length) return;
    socket.end(() => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => socket.destroy(), DRAIN_MS);
    });
  }
}

/** An answer for people: one line. */
export function textAnswer(status: number, text: string, headers?: Record<string, string>): HttpAnswer {
  return { status, headers: { 'Content-Type': 'text/plain', ...headers }, body: [Buffer.from(`${text}\n`)] };
}

/** Bytes of the body; undefined where the fields do not say so clearly (RFC 9112 section 6.3). */
function lengthOf(fields: readonly string[]): number | undefined {
  if (fields.some((field) => /^transfer-encoding:/i.test(field))) return undefined;
  const lengths = fields.flatMap((field) => /^content-length:[ \t]*(.*?)[ \t]*$/i.exec(field)?.[1] ?? []);
  const [length = '0'] = lengths;
  return lengths.length <= 1 && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}
