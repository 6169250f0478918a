import { z } from 'zod';
import { hostPattern, mapping, oneOrMore, regex, text, token } from './fields.ts';
import type { TextMatch } from './model.ts';
import { sni } from './tls-config.ts';

/** The conditions of a route: what may be written, and what it becomes. */

const TEXT_EXPECTED = 'a text (exact), { exact: … }, { prefix: … }, { regex: … } or true (present)';
const PATH_EXPECTED = 'a path that starts with "/" (prefix), { prefix: /… }, { exact: /… } or { regex: … }';
const pathText = text(/^\//, 'a path that starts with "/"');
const other = 'one of the three is required';
function textMatch(plain: z.ZodString, expected: string) {
  return mapping({
    exact: plain.optional().meta({ description: 'It is this text.', 'x-default': other }),
    prefix: plain.optional().meta({ description: 'It begins with this text.', 'x-default': other }),
    regex: regex.optional().meta({
      description:
        'It matches this regular expression (of JavaScript, at most 512 characters), somewhere: `^` and `$` are yours to write.',
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
  [pathText.transform((prefix): TextMatch => ({ prefix })), textMatch(pathText, PATH_EXPECTED)],
  { error: PATH_EXPECTED },
);
const plainText = z.string({ error: 'a text' });
const valueMatch = z.union(
  [
    plainText.transform((exact): TextMatch => ({ exact })),
    z.literal(true).transform((present): TextMatch => ({ present })),
    textMatch(plainText, TEXT_EXPECTED),
  ],
  { error: TEXT_EXPECTED },
);

const any = 'any';

/** `frontends.X.routes[].match` */
export const match = mapping({
  host: oneOrMore(hostPattern, 'a host name or a list of them').optional().meta({
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
