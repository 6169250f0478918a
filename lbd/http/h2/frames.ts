import type { Message } from '../message.ts';

/** RFC 9113 §6, RFC 9218 §7.1 */
export const FRAME = {
  data: 0x0,
  headers: 0x1,
  priority: 0x2,
  rstStream: 0x3,
  settings: 0x4,
  pushPromise: 0x5,
  ping: 0x6,
  goAway: 0x7,
  windowUpdate: 0x8,
  continuation: 0x9,
  priorityUpdate: 0x10,
} as const;

export const FLAG = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** RFC 9113 §7 */
export const ERROR = {
  noError: 0x0,
  protocol: 0x1,
  internal: 0x2,
  flowControl: 0x3,
  streamClosed: 0x5,
  frameSize: 0x6,
  refusedStream: 0x7,
  cancel: 0x8,
  compression: 0x9,
  enhanceYourCalm: 0xb,
  http11Required: 0xd,
} as const;
export type ErrorCode = (typeof ERROR)[keyof typeof ERROR];

/** By number. */
const ERROR_NAMES = [
  ...['NO_ERROR', 'PROTOCOL_ERROR', 'INTERNAL_ERROR', 'FLOW_CONTROL_ERROR', 'SETTINGS_TIMEOUT'],
  ...['STREAM_CLOSED', 'FRAME_SIZE_ERROR', 'REFUSED_STREAM', 'CANCEL', 'COMPRESSION_ERROR', 'CONNECT_ERROR'],
  ...['ENHANCE_YOUR_CALM', 'INADEQUATE_SECURITY', 'HTTP_1_1_REQUIRED'],
];

/** For people; any number may come. */
export function errorName(code: number): string {
  return ERROR_NAMES[code] ?? `error ${code}`;
}

/** RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1 */
export const SETTING = {
  headerTableSize: 0x1,
  enablePush: 0x2,
  maxConcurrentStreams: 0x3,
  initialWindowSize: 0x4,
  maxFrameSize: 0x5,
  maxHeaderListSize: 0x6,
  enableConnectProtocol: 0x8,
  noRfc7540Priorities: 0x9,
} as const;

/** Of the header of a frame. */
export const HEADER_BYTES = 9;
/** The least that `SETTINGS_MAX_FRAME_SIZE` may be, and what it is as long as nobody says anything. */
export const FRAME_BYTES = 16_384;
/** What flow control gives as long as nobody says anything. */
export const WINDOW_BYTES = 65_535;
/** What flow control can give at most. */
export const MAX_WINDOW_BYTES = 2 ** 31 - 1;
export const MAX_STREAM_ID = 2 ** 31 - 1;

/** Of a PRIORITY frame, and of what a HEADERS frame may have of the same (RFC 9113 §6.2). */
export const PRIORITY_BYTES = 5;

/** What a client says first (RFC 9113 §3.4). */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** Writes the header of a frame, behind which its payload is due. @param length of the payload */
export function writeFrameHeader(
  out: Message,
  length: number,
  type: number,
  flags: number,
  stream: number,
): void {
  const at = out.room(HEADER_BYTES);
  const { bytes } = out;
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + 4] = flags;
  writeUint32(bytes, at + 5, stream);
}

/** Writes a frame whose payload is one number: RST_STREAM, WINDOW_UPDATE. */
export function writeNumberFrame(out: Message, type: number, stream: number, value: number): void {
  writeFrameHeader(out, 4, type, 0, stream);
  const at = out.room(4);
  writeUint32(out.bytes, at, value);
}

/** @param debug for people, ASCII */
export function writeGoAway(out: Message, lastStream: number, code: ErrorCode, debug: string): void {
  writeFrameHeader(out, 8 + debug.length, FRAME.goAway, 0, 0);
  const at = out.room(8);
  writeUint32(out.bytes, at, lastStream);
  writeUint32(out.bytes, at + 4, code);
  out.text(debug);
}

/** @param settings pairs of `SETTING` and value */
export function writeSettings(
  out: Message,
  settings: readonly (readonly [id: number, value: number])[],
): void {
  writeFrameHeader(out, 6 * settings.length, FRAME.settings, 0, 0);
  for (const [id, value] of settings) {
    const at = out.room(6);
    out.bytes[at] = id >>> 8;
    out.bytes[at + 1] = id;
    writeUint32(out.bytes, at + 2, value);
  }
}

/** Writes a block of fields: one HEADERS, and what does not fit into it in CONTINUATIONs. @param most payload of a frame that the peer takes */
export function writeBlock(out: Message, block: Message, stream: number, ends: boolean, most: number): void {
  const end = block.length;
  let at = 0;
  let type: number = FRAME.headers;
  do {
    const length = Math.min(most, end - at);
    const isLast = at + length === end;
    const flags = (isLast ? FLAG.endHeaders : 0) | (ends && type === FRAME.headers ? FLAG.endStream : 0);
    writeFrameHeader(out, length, type, flags, stream);
    out.copy(block.bytes, at, at + length);
    at += length;
    type = FRAME.continuation;
  } while (at < end);
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}
