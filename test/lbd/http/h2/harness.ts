import { once } from 'node:events';
import net from 'node:net';
import type { Test } from 'tap';
import {
  ERROR,
  FLAG,
  FRAME,
  FRAME_BYTES,
  PREFACE,
  SETTING,
  WINDOW_BYTES,
} from '../../../../lbd/http/h2/frames.ts';
import { HpackDecoder } from '../../../../lbd/http/h2/hpack/decoder.ts';
import { Plane, RawOrigin } from '../../harness.ts';
import { type Reply, type Settings, yaml } from '../exchange.ts';
import { decode } from './hpack/collected.ts';

export type Fields = readonly (readonly [name: string, value: string])[];

/** Of codes and types, for people. */
const ERROR_NAMES = namesOf(ERROR);
const FRAME_NAMES = namesOf(FRAME);

function namesOf(numbers: Readonly<Record<string, number>>): ReadonlyMap<number, string> {
  return new Map(Object.entries(numbers).map(([name, number]) => [number, name]));
}

// Frames, built by hand.

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => {
    bytes.writeUInt32BE(value, 4 * i);
  });
  return bytes;
}

/** @param length of the header, where it is to be a lie */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer | string = '',
  length?: number,
): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload;
  const header = Buffer.alloc(9);
  header.writeUIntBE(length ?? body.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, body]);
}

function integer(value: number, prefix: number, first: number): Buffer {
  if (value < prefix) return Buffer.of(first | value);
  const bytes = [first | prefix];
  let rest = value - prefix;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push(128 | (rest % 128));
  return Buffer.from([...bytes, rest]);
}

/** RFC 7541 §6.2.2: literals without indexing, names and all, in plain bytes. */
export function encode(fields: Fields): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [
      Buffer.of(0),
      integer(name.length, 127, 0),
      Buffer.from(name, 'latin1'),
      integer(value.length, 127, 0),
      Buffer.from(value, 'latin1'),
    ]),
  );
}

export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.concat(
    pairs.map(([id, value]) => Buffer.concat([Buffer.of(id >> 8, id & 255), uint32(value)])),
  );
  return frame(FRAME.settings, 0, 0, payload);
}

export function headers(stream: number, fields: Fields, flags: number = FLAG.endStream): Buffer {
  return frame(FRAME.headers, flags | FLAG.endHeaders, stream, encode(fields));
}

export function data(stream: number, text: Buffer | string, flags = 0): Buffer {
  return frame(FRAME.data, flags, stream, text);
}

export function rst(stream: number, code: number = ERROR.cancel): Buffer {
  return frame(FRAME.rstStream, 0, stream, uint32(code));
}

export function windowUpdate(stream: number, by: number): Buffer {
  return frame(FRAME.windowUpdate, 0, stream, uint32(by));
}

export function ping(text = 'pingpong', flags = 0): Buffer {
  return frame(FRAME.ping, flags, 0, text);
}

/** Pseudo fields of a request, and fields behind them. */
export function request(method: string, path: string, ...more: Fields): Fields {
  return [[':method', method], [':scheme', 'http'], [':authority', 'a.example'], [':path', path], ...more];
}

export const GET = request('GET', '/');
/** As the origin of `Served` takes it, this one is never answered. */
export const HOLD = request('GET', '/hold');
export const POST = request('POST', '/hold');

/** A frame that came. */
export interface Came {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** What has come of the answer on a stream. */
export interface Answer {
  status: number;
  fields: Record<string, string>;
  interim: number[];
  body: string;
  trailers: Record<string, string> | undefined;
  /** END_STREAM has come. */
  ended: boolean;
  /** Name of the code of a RST_STREAM; behind an END_STREAM it is NO_ERROR. */
  reset: string | undefined;
}

/** A client of HTTP/2 on a raw socket. */
export class Http2Client {
  readonly frames: Came[] = [];
  readonly answers = new Map<number, Answer>();
  readonly socket: net.Socket;
  /** Name of the code of the last GOAWAY. */
  goAway: string | undefined;
  /** Last stream and name of the code of each. */
  readonly goAways: [number, string][] = [];
  debug = '';
  /** Rules that lbd has broken. */
  readonly wrongs: string[] = [];
  ended = false;
  closed = false;
  /** Bytes of DATA that came, of all streams. */
  received = 0;
  /** Answers SETTINGS; returns the windows as data comes. */
  acknowledges = true;
  credits = false;
  #bytes: Buffer = Buffer.alloc(0);
  #block: Buffer[] = [];
  #ends = false;
  readonly #decoder = new HpackDecoder();
  readonly #waiting: (() => void)[] = [];

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('data', (bytes: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, bytes]);
      while (this.#next());
      this.#wake();
    });
    socket.on('end', () => {
      this.ended = true;
      this.#wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.ended = this.closed = true;
      this.#wake();
    });
  }

  /** Connects, and says nothing. */
  static async connect(t: Test, port: number): Promise<Http2Client> {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const client = new Http2Client(socket);
    t.teardown(() => socket.destroy());
    await once(socket, 'connect');
    return client;
  }

  /** Connects, and says hello. */
  static async open(
    t: Test,
    port: number,
    ...pairs: readonly (readonly [id: number, value: number])[]
  ): Promise<Http2Client> {
    const client = await Http2Client.connect(t, port);
    client.write(PREFACE, settings(...pairs));
    await client.until(() =>
      client.frames.some(({ type, flags }) => type === FRAME.settings && flags === FLAG.ack),
    );
    return client;
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #next(): boolean {
    const bytes = this.#bytes;
    if (bytes.length < 9) return false;
    const length = bytes.readUIntBE(0, 3);
    if (bytes.length < 9 + length) return false;
    this.#bytes = bytes.subarray(9 + length);
    this.#take({
      type: bytes[3]!,
      flags: bytes[4]!,
      stream: bytes.readUInt32BE(5),
      payload: Buffer.from(bytes.subarray(9, 9 + length)),
    });
    return true;
  }

  #take(came: Came): void {
    const { type, flags, stream, payload } = came;
    this.frames.push(came);
    if (stream !== 0) this.#judge(came);
    switch (type) {
      case FRAME.settings:
        if (flags === 0 && this.acknowledges) this.write(frame(FRAME.settings, FLAG.ack, 0));
        break;
      case FRAME.headers:
        this.#ends = (flags & FLAG.endStream) !== 0;
        this.#block = [payload];
        if ((flags & FLAG.endHeaders) !== 0) this.#takeBlock(stream);
        break;
      case FRAME.continuation:
        this.#block.push(payload);
        if ((flags & FLAG.endHeaders) !== 0) this.#takeBlock(stream);
        break;
      case FRAME.data: {
        const answer = this.answer(stream);
        answer.body += payload.latin1Slice(0, payload.length);
        answer.ended = (flags & FLAG.endStream) !== 0;
        this.received += payload.length;
        if (this.credits && payload.length > 0)
          this.write(
            windowUpdate(0, payload.length),
            ...(answer.ended ? [] : [windowUpdate(stream, payload.length)]),
          );
        break;
      }
      case FRAME.rstStream:
        this.answer(stream).reset = nameOf(payload.readUInt32BE(0));
        break;
      case FRAME.goAway:
        this.goAway = nameOf(payload.readUInt32BE(4));
        this.goAways.push([payload.readUInt32BE(0), this.goAway]);
        this.debug = payload.toString('latin1', 8);
    }
  }

  /** RFC 9113 §5.1: what a server may say on a stream. */
  #judge({ type, flags, stream, payload }: Came): void {
    const answer = this.answer(stream);
    const what = FRAME_NAMES.get(type) ?? type;
    if (answer.reset !== undefined) this.wrongs.push(`${what} behind the reset of stream ${stream}`);
    if (answer.ended && type !== FRAME.rstStream && type !== FRAME.windowUpdate)
      this.wrongs.push(`${what} behind the end of stream ${stream}`);
    if (answer.ended && type === FRAME.rstStream && payload.readUInt32BE(0) !== ERROR.noError)
      this.wrongs.push(`an error behind the end of stream ${stream}`);
    if (type === FRAME.data && answer.status === 0)
      this.wrongs.push(`DATA before HEADERS on stream ${stream}`);
    if (type === FRAME.data && payload.length === 0 && (flags & FLAG.endStream) === 0)
      this.wrongs.push(`DATA that says nothing on stream ${stream}`);
  }

  #takeBlock(stream: number): void {
    const fields = decode(this.#decoder, Buffer.concat(this.#block));
    if (typeof fields === 'string') {
      this.wrongs.push(`a block of fields that nobody can read: ${fields}`);
      return;
    }
    const answer = this.answer(stream);
    const texts: Record<string, string> = {};
    for (const [name, value] of fields) {
      if (name !== name.toLowerCase()) this.wrongs.push(`a name in capital letters: ${name}`);
      texts[name] = texts[name] === undefined ? value : `${texts[name]}, ${value}`;
    }
    if (answer.status >= 200) answer.trailers = texts;
    else {
      const status = Number(texts[':status']);
      if (status < 200) answer.interim.push(status);
      else answer.status = status;
      answer.fields = texts;
    }
    answer.ended = this.#ends;
  }

  /** What has come on a stream up to now. */
  answer(stream: number): Answer {
    let answer = this.answers.get(stream);
    if (answer === undefined) {
      answer = {
        status: 0,
        fields: {},
        interim: [],
        body: '',
        trailers: undefined,
        ended: false,
        reset: undefined,
      };
      this.answers.set(stream, answer);
    }
    return answer;
  }

  write(...frames: readonly (Buffer | string)[]): void {
    const bytes = frames.map((it) => (typeof it === 'string' ? Buffer.from(it, 'latin1') : it));
    if (this.socket.writable) this.socket.write(Buffer.concat(bytes));
  }

  /** Resolves once what came fulfils the condition, or the connection is over. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition() && !this.ended) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** The answer on a stream, complete or cut off. */
  async answered(stream: number): Promise<Answer> {
    const answer = this.answer(stream);
    await this.until(() => answer.ended || answer.reset !== undefined);
    return answer;
  }

  /** Bytes that came of a frame that is not complete. */
  get pending(): number {
    return this.#bytes.length;
  }

  /** Bytes that a stream may have sent up to now. */
  credited(stream: number): number {
    return this.frames
      .filter((it) => it.type === FRAME.windowUpdate && it.stream === stream)
      .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), WINDOW_BYTES);
  }

  /** Sends data on a new stream for as long as its window lasts and opens again; what it leads to should not read. */
  async fill(stream: number): Promise<void> {
    let sent = 0;
    for (let quiet = 0; quiet < 10; quiet++) {
      for (; this.credited(stream) - sent >= FRAME_BYTES; sent += FRAME_BYTES, quiet = 0)
        this.write(data(stream, Buffer.alloc(FRAME_BYTES)));
      await this.settle();
    }
  }

  /** All that was written before has been read. */
  async settle(): Promise<void> {
    const text = String(this.#settled++).padStart(8, 's');
    this.write(ping(text));
    await this.until(() =>
      this.frames.some(({ type, payload }) => type === FRAME.ping && payload.toString() === text),
    );
  }
  #settled = 0;

  /** Resolves once lbd has ended the connection. */
  async end(): Promise<void> {
    await this.until(() => false);
  }

  count(type: number, stream?: number): number {
    return this.frames.filter((it) => it.type === type && (stream === undefined || it.stream === stream))
      .length;
  }

  /** In one line, for a message. */
  get story(): string {
    return this.frames
      .map(({ type, stream, payload }) => `${FRAME_NAMES.get(type) ?? type}(${stream}, ${payload.length})`)
      .join(' ');
  }
}

function nameOf(code: number): string {
  return ERROR_NAMES.get(code) ?? String(code);
}

/** `protocols: [h2]` in the clear, before one origin whose answer the test may change. */
export class Served {
  reply: Reply = answering;
  readonly t: Test;
  readonly origin: RawOrigin;
  readonly plane: Plane;

  private constructor(t: Test, origin: RawOrigin, plane: Plane) {
    this.t = t;
    this.origin = origin;
    this.plane = plane;
  }

  /** @param protocols of the frontend */
  static async start(t: Test, own: Settings = {}, protocols = 'h2'): Promise<Served> {
    let served: Served | undefined;
    const origin = await RawOrigin.start(t, (socket, text, connection) =>
      served!.reply(socket, text, connection),
    );
    const config = yaml([origin.port], own).replace('mode: http', `mode: http, protocols: [${protocols}]`);
    served = new Served(t, origin, await Plane.start(t, config));
    return served;
  }

  open(...pairs: readonly (readonly [id: number, value: number])[]): Promise<Http2Client> {
    return Http2Client.open(this.t, this.plane.port, ...pairs);
  }

  connect(): Promise<Http2Client> {
    return Http2Client.connect(this.t, this.plane.port);
  }

  /** What the origin has got, of all connections. */
  get got(): string {
    return this.origin.received.join('');
  }

  /** A client that keeps to the rules is answered, on a connection of its own. */
  async stillServes(): Promise<boolean> {
    const client = await this.open();
    client.write(headers(1, GET));
    const { status, body, ended } = await client.answered(1);
    client.socket.destroy();
    return status === 200 && body === 'ok' && ended;
  }

  /**
   * Resolves once nothing is left of any client: of the connections that are open, each is one to the origin.
   *
   * @param clients are gone from now on. An end alone would leave what they have asked for to be answered
   */
  async emptied(...clients: readonly Http2Client[]): Promise<void> {
    for (const { socket } of clients) socket.resetAndDestroy();
    const upstreams = () => this.origin.received.filter((text) => !/<(close|reset)>$/.test(text)).length;
    while (this.plane.plane.open > upstreams() || this.plane.active > 0) await new Promise(setImmediate);
  }
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Answers each head but those of `/hold`, whatever follows it. */
function answering(socket: net.Socket, text: string): void {
  for (const [, path] of text.matchAll(/[A-Z]+ (\S+) HTTP\/1\.1\r\n(?:[^\r\n]+\r\n)*\r\n/g))
    if (path !== '/hold') socket.write(OK);
}

export { ERROR, FLAG, FRAME, PREFACE, SETTING };

/** What a client does, and what becomes of it. */
export type Rule = readonly [name: string, expected: string, ...frames: readonly (Buffer | string)[]];

/** Of a stream that no rule uses. */
const NEXT = 9001;

/**
 * Sends the frames of each rule, behind the preface and SETTINGS, on a connection of its own, and looks at what comes:
 * `connection CODE`; `stream ID CODE`; `answer ID STATUS`; `ignored`. Unless the connection is over it then serves the next
 * request; and the next connection is served in any case.
 *
 * @param isRaw the frames of a rule are all that is sent
 */
export function holdRules(t: Test, rules: readonly Rule[], own: Settings = {}, isRaw = false): void {
  let served: Served;
  t.before(async () => {
    served = await Served.start(t, own);
  });
  for (const [name, expected, ...frames] of rules)
    t.test(`${name}: ${expected}`, async (t) => {
      const client = await (isRaw ? served.connect() : served.open());
      client.write(...frames);
      t.equal(await outcome(client, expected), expected, client.story);
      t.same(client.wrongs, []);
      if (!expected.startsWith('connection')) {
        client.write(headers(NEXT, GET));
        t.match(
          await client.answered(NEXT),
          { status: 200, body: 'ok', ended: true },
          'the connection goes on',
        );
      }
      t.notMatch(served.got, /evil|x: y|z: z/, 'no line is of the client’s making');
      t.ok(await served.stillServes(), 'the next connection is served');
      await served.emptied(client);
    });
}

async function outcome(client: Http2Client, expected: string): Promise<string> {
  const [scope, id] = expected.split(' ');
  if (scope === 'answer') await client.answered(Number(id));
  else await client.settle();
  if (client.goAway !== undefined) {
    await client.end();
    return `connection ${client.goAway}`;
  }
  if (client.ended) return 'connection ended';
  for (const [stream, { status, ended, reset }] of client.answers) {
    if (ended) return `answer ${stream} ${status}`;
    if (reset !== undefined) return `stream ${stream} ${reset}`;
  }
  return 'ignored';
}
