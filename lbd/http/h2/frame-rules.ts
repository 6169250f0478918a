import { ERROR, type ErrorCode, FLAG, FRAME, FRAME_BYTES, PRIORITY_BYTES } from './frames.ts';

/** What is wrong, and with what it ends. */
export interface Http2Fault {
  readonly code: ErrorCode;
  /** For people. */
  readonly why: string;
}

const fault = (code: ErrorCode, why: string): Http2Fault => ({ code, why });

const TOO_LARGE = fault(ERROR.frameSize, 'frame too large');
const DATA_ON_0 = fault(ERROR.protocol, 'DATA on stream 0');
const DATA_SIZE = fault(ERROR.frameSize, 'DATA too short');
const HEADERS_ON_0 = fault(ERROR.protocol, 'HEADERS on stream 0');
const HEADERS_SIZE = fault(ERROR.frameSize, 'HEADERS too short');
const PRIORITY_ON_0 = fault(ERROR.protocol, 'PRIORITY on stream 0');
const RESET_ON_0 = fault(ERROR.protocol, 'RST_STREAM on stream 0');
const RESET_SIZE = fault(ERROR.frameSize, 'RST_STREAM of another size');
const SETTINGS_ON_STREAM = fault(ERROR.protocol, 'SETTINGS on a stream');
const SETTINGS_SIZE = fault(ERROR.frameSize, 'SETTINGS of another size');
const PUSHED = fault(ERROR.protocol, 'PUSH_PROMISE, which is switched off');
const PING_ON_STREAM = fault(ERROR.protocol, 'PING on a stream');
const PING_SIZE = fault(ERROR.frameSize, 'PING of another size');
const GOAWAY_ON_STREAM = fault(ERROR.protocol, 'GOAWAY on a stream');
const GOAWAY_SIZE = fault(ERROR.frameSize, 'GOAWAY of another size');
const UPDATE_SIZE = fault(ERROR.frameSize, 'WINDOW_UPDATE of another size');
const PRIORITY_UPDATE_ON_STREAM = fault(ERROR.protocol, 'PRIORITY_UPDATE on a stream');
const PRIORITY_UPDATE_SIZE = fault(ERROR.frameSize, 'PRIORITY_UPDATE of another size');

/**
 * What the header of a frame tells that is wrong with it for the whole connection, whatever came before (RFC 9113 §6,
 * RFC 9218 §7.1).
 *
 * @param length of its payload
 */
export function frameFault(type: number, flags: number, id: number, length: number): Http2Fault | undefined {
  if (length > FRAME_BYTES) return TOO_LARGE;
  switch (type) {
    case FRAME.data:
      return id === 0 ? DATA_ON_0 : length < leastOf(flags & FLAG.padded) ? DATA_SIZE : undefined;
    case FRAME.headers:
      return id === 0 ? HEADERS_ON_0 : length < leastOf(flags) ? HEADERS_SIZE : undefined;
    case FRAME.priority:
      return id === 0 ? PRIORITY_ON_0 : undefined;
    case FRAME.rstStream:
      return length === 4 ? (id === 0 ? RESET_ON_0 : undefined) : RESET_SIZE;
    case FRAME.settings:
      if (id !== 0) return SETTINGS_ON_STREAM;
      return ((flags & FLAG.ack) === 0 ? length % 6 : length) === 0 ? undefined : SETTINGS_SIZE;
    case FRAME.pushPromise:
      return PUSHED;
    case FRAME.ping:
      return id === 0 ? (length === 8 ? undefined : PING_SIZE) : PING_ON_STREAM;
    case FRAME.goAway:
      return id === 0 ? (length >= 8 ? undefined : GOAWAY_SIZE) : GOAWAY_ON_STREAM;
    case FRAME.windowUpdate:
      return length === 4 ? undefined : UPDATE_SIZE;
    case FRAME.priorityUpdate:
      return id === 0 ? (length >= 4 ? undefined : PRIORITY_UPDATE_SIZE) : PRIORITY_UPDATE_ON_STREAM;
    default:
      // RFC 9113 §4.1: what is not known is ignored.
      return undefined;
  }
}

/** @returns bytes without which a frame with such flags cannot be read (RFC 9113 §4.2) */
function leastOf(flags: number): number {
  return ((flags & FLAG.padded) === 0 ? 0 : 1) + ((flags & FLAG.priority) === 0 ? 0 : PRIORITY_BYTES);
}
