import t, { type Test } from 'tap';
import { BODY } from '../../../../lbd/http/h1/body.ts';
import { ChunkDecoder } from '../../../../lbd/http/h1/chunked.ts';
import { RequestHead } from '../../../../lbd/http/h1/request-head.ts';
import { ResponseHead } from '../../../../lbd/http/h1/response-head.ts';
import { Message } from '../../../../lbd/http/message.ts';
import { random } from '../exchange.ts';
import { renderSent } from '../sent.ts';
import { mutate, REQUESTS, RESPONSES } from './mutations.ts';
import { METHODS, type Reading, readRequests, readResponses } from './node-parser.ts';

/**
 * The same bytes to our parser and to Node's own. What we let through and Node refuses, or reads otherwise, is
 * how requests are smuggled; where we are the stricter ones, nobody is harmed, but the rule must have a name.
 * What we send on must be read by Node as what we took it for, message by message. And a message in pieces must
 * be read as the whole one is.
 *
 * DIFFERENTIAL_CASES and DIFFERENTIAL_SEED make it longer or another one: 500000 cases of each kind take some 10 s.
 */
const CASES = Number(process.env.DIFFERENTIAL_CASES ?? 10_000);
const SEED = Number(process.env.DIFFERENTIAL_SEED ?? 1);
const MAX_FIELDS = 100;
/** The share of the cases that is also read byte by byte, which takes ten times as long. */
const BYTEWISE = 8;

/** Our reading, and what we send on. */
interface OurReading extends Reading {
  readonly sent: string;
  /** What is in `sent`, as Node has to read it. */
  readonly meant: readonly string[];
}

/** Takes a body of chunks apart. @returns offset behind it; -1: refused; 0: incomplete */
function readChunks(
  bytes: Buffer,
  start: number,
  next: () => number,
): { at: number; body: string; fault: string } {
  const chunks = new ChunkDecoder();
  let body = '';
  let at = start;
  // In random pieces, each in a buffer of its own, because the decoder moves data within it.
  while (!chunks.done && at < bytes.length) {
    const piece = Buffer.from(bytes.subarray(at, at + 1 + Math.floor(next() * 16)));
    const end = chunks.feed(piece, 0, piece.length);
    if (end < 0) return { at: -1, body, fault: chunks.fault };
    body += piece.latin1Slice(chunks.dataStart, chunks.dataStart + chunks.dataLength);
    at += end;
  }
  return { at: chunks.done ? at : 0, body, fault: '' };
}

function asChunks(body: string): string {
  return body === '' ? '0\r\n\r\n' : `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
}

const message = new Message(512);
const requestHead = new RequestHead(MAX_FIELDS);

function ourRequests(bytes: Buffer, next: () => number): OurReading {
  const messages: string[] = [];
  const meant: string[] = [];
  let sent = '';
  let at = 0;
  const reading = (refused: string) => ({ messages, refused, sent, meant });
  while (at < bytes.length) {
    const after = requestHead.parse(bytes, at, bytes.length, MAX_FIELDS);
    if (after < 0) return reading(requestHead.fault);
    if (after === 0) break;
    const { body: framing, contentLength, method, keepAlive, upgrade } = requestHead;
    const name = `${method} ${bytes.latin1Slice(at, after).trimStart().split(' ')[1]}`;
    renderSent(requestHead, message, 'id', 'backend:80');
    const rendered = message.toString();
    let body = '';
    at = after;
    if (framing === BODY.length) {
      if (at + contentLength > bytes.length) break;
      body = bytes.latin1Slice(at, at + contentLength);
      at += contentLength;
    } else if (framing === BODY.chunked) {
      const chunks = readChunks(bytes, at, next);
      if (chunks.at < 0) return reading(chunks.fault);
      if (chunks.at === 0) break;
      ({ at, body } = chunks);
    }
    messages.push(`${name} ${body}`);
    meant.push(`${rendered.split(' ', 2).join(' ')} ${body}`);
    sent += rendered + (framing === BODY.chunked ? asChunks(body) : body);
    if (!keepAlive || upgrade) break;
  }
  return reading('');
}

const responseHead = new ResponseHead(MAX_FIELDS);

function ourResponses(bytes: Buffer, toHead: boolean, next: () => number): OurReading {
  const messages: string[] = [];
  let sent = '';
  let at = 0;
  const reading = (refused: string) => ({ messages, refused, sent, meant: messages });
  while (at < bytes.length) {
    const after = responseHead.parse(bytes, at, bytes.length, MAX_FIELDS, toHead);
    if (after < 0) return reading(responseHead.fault);
    if (after === 0) break;
    const { body: framing, contentLength, status } = responseHead;
    const unframed = framing === BODY.chunked || framing === BODY.untilClose;
    responseHead.render(message, unframed ? 'Transfer-Encoding: chunked\r\n' : '', false, false);
    const rendered = message.toString();
    let body = '';
    at = after;
    if (framing === BODY.length) {
      if (at + contentLength > bytes.length) break;
      body = bytes.latin1Slice(at, at + contentLength);
    } else if (framing === BODY.untilClose) body = bytes.latin1Slice(at, bytes.length);
    else if (framing === BODY.chunked) {
      const chunks = readChunks(bytes, at, next);
      if (chunks.at < 0) return reading(chunks.fault);
      if (chunks.at === 0) break;
      ({ body } = chunks);
    }
    messages.push(`${status} ${body}`);
    sent += rendered + (unframed ? asChunks(body) : body);
    // What follows the answer is nobody's, and what follows a 101 is another protocol.
    if (status >= 200 || status === 101) break;
  }
  return reading('');
}

/** A rule, and the same message without what it is about: both parsers must then read it alike. */
type Tolerance = readonly [rule: string, without: (text: string) => string];

const DROPPED_EXTENSIONS: Tolerance = [
  'RFC 9112 §7.1.1: chunk extensions are dropped, whatever they say; Node looks at their grammar',
  (text) => text.replaceAll(/(\r\n[0-9A-Fa-f]+);[^\r\n]*(?=\r\n)/g, '$1'),
];
const DROPPED_TRAILERS: Tolerance = [
  'RFC 9110 §6.5.1: trailers of framing are dropped; Node refuses those',
  (text) => text.replaceAll(/(\r\n0+(?:;[^\r\n]*)?\r\n)(?:[^\r\n:]+:[^\r\n]*\r\n)+(?=\r\n)/g, '$1'),
];
const TRIMMED_CODING: Tolerance = [
  'RFC 9110 §5.5: white space behind a value is no part of it, HTAB too; the coding is sent on anew',
  (text) => text.replaceAll(/(\r\ntransfer-encoding:[ \t]*chunked)[ \t]+(?=\r\n)/gi, '$1'),
];

/** Where we let more through than Node, on purpose. */
const REQUEST_TOLERANCES: readonly Tolerance[] = [
  [
    'RFC 9112 §2.3: HTTP/1.2 and later are read as HTTP/1.1, and sent on as that',
    (text) => text.replaceAll(/ HTTP\/1\.[2-9]\r\n/g, ' HTTP/1.1\r\n'),
  ],
  [
    'RFC 9110 §7.8: an upgrade with a body, to HTTP/2 or in several lines is an ordinary request for us, sent on without',
    (text) =>
      /^(content-length|transfer-encoding):|^upgrade:.*\bh2c?\b/im.test(text) ||
      (text.match(/^upgrade:/gim)?.length ?? 0) > 1
        ? text.replaceAll(/^upgrade:[^\r\n]*\r\n/gim, '')
        : text,
  ],
  DROPPED_EXTENSIONS,
  DROPPED_TRAILERS,
  TRIMMED_CODING,
];

const RESPONSE_TOLERANCES: readonly Tolerance[] = [
  [
    'RFC 9112 §2.3: HTTP/1.2 and later are read as HTTP/1.1, and sent on as that',
    (text) => text.replaceAll(/HTTP\/1\.[2-9] /g, 'HTTP/1.1 '),
  ],
  [
    'RFC 9112 §5.1: white space before the colon is taken out of a response; Node refuses it',
    (text) => text.replaceAll(/(\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]+(?=:)/g, '$1'),
  ],
  [
    'RFC 9110 §15.2: a 1xx does not end its exchange, so what it says about the connection ends nothing',
    (text) => {
      const end = text.indexOf('\r\n\r\n') + 4;
      if (!/^HTTP\/1\.\d 1/.test(text)) return text;
      const interim = text.slice(0, end).replaceAll(/^connection:[^\r\n]*\r\n/gim, '');
      return `HTTP/1.1${interim.slice(8)}${text.slice(end)}`;
    },
  ],
  DROPPED_EXTENSIONS,
  DROPPED_TRAILERS,
  TRIMMED_CODING,
];

interface Side {
  readonly corpus: readonly string[];
  readonly tolerances: readonly Tolerance[];
  ours(bytes: Buffer, next: () => number, turn: number): OurReading;
  node(bytes: Buffer, turn: number): Reading;
  /** Result of our parser for the first head in so many bytes: see `parse`. */
  head(bytes: Buffer, end: number, turn: number): number;
  /** Node cannot judge this message: it knows fewer methods. */
  strange(message: string): boolean;
}

const isHead = (turn: number) => turn % 5 === 0;

const SIDES: Readonly<Record<string, Side>> = {
  requests: {
    corpus: REQUESTS,
    tolerances: REQUEST_TOLERANCES,
    ours: ourRequests,
    node: readRequests,
    head: (bytes, end) => requestHead.parse(bytes, 0, end, MAX_FIELDS),
    // RFC 9110 §9.1: a method is any token.
    strange: (message) => !METHODS.has(message.slice(0, message.indexOf(' '))),
  },
  responses: {
    corpus: RESPONSES,
    tolerances: RESPONSE_TOLERANCES,
    ours: (bytes, next, turn) => ourResponses(bytes, isHead(turn), next),
    node: (bytes, turn) => readResponses(bytes, isHead(turn)),
    head: (bytes, end, turn) => responseHead.parse(bytes, 0, end, MAX_FIELDS, isHead(turn)),
    strange: () => false,
  },
};

/** @returns how the readings differ to our disadvantage; empty: not at all */
function difference(side: Side, ours: OurReading, node: Reading, turn: number): string {
  const strange = ours.messages.findIndex(side.strange);
  const comparable = strange < 0 ? ours.messages : ours.messages.slice(0, strange);
  if (comparable.some((message, n) => node.messages[n] !== message)) return 'Node reads it otherwise';
  const ended = ours.messages.length > 0 && side.corpus === RESPONSES;
  if (strange < 0 && !ended && ours.refused === '' && node.messages.length > ours.messages.length)
    return 'Node reads more';
  const sent = side.node(Buffer.from(ours.sent, 'latin1'), turn);
  const meant = strange < 0 ? ours.meant : ours.meant.slice(0, strange);
  if (meant.some((message, n) => sent.messages[n] !== message)) return 'what we send on is read otherwise';
  if (strange < 0 && sent.messages.length !== meant.length) return 'we send on more than we took';
  return '';
}

/** @returns whether the first head is judged in pieces as it is as a whole */
function sameInPieces(side: Side, bytes: Buffer, turn: number): boolean {
  const whole = side.head(bytes, bytes.length, turn);
  let end = 1;
  let result = 0;
  for (; end <= bytes.length && result === 0; end++) result = side.head(bytes, end, turn);
  return result === whole;
}

function fuzz(t: Test, side: Side): void {
  const next = random(SEED);
  const differences: string[] = [];
  const stricter = new Map<string, number>();
  const tolerated = new Map<string, number>();
  let accepted = 0;
  for (let turn = 0; turn < CASES && differences.length < 5; turn++) {
    const seed = side.corpus[turn % side.corpus.length]!;
    const text = turn < side.corpus.length ? seed : mutate(seed, next);
    const bytes = Buffer.from(text, 'latin1');
    const ours = side.ours(bytes, next, turn);
    const node = side.node(bytes, turn);
    if (ours.messages.length > 0) accepted++;
    if (ours.refused !== '' && node.refused === '') count(stricter, ours.refused);
    if (turn % BYTEWISE === 0 && !sameInPieces(side, bytes, turn))
      differences.push(JSON.stringify({ how: 'in pieces', text }));
    const how = difference(side, ours, node, turn);
    if (how === '') continue;
    const rule = side.tolerances.find(([, without]) => {
      const plain = Buffer.from(without(text), 'latin1');
      return !plain.equals(bytes) && agree(side, plain, turn);
    });
    const all = Buffer.from(
      side.tolerances.reduce((plain, [, without]) => without(plain), text),
      'latin1',
    );
    if (rule !== undefined) count(tolerated, rule[0]);
    else if (!all.equals(bytes) && agree(side, all, turn)) count(tolerated, 'several of these');
    else differences.push(JSON.stringify({ how, text, ours, node }));
  }
  t.same(differences, []);
  t.ok(accepted > CASES / 10, `${accepted} had a message that we took`);
  for (const [rule, times] of tolerated) t.comment(`${times} × ${rule}`);
  for (const [fault, times] of stricter) t.comment(`${times} × stricter than Node: ${fault}`);
}

function agree(side: Side, bytes: Buffer, turn: number): boolean {
  const ours = side.ours(bytes, random(turn), turn);
  return difference(side, ours, side.node(bytes, turn), turn) === '';
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

for (const [name, side] of Object.entries(SIDES))
  t.test(`Node reads what we let through as we do: ${CASES} mutated ${name}, seed ${SEED}`, (t) => {
    fuzz(t, side);
    t.end();
  });
