let second = -1;
let line = '';

/** `Date` of an answer, as IMF-fixdate (RFC 9110 §5.6.7), with its CRLF. Made once a second. */
export function dateLine(): string {
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) {
    second = now;
    line = `Date: ${new Date(now * 1000).toUTCString()}\r\n`;
  }
  return line;
}
