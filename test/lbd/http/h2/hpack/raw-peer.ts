import { type Duplex, duplexPair } from 'node:stream';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const TYPE = { headers: 1, settings: 4, continuation: 9 };
const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 };
const HEADER_TABLE_SIZE = 1;
const MAX_FRAME = 16_384;

/** One side of an HTTP/2 connection that knows header blocks as bytes, and little else. */
export class RawPeer {
  /** For node:http2. */
  readonly other: Duplex;
  /** A message has come, with nothing but its fields. */
  onBlock: (stream: number, block: Buffer) => void = () => {};
  /** The other side has said how large a table it keeps, and knows that this side knows. */
  onTableSize: (bytes: number) => void = () => {};
  readonly #own: Duplex;
  #waiting: Buffer;
  #prefaceLeft: number;
  #fragments: Buffer[] = [];

  /** @param tableSize SETTINGS_HEADER_TABLE_SIZE */
  constructor(role: 'client' | 'server', tableSize: number) {
    [this.#own, this.other] = duplexPair();
    this.#waiting = Buffer.alloc(0);
    this.#prefaceLeft = role === 'server' ? PREFACE.length : 0;
    if (role === 'client') this.#own.write(PREFACE);
    const setting = Buffer.alloc(6);
    setting.writeUInt16BE(HEADER_TABLE_SIZE);
    setting.writeUInt32BE(tableSize, 2);
    this.#frame(TYPE.settings, 0, 0, setting);
    this.#own.on('data', (bytes: Buffer) => this.#read(bytes));
  }

  /** Sends a message without a body. */
  send(stream: number, block: Buffer): void {
    for (let at = 0; at === 0 || at < block.length; at += MAX_FRAME)
      this.#frame(
        at === 0 ? TYPE.headers : TYPE.continuation,
        (at === 0 ? FLAG.endStream : 0) | (at + MAX_FRAME >= block.length ? FLAG.endHeaders : 0),
        stream,
        block.subarray(at, at + MAX_FRAME),
      );
  }

  end(): void {
    this.#own.end();
  }

  #frame(type: number, flags: number, stream: number, payload: Buffer): void {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    this.#own.write(Buffer.concat([head, payload]));
  }

  #read(bytes: Buffer): void {
    this.#waiting = Buffer.concat([this.#waiting, bytes]);
    if (this.#waiting.length < this.#prefaceLeft) return;
    this.#waiting = this.#waiting.subarray(this.#prefaceLeft);
    this.#prefaceLeft = 0;
    while (this.#waiting.length >= 9) {
      const end = 9 + this.#waiting.readUIntBE(0, 3);
      if (this.#waiting.length < end) return;
      const [frame, rest] = [this.#waiting.subarray(0, end), this.#waiting.subarray(end)];
      this.#waiting = rest;
      this.#take(frame[3]!, frame[4]!, frame.readUInt32BE(5), frame.subarray(9));
    }
  }

  #take(type: number, flags: number, stream: number, payload: Buffer): void {
    if (type === TYPE.settings && (flags & FLAG.ack) === 0) {
      this.#frame(TYPE.settings, FLAG.ack, 0, Buffer.alloc(0));
      for (let at = 0; at < payload.length; at += 6)
        if (payload.readUInt16BE(at) === HEADER_TABLE_SIZE) this.onTableSize(payload.readUInt32BE(at + 2));
    }
    if (type !== TYPE.headers && type !== TYPE.continuation) return;
    const headers = type === TYPE.headers ? flags : 0;
    const padding = (headers & FLAG.padded) !== 0 ? payload[0]! : 0;
    const start = ((headers & FLAG.padded) !== 0 ? 1 : 0) + ((headers & FLAG.priority) !== 0 ? 5 : 0);
    this.#fragments.push(payload.subarray(start, payload.length - padding));
    if ((flags & FLAG.endHeaders) === 0) return;
    const block = Buffer.concat(this.#fragments);
    this.#fragments = [];
    this.onBlock(stream, block);
  }
}
