import { COLON, CR, FIELD_VALUE, HEX, LF, SEMICOLON, TOKEN } from './grammar.ts';
import { passesTrailer } from './trailers.ts';

const SIZE = 0;
const EXTENSION = 1;
const SIZE_LF = 2;
const DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
const TRAILER_START = 6;
const TRAILER_NAME = 7;
const TRAILER_VALUE = 8;
const TRAILER_LF = 9;
const END_LF = 10;
const DONE = 11;

/** Bytes of chunk extensions, and of trailers, that a whole body may have: nobody needs many. */
const MAX_EXTENSION_BYTES = 4096;
const MAX_TRAILER_BYTES = 8192;
/** 8 hexadecimal digits: 4 GiB a chunk. */
const MAX_SIZE_DIGITS = 8;

/**
 * Takes a chunked body apart (RFC 9112 §7.1): exact CRLF, bounded sizes; extensions are dropped.
 * One instance a body; `feed` may be given any split of it.
 */
export class ChunkDecoder {
  #state = SIZE;
  #left = 0;
  #digits = 0;
  #dropped = 0;
  /** Where `feed` put the data, and how much of it there is. */
  dataStart = 0;
  dataLength = 0;
  fault = '';
  /** Trailers to pass on, each with its CRLF, as they came (RFC 9110 §6.5); complete once the body is. */
  trailers = '';
  readonly #reserved: ReadonlySet<string> | undefined;
  #name = '';
  #value = '';

  /** @param reserved trailers that no client may send, see `passesTrailer` */
  constructor(reserved?: ReadonlySet<string>) {
    this.#reserved = reserved;
  }

  get done(): boolean {
    return this.#state === DONE;
  }

  /**
   * Reads on. Data of several chunks is moved together in place, so that it can be sent on in one piece; it is
   * then at `dataStart`, `dataLength` bytes.
   *
   * @returns offset of the first byte that does not belong to the body (`end` while it goes on), or -1: `fault`
   *   says why
   */
  feed(buffer: Buffer, start: number, end: number): number {
    let p = start;
    let write = -1;
    this.dataLength = 0;
    while (p < end) {
      switch (this.#state) {
        case DATA: {
          const take = Math.min(this.#left, end - p);
          if (write < 0) this.dataStart = write = p;
          else buffer.copyWithin(write, p, p + take);
          write += take;
          this.dataLength += take;
          p += take;
          this.#left -= take;
          if (this.#left === 0) this.#state = DATA_CR;
          break;
        }
        case DONE:
          return p;
        default:
          if (!this.#byte(buffer[p++]!)) return -1;
      }
    }
    return p;
  }

  /** One byte of framing. */
  #byte(byte: number): boolean {
    switch (this.#state) {
      case SIZE: {
        const digit = HEX[byte]!;
        if (digit !== 255) {
          if (++this.#digits > MAX_SIZE_DIGITS) return this.#fail('chunk size too large');
          this.#left = this.#left * 16 + digit;
          return true;
        }
        if (this.#digits === 0) return this.#fail('invalid chunk size');
        // White space, which RFC 9112 §7.1.1 bears before an extension, is read in several ways: refused.
        if (byte === CR) this.#state = SIZE_LF;
        else if (byte === SEMICOLON) this.#state = EXTENSION;
        else return this.#fail('invalid chunk size');
        return true;
      }
      case EXTENSION:
        if (byte === CR) this.#state = SIZE_LF;
        else if (FIELD_VALUE[byte] !== 1) return this.#fail('invalid chunk extension');
        else if (++this.#dropped > MAX_EXTENSION_BYTES) return this.#fail('chunk extensions too large');
        return true;
      case SIZE_LF:
        if (byte !== LF) return this.#fail('bare carriage return in chunked body');
        this.#digits = 0;
        if (this.#left > 0) this.#state = DATA;
        else {
          this.#state = TRAILER_START;
          this.#dropped = 0;
        }
        return true;
      case DATA_CR:
        this.#state = DATA_LF;
        return byte === CR || this.#fail('chunk longer than its size');
      case DATA_LF:
        this.#state = SIZE;
        return byte === LF || this.#fail('bare carriage return in chunked body');
      case TRAILER_START:
        if (byte === CR) {
          this.#state = END_LF;
          return true;
        }
        this.#state = TRAILER_NAME;
        this.#name = String.fromCharCode(byte);
        this.#value = '';
        return this.#trailer(byte, TOKEN);
      case TRAILER_NAME:
        if (byte !== COLON) {
          this.#name += String.fromCharCode(byte);
          return this.#trailer(byte, TOKEN);
        }
        this.#state = TRAILER_VALUE;
        return true;
      case TRAILER_VALUE:
        if (byte !== CR) {
          this.#value += String.fromCharCode(byte);
          return this.#trailer(byte, FIELD_VALUE);
        }
        this.#state = TRAILER_LF;
        return true;
      case TRAILER_LF:
        this.#state = TRAILER_START;
        if (passesTrailer(this.#name, this.#reserved)) this.trailers += `${this.#name}:${this.#value}\r\n`;
        this.#dropped += ': \r\n'.length;
        return byte === LF || this.#fail('bare carriage return in chunked body');
      default:
        this.#state = DONE;
        return byte === LF || this.#fail('bare carriage return in chunked body');
    }
  }

  #trailer(byte: number, allowed: Uint8Array): boolean {
    if (allowed[byte] !== 1) return this.#fail('invalid byte in a trailer');
    return ++this.#dropped <= MAX_TRAILER_BYTES || this.#fail('trailers too large');
  }

  #fail(fault: string): false {
    this.fault = fault;
    return false;
  }
}
