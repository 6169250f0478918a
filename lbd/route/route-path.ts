/**
 * The path that routes are matched against. The target itself is forwarded as it came.
 *
 * Without this, `/public/../admin`, `/%61dmin` or `//admin` would pass a rule for `/admin` and yet be `/admin`
 * for the backend. So matching sees what the usual backend will make of it:
 * - percent-encoded unreserved characters are decoded (RFC 3986 §6.2.2.2; HAProxy `normalize-uri
 *   percent-decode-unreserved`), other escapes get upper case hexadecimal digits. `%2F` stays data, as in Envoy
 *   by default, and what is encoded twice is decoded once;
 * - a backslash counts as a slash (Envoy, IIS, and URL parsers of browsers);
 * - slashes in a row count as one (Envoy `merge_slashes`, nginx);
 * - `.` and `..` segments are removed, never above the root (RFC 3986 §5.2.4), also with parameters behind them
 *   as in `/a/..;x/b`, which Java servers resolve.
 *
 * What remains: a backend that decodes `%2F` or decodes twice can still see another path than the rule did.
 * Access control belongs to the backend; a route only picks its pool.
 */
export function matchedPath(path: string): string {
  if (path.length === 0) return '/';
  // Nearly all paths are plain; these searches cost a few nanoseconds.
  if (!path.includes('%') && !path.includes('\\') && !path.includes('//') && !path.includes('/.'))
    return path;
  // `*` of OPTIONS.
  if (path[0] !== '/' && path[0] !== '\\') return path;
  return removeDotSegments(plainPath(path));
}

/** Like `matchedPath`, but keeps dot segments: for a prefix in the config, such as `/.well-known` or `/.`. */
export function plainPath(path: string): string {
  return path
    .replaceAll(/%[0-9A-Fa-f]{2}/g, (encoded) => {
      const char = String.fromCharCode(Number.parseInt(encoded.slice(1), 16));
      return /[A-Za-z0-9\-._~]/.test(char) ? char : encoded.toUpperCase();
    })
    .replaceAll(/[\\/]+/g, '/');
}

function removeDotSegments(path: string): string {
  const kept: string[] = [];
  const segments = path.split('/');
  for (let at = 1; at < segments.length; at++) {
    const segment = segments[at]!;
    const name = segment.split(';', 1)[0];
    const last = at === segments.length - 1;
    if (name === '..') kept.pop();
    else if (name !== '.') {
      kept.push(segment);
      continue;
    }
    // `/a/..` and `/a/.` name a directory: the slash at the end stays.
    if (last) kept.push('');
  }
  return `/${kept.join('/')}`;
}
