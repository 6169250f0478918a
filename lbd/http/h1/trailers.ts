import { hyphened } from '../../tls/client-identity.ts';

/**
 * Fields that mean something before a body has been read, and nothing behind it (RFC 9110 §6.5.1): framing, routing,
 * modifiers, authentication, controls and the format of content, and what a proxy says of a request. Who puts trailers
 * among the fields of the head would be told by them what nobody has looked at.
 */
const NEVER = new Set([
  ...['content-length', 'transfer-encoding', 'trailer', 'te', 'connection', 'keep-alive', 'upgrade', 'host'],
  ...['cache-control', 'expect', 'max-forwards', 'pragma', 'range', 'if-match', 'if-none-match', 'if-range'],
  ...['if-modified-since', 'if-unmodified-since', 'authorization', 'www-authenticate', 'authentication-info'],
  ...['cookie', 'set-cookie', 'age', 'date', 'expires', 'location', 'retry-after', 'vary', 'warning'],
  ...[
    'content-encoding',
    'content-type',
    'content-range',
    'content-location',
    'forwarded',
    'via',
    'cdn-loop',
  ],
  ...['x-request-id', 'x-real-ip', 'strict-transport-security'],
]);
const NEVER_STARTS = ['proxy-', 'x-forwarded-'];

/**
 * Whether a trailer is passed on. A name with `_` or `.` is the one with `-` to many applications.
 *
 * @param reserved names that no client may send, as of `ConnectionOptions.reserve`
 */
export function passesTrailer(name: string, reserved: ReadonlySet<string> | undefined): boolean {
  const plain = hyphened(name.toLowerCase());
  return (
    !NEVER.has(plain) &&
    reserved?.has(plain) !== true &&
    !NEVER_STARTS.some((start) => plain.startsWith(start))
  );
}
