import { createRequire } from 'node:module';

/** What a parser made of bytes. */
export interface Reading {
  /** Each message that was read whole: its start line and its body. */
  readonly messages: readonly string[];
  /** Why the rest was refused; empty where it was not. */
  readonly refused: string;
}

type HeadersComplete = (
  major: number,
  minor: number,
  headers: readonly string[] | undefined,
  method: number,
  url: string,
  status: number,
  reason: string,
  upgrade: boolean,
  keepAlive: boolean,
) => number;

interface NativeParser {
  initialize(type: number, resource: object): void;
  execute(bytes: Buffer): number | NodeJS.ErrnoException;
  finish(): undefined | NodeJS.ErrnoException;
  [handler: number]: unknown;
}

interface HttpCommon {
  readonly methods: readonly string[];
  readonly HTTPParser: {
    new (): NativeParser;
    readonly REQUEST: number;
    readonly RESPONSE: number;
    readonly kOnHeadersComplete: number;
    readonly kOnBody: number;
    readonly kOnMessageComplete: number;
  };
}

/** The parser under `node:http` itself (llhttp): a server and a socket for each message would take 50 times as long. */
const { HTTPParser, methods } = createRequire(import.meta.url)('node:_http_common') as HttpCommon;

const parser = new HTTPParser();
/** A return value of `kOnHeadersComplete`: no body follows; and: what follows is another protocol. */
const SKIP_BODY = 1;
const UPGRADE = 2;

export const METHODS: ReadonlySet<string> = new Set(methods);

function read(type: number, bytes: Buffer, onHead: HeadersComplete, nameOf: () => string): Reading {
  const messages: string[] = [];
  let body = '';
  parser.initialize(type, {});
  parser[HTTPParser.kOnHeadersComplete] = ((...args) => {
    body = '';
    return onHead(...args);
  }) satisfies HeadersComplete;
  parser[HTTPParser.kOnBody] = (part: Buffer) => {
    body += part.toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    messages.push(`${nameOf()} ${body}`);
  };
  const result = parser.execute(bytes);
  if (typeof result !== 'number') return { messages, refused: result.code ?? result.message };
  return { messages, refused: '' };
}

/** Requests as a Node server reads them, given in one piece; up to an upgrade or a `Connection: close`. */
export function readRequests(bytes: Buffer): Reading {
  let name = '';
  return read(
    HTTPParser.REQUEST,
    bytes,
    (_major, _minor, _headers, method, url, _status, _reason, upgrade) => {
      name = `${methods[method]} ${url}`;
      return upgrade ? UPGRADE : 0;
    },
    () => name,
  );
}

/**
 * Responses as a Node client reads them, given in one piece and then the end of the connection.
 *
 * @param toHead the request was HEAD
 */
export function readResponses(bytes: Buffer, toHead: boolean): Reading {
  let name = '';
  const reading = read(
    HTTPParser.RESPONSE,
    bytes,
    (_major, _minor, _headers, _method, _url, status) => {
      name = `${status}`;
      return status === 101 ? UPGRADE : toHead ? SKIP_BODY : 0;
    },
    () => name,
  );
  if (reading.refused !== '') return reading;
  // A body without a length is whole only now.
  const error = parser.finish();
  return error === undefined ? reading : { ...reading, refused: error.code ?? error.message };
}
