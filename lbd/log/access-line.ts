import type { AccessLogConfig } from '../../common/access-log-config.ts';
import type { AccessFields } from './access-fields.ts';

/** What a client may put into a line; the rest is cut off. */
const MAX_TARGET_CHARS = 4096;
const MAX_FIELD_CHARS = 512;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
/** All but what may stand between quotes in any of the formats. */
const UNSAFE = /[^\x20\x21\x23-\x5b\x5d-\x7e]/g;

type Encode = (char: string) => string;

/** The line of a request or connection that is over, with its line feed. ASCII, whatever the client sent. */
export function accessLine(record: AccessFields, format: AccessLogConfig['format']): string {
  const nowMs = Date.now();
  return format === 'json'
    ? json(record, isoTime(nowMs))
    : ncsa(record, clfTime(nowMs), format === 'combined');
}

/** RFC 8259. Keys in the order of events; those of a request are left out for a TCP connection. */
function json(record: AccessFields, time: string): string {
  const { http } = record;
  const asked = http
    ? `"method":"${quoted(record.method)}","host":"${quoted(record.host)}","target":"${quoted(record.target, MAX_TARGET_CHARS)}",` +
      `"protocol":"${record.protocol}","status":${record.status},`
    : '';
  const reason = record.reason === '' ? '' : `"reason":"${quoted(record.reason)}",`;
  const who = http
    ? `,"request_id":"${quoted(record.requestId)}","referer":"${quoted(record.referer)}","user_agent":"${quoted(record.userAgent)}"`
    : '';
  return (
    `{"time":"${time}","frontend":"${record.frontend}","client":"${record.client}",${asked}` +
    `"cause":"${record.cause}",${reason}"route":${record.route < 0 ? 'null' : record.route},"pool":"${record.pool}",` +
    `"backend":"${record.backend}","tries":${record.tries},"bytes_in":${record.bytesIn},"bytes_out":${record.bytesOut},` +
    `"tls_ms":${digits(record.tlsMs)},"head_ms":${digits(record.headMs)},"queue_ms":${digits(record.queueMs)},"connect_ms":${digits(record.connectMs)},` +
    `"first_byte_ms":${digits(record.firstByteMs)},"total_ms":${digits(record.totalMs)}${who}}\n`
  );
}

/** NCSA common log format, with the bytes behind the heads; combined adds Referer and User-Agent. */
function ncsa(record: AccessFields, time: string, combined: boolean): string {
  const { method, target, protocol } = record;
  const request =
    protocol === ''
      ? orDash(target)
      : `${escaped(method, byteEscape, MAX_FIELD_CHARS)} ${escaped(target, byteEscape, MAX_TARGET_CHARS)} ${protocol}`;
  const line = `${record.client} - - [${time}] "${request}" ${record.status} ${record.bytesOut - record.headsOut}`;
  return combined ? `${line} "${orDash(record.referer)}" "${orDash(record.userAgent)}"\n` : `${line}\n`;
}

function quoted(text: string, limit = MAX_FIELD_CHARS): string {
  return escaped(text, jsonEscape, limit);
}

function orDash(text: string): string {
  return text === '' ? '-' : escaped(text, byteEscape, MAX_FIELD_CHARS);
}

function escaped(text: string, encode: Encode, limit: number): string {
  const short = text.length > limit ? text.slice(0, limit) : text;
  return short.search(UNSAFE) < 0 ? short : short.replace(UNSAFE, encode);
}

/** A byte becomes the character of the same number; in which charset it was meant, nobody has said. */
function jsonEscape(char: string): string {
  return char === '"' || char === '\\' ? `\\${char}` : `\\u00${hex(char)}`;
}

/** As nginx and Apache do it. */
function byteEscape(char: string): string {
  return `\\x${hex(char).toUpperCase()}`;
}

function hex(char: string): string {
  return char.charCodeAt(0).toString(16).padStart(2, '0');
}

function digits(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** Of a busy worker, many lines have the same time. */
let isoMs = -1;
let iso = '';
let clfSecond = -1;
let clf = '';

function isoTime(nowMs: number): string {
  if (nowMs !== isoMs) iso = new Date(nowMs).toISOString();
  isoMs = nowMs;
  return iso;
}

function clfTime(nowMs: number): string {
  const second = Math.floor(nowMs / 1000);
  if (second !== clfSecond) clf = clfText(new Date(nowMs));
  clfSecond = second;
  return clf;
}

function clfText(date: Date): string {
  const day = `${two(date.getUTCDate())}/${MONTHS[date.getUTCMonth()]}/${date.getUTCFullYear()}`;
  return `${day}:${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())} +0000`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
