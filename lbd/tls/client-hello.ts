import { isIP } from 'node:net';

/**
 * The name in a TLS ClientHello, read without taking part in the handshake (RFC 8446 sections 4.1.2 and 5.1,
 * RFC 6066 section 3). The same since SSL 3.0, so that it serves every version of TLS.
 */
export type Hello =
  | { readonly kind: 'more' }
  /** `serverName` is lower case; empty where the client names none. */
  | { readonly kind: 'hello'; readonly serverName: string }
  | { readonly kind: 'fault'; readonly fault: string };

/** A ClientHello with post-quantum key shares and a ticket takes 2 to 4 KiB; HAProxy reads 16 KiB as well. */
export const MAX_HELLO_BYTES = 16 * 1024;
/** Each byte that arrives costs one look at each record so far. */
const MAX_RECORDS = 64;

const RECORD_HEADER = 5;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
/** RFC 8446 section 5.1. */
const MAX_FRAGMENT = 1 << 14;
const SERVER_NAME = 0;
const HOST_NAME = 0;
/** Wider than a host name: some services have an underscore in theirs. */
const SERVER_NAME_TEXT = /^[a-z0-9_-][a-z0-9._-]{0,254}$/;

const MORE: Hello = { kind: 'more' };

/** @param bytes all that came so far: a prefix of what the client sends; at most `MAX_HELLO_BYTES` are looked at */
export function readClientHello(bytes: Uint8Array): Hello {
  let at = 0;
  let length = 0;
  let wanted = Number.POSITIVE_INFINITY;
  const fragments: Uint8Array[] = [];
  for (let records = 0; length < wanted; records++) {
    if (records === MAX_RECORDS) return fault('the ClientHello is in too many records');
    const header = readRecordHeader(bytes, at);
    if (typeof header !== 'number') return header;
    const start = at + RECORD_HEADER;
    const fragment = bytes.subarray(start, Math.min(start + header, bytes.length));
    fragments.push(fragment);
    length += fragment.length;
    at = start + header;
    if (wanted === Number.POSITIVE_INFINITY) {
      const size = messageSize(fragments, length);
      if (typeof size === 'object') return size;
      if (size !== undefined) wanted = size;
    }
    // The last record may not be complete, but the message in it.
    if (length < wanted && at > bytes.length) return bytes.length < MAX_HELLO_BYTES ? MORE : tooLarge();
  }
  const message = new Reader(fragments.length === 1 ? fragments[0]! : Buffer.concat(fragments), 4, wanted);
  return readMessage(message);
}

/** @returns length of the fragment, or why there is none */
function readRecordHeader(bytes: Uint8Array, at: number): number | Hello {
  const [type, major] = [bytes[at], bytes[at + 1]];
  if (type !== undefined && type !== HANDSHAKE) return fault('not a TLS handshake');
  if (major !== undefined && major !== 3) return fault('not a TLS record');
  if (bytes.length < at + RECORD_HEADER) return bytes.length < MAX_HELLO_BYTES ? MORE : tooLarge();
  const length = (bytes[at + 3]! << 8) | bytes[at + 4]!;
  if (length === 0 || length > MAX_FRAGMENT) return fault(`a TLS record of ${length} bytes`);
  return length;
}

/** @returns bytes of the whole message with its header; undefined: not known yet */
function messageSize(fragments: readonly Uint8Array[], length: number): number | undefined | Hello {
  if (fragments[0]![0] !== undefined && fragments[0]![0] !== CLIENT_HELLO)
    return fault('the handshake does not begin with a ClientHello');
  if (length < 4) return undefined;
  const head = fragments.length === 1 ? fragments[0]! : Buffer.concat(fragments);
  const size = 4 + ((head[1]! << 16) | (head[2]! << 8) | head[3]!);
  return size > MAX_HELLO_BYTES ? tooLarge() : size;
}

function readMessage(hello: Reader): Hello {
  hello.skip(2 + 32);
  hello.skip(hello.number(1));
  hello.skip(hello.number(2));
  hello.skip(hello.number(1));
  if (hello.broken) return fault('a malformed ClientHello');
  // SSL 3.0 and some TLS 1.0 clients have no extensions.
  if (hello.left === 0) return { kind: 'hello', serverName: '' };
  const extensions = hello.part(hello.number(2));
  if (hello.broken || hello.left > 0) return fault('a malformed ClientHello');
  let serverName: string | undefined;
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const extension = extensions.part(extensions.number(2));
    if (extensions.broken) return fault('a malformed extension');
    if (type !== SERVER_NAME) continue;
    if (serverName !== undefined) return fault('two server names');
    serverName = readServerName(extension);
    if (serverName === undefined) return fault('a malformed server name');
  }
  return { kind: 'hello', serverName: serverName ?? '' };
}

/** @returns undefined where it is malformed */
function readServerName(extension: Reader): string | undefined {
  const list = extension.part(extension.number(2));
  if (extension.broken || extension.left > 0) return undefined;
  let found: string | undefined;
  while (list.left > 0) {
    const type = list.number(1);
    const name = list.text(list.number(2));
    if (list.broken) return undefined;
    if (type !== HOST_NAME) continue;
    if (found !== undefined) return undefined;
    found = name.toLowerCase();
  }
  if (found === undefined) return undefined;
  // RFC 6066: an address is no name; such a client is one that names nobody.
  if (isIP(found) !== 0) return '';
  return SERVER_NAME_TEXT.test(found) ? found : undefined;
}

function fault(text: string): Hello {
  return { kind: 'fault', fault: text };
}

function tooLarge(): Hello {
  return fault(`a ClientHello of more than ${MAX_HELLO_BYTES} bytes`);
}

/** Walks over bytes; once it would leave them it is broken, and reads zeros. */
class Reader {
  broken = false;
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get left(): number {
    return this.broken ? 0 : this.#end - this.#at;
  }

  skip(count: number): number {
    const from = this.#at;
    if (count > this.left) this.broken = true;
    else this.#at += count;
    return from;
  }

  /** Big-endian, of 1 or 2 bytes. */
  number(size: 1 | 2): number {
    const at = this.skip(size);
    if (this.broken) return 0;
    return size === 1 ? this.#bytes[at]! : (this.#bytes[at]! << 8) | this.#bytes[at + 1]!;
  }

  part(length: number): Reader {
    const at = this.skip(length);
    return new Reader(this.#bytes, at, this.broken ? at : at + length);
  }

  text(length: number): string {
    const at = this.skip(length);
    return this.broken ? '' : Buffer.from(this.#bytes.subarray(at, at + length)).toString('latin1');
  }
}
