import { z } from 'zod';
import { mapping, oneOrMore, regex, requestHost, text, token } from './fields.ts';
import type { TextMatch } from './model.ts';
import { sni } from './tls-config.ts';

/** The conditions of a route: what may be written, and what it becomes. */

const TEXT_EXPECTED = 'a text (exact), { exact: … }, { prefix: … }, { regex: … } or true (present)';
const PATH_EXPECTED = 'a path that starts with "/" (prefix), { prefix: /… }, { exact: /… } or { regex: … }';
const pathText = text(/^\//, 'a path that starts with "/"');

/** What stands in no path of a request, and what to write in its place. */
const NEVER_IN_PATH: readonly (readonly [found: RegExp, expected: string])[] = [
  [/\?/, 'a path without "?": the query is matched by `query`'],
  [/#/, 'a path without "#": what is behind it stays in the browser'],
  [/[\x00-\x1f\x7f]|\p{Surrogate}/u, 'a path without control characters'],
];
const STAR: (typeof NEVER_IN_PATH)[number] = [
  /\*/,
  'a path without "*": a prefix matches all that begins with it, such as "/api/"; { exact: … } and { regex: … } may have one',
];

/** A path that requests can have, as they have it: what is no plain ASCII is percent-encoded (RFC 3987 §3.1). */
function requestPath(never: typeof NEVER_IN_PATH) {
  return pathText.transform((path, ctx) => {
    const wrong = never.find(([found]) => found.test(path));
    if (wrong === undefined) return path.replaceAll(/[^\x21-\x7e]+/g, encodeURIComponent);
    ctx.issues.push({ code: 'custom', message: wrong[1], input: path });
    return z.NEVER;
  });
}
const exactPath = requestPath(NEVER_IN_PATH);
const prefixPath = requestPath([...NEVER_IN_PATH, STAR]);

const other = 'one of the three is required';
function textMatch(exact: z.ZodType<string>, prefix: z.ZodType<string>, expected: string) {
  return mapping({
    exact: exact.optional().meta({ description: 'It is this text.', 'x-default': other }),
    prefix: prefix.optional().meta({ description: 'It begins with this text.', 'x-default': other }),
    regex: regex.optional().meta({
      description:
        'It matches this regular expression, somewhere: `^` and `$` are yours to write. As in JavaScript without flags, in at most 512 characters, but for lookaround and backreferences: each is matched in time that grows with the length of the text alone. `(?i:…)` takes letters in any case.',
      'x-default': other,
      'x-example': '"^/users/[0-9]+$"',
    }),
  }).transform((input, ctx): TextMatch => {
    if (Object.keys(input).length === 1) {
      if (input.exact !== undefined) return { exact: input.exact };
      if (input.prefix !== undefined) return { prefix: input.prefix };
      if (input.regex !== undefined) return { regex: input.regex };
    }
    ctx.issues.push({ code: 'custom', message: expected, input });
    return z.NEVER;
  });
}

const pathMatch = z.union(
  [
    prefixPath.transform((prefix): TextMatch => ({ prefix })),
    textMatch(exactPath, prefixPath, PATH_EXPECTED),
  ],
  { error: PATH_EXPECTED },
);
const plainText = z.string({ error: 'a text' });
const valueMatch = z.union(
  [
    plainText.transform((exact): TextMatch => ({ exact })),
    z.literal(true).transform((present): TextMatch => ({ present })),
    textMatch(plainText, plainText, TEXT_EXPECTED),
  ],
  { error: TEXT_EXPECTED },
);

const any = 'any';

/** `frontends.X.routes[].match` */
export const match = mapping({
  host: oneOrMore(requestHost, 'a host name or a list of them').optional().meta({
    description:
      'The host that is asked for, without its port, in any case. `*.example.org` is every name below `example.org`, not that itself.',
    'x-default': any,
    'x-example': '[shop.example, "*.shop.example"]',
  }),
  sni: sni.optional().meta({
    description:
      'With `tls: passthrough` only, and the only condition there: the name in the ClientHello, as `host`.',
    'x-default': any,
  }),
  path: pathMatch.optional().meta({
    description:
      'The path, without the query. A text is a prefix. Compared as backends usually read it: escapes of plain characters decoded, `//` as `/`, dot segments taken out. The backend gets the path as it came.',
    'x-default': any,
    'x-example': '/api/',
  }),
  method: oneOrMore(
    token.transform((method) => method.toUpperCase()),
    'a method or a list of them',
  )
    .optional()
    .meta({ description: 'The method of the request.', 'x-default': any, 'x-example': '[GET, HEAD]' }),
  header: z.record(token, valueMatch, { error: 'a mapping of field names' }).optional().meta({
    description:
      'Fields of the request by name, in any case; repeated ones are joined by `, `. All must be as said: a text is the whole value, `true` any value.',
    'x-default': any,
    'x-example': '{ X-Beta: true, X-Tenant: { prefix: eu- } }',
  }),
  cookie: z.record(token, valueMatch, { error: 'a mapping of cookie names' }).optional().meta({
    description:
      'Cookies by name, whose case matters, with values as for `header`. Of two with one name the first one counts.',
    'x-default': any,
    'x-example': '{ plan: gold }',
  }),
  query: z.record(z.string().min(1), valueMatch, { error: 'a mapping of parameter names' }).optional().meta({
    description:
      'Parameters of the query by name, decoded, with values as for `header`. Of two with one name the first one counts.',
    'x-default': any,
    'x-example': '{ version: "2" }',
  }),
}).refine((conditions) => Object.keys(conditions).length > 0, {
  error: 'at least one of host, path, method, header, cookie, query, sni',
});
