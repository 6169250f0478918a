import { z } from 'zod';
import { isHostName } from './address.ts';
import { duration, integer, LONGEST_MS, mapping, parsed, text, token, yesNo } from './fields.ts';

/** What a client is stuck to in a pool: what may be written, what it becomes. */

/** How browsers keep the cookie that lbd inserts (RFC 6265 §4.1.2); undefined: as said below `pools.X.stick.cookie`. */
export interface CookieAttributes {
  readonly path?: string | undefined;
  readonly domain?: string | undefined;
  readonly sameSite?: 'strict' | 'lax' | 'none' | undefined;
  readonly secure?: boolean | 'auto' | undefined;
  readonly maxAgeMs?: number | undefined;
  /** The backend gets it, too. */
  readonly forward?: boolean | undefined;
}

export type StickConfig =
  /** lbd inserts a cookie that names the backend; nothing is stored. */
  | {
      readonly type: 'insert';
      readonly cookie: string;
      /** Undefined: nothing is said of them, as in the shorter form. */
      readonly attributes?: CookieAttributes | undefined;
    }
  /** The application's own cookie, learnt from its Set-Cookie; kept in the session table. */
  | { readonly type: 'learn'; readonly cookie: string; readonly expireMs: number }
  /** The client's address, of IPv6 so many leading bits of it; kept in the session table. */
  | { readonly type: 'source'; readonly expireMs: number; readonly prefix6: number };

const DEFAULT_EXPIRE_MS = 30 * 60_000;
/** What one client has of IPv6 addresses, as for `limits.per_source` (RFC 6177). */
const CLIENT_PREFIX6 = 64;
/** No browser keeps one for longer. */
const LONGEST_AGE_MS = 400 * 24 * 3_600_000;

const DEFAULTS: Readonly<Record<string, unknown>> = {
  path: '/',
  sameSite: 'lax',
  secure: 'auto',
  forward: false,
};

const cookie = mapping(
  {
    name: token.describe('Its name.'),
    path: text(/^\/[\x21-\x3a\x3c-\x7e]{0,254}$/, 'a path that starts with "/", ASCII without spaces and ";"')
      .optional()
      .meta({
        description: 'Browsers send an inserted one to this path and below.',
        'x-default': '`/`',
      }),
    domain: parsed('a host name, such as shop.example', (input) =>
      isHostName(input) ? input.toLowerCase() : undefined,
    )
      .optional()
      .meta({
        description: 'Browsers send an inserted one to this host and all below it.',
        'x-default': 'the host that was asked alone',
        'x-example': 'shop.example',
      }),
    same_site: z.enum(['strict', 'lax', 'none']).optional().meta({
      description:
        'Whether browsers send an inserted one with requests that other sites begin: never, with links, or always (`none`, over HTTPS only).',
      'x-default': '`lax`',
    }),
    secure: z
      .union([yesNo, z.literal('auto')], { error: 'true, false or auto' })
      .optional()
      .meta({
        description:
          'Whether browsers send an inserted one over HTTPS only. `auto`: where it was set over HTTPS.',
        'x-default': '`auto`',
      }),
    max_age: duration(1000, LONGEST_AGE_MS).optional().meta({
      description:
        'How long browsers keep an inserted one. It does not begin anew while the client stays with its backend.',
      'x-default': 'until the browser is closed',
    }),
    forward: yesNo.optional().meta({
      description: '`true`: an inserted one goes on to the backend, too.',
      'x-default': '`false`',
    }),
  },
  'SERVERID or { name: SERVERID, max_age: 8h }',
);

/** `pools.X.stick` */
export const stick = mapping({
  cookie: z
    .union([token.transform((name): z.output<typeof cookie> => ({ name })), cookie], {
      error: 'the name of a cookie, or a mapping with it',
    })
    .optional()
    .meta({
      description:
        'Mode http: a cookie. lbd inserts it with the name of the backend (`HttpOnly`), or learns it. A text is `name` alone.',
      'x-default': 'none; `source` is required then',
      'x-example': 'SERVERID',
    }),
  learn: yesNo.optional().meta({
    description:
      '`true`: the cookie is that of the application; who set it is kept in the session table, which both nodes share.',
    'x-default': '`false`',
  }),
  source: z.literal('ip', { error: 'ip' }).optional().meta({
    description: 'By the address of the client, kept in the session table, which both nodes share.',
    'x-default': 'none; `cookie` is required then',
  }),
  prefix6: integer(1, 128).optional().meta({
    description: 'With `source`: so many leading bits of an IPv6 address are one client.',
    'x-default': '`64`',
  }),
  expire: duration(1000, LONGEST_MS).optional().meta({
    description: 'With `source` or `learn`: after so long without a request of the client its entry goes.',
    'x-default': '`30m`',
  }),
});

type StickShape = z.output<typeof stick>;

/** @param shape that `checkTogether` takes */
export function stickOf(shape: StickShape | undefined): StickConfig | undefined {
  if (shape === undefined) return undefined;
  const expireMs = shape.expire ?? DEFAULT_EXPIRE_MS;
  if (shape.cookie === undefined)
    return { type: 'source', expireMs, prefix6: shape.prefix6 ?? CLIENT_PREFIX6 };
  const { name, ...attributes } = shape.cookie;
  if (shape.learn) return { type: 'learn', cookie: name, expireMs };
  const said = attributesOf(attributes);
  return { type: 'insert', cookie: name, ...(said && { attributes: said }) };
}

/** What is said and no default: whoever writes down a default has the same config as before. */
function attributesOf(shape: Omit<z.output<typeof cookie>, 'name'>): CookieAttributes | undefined {
  const { path, domain, same_site: sameSite, secure, max_age: maxAgeMs, forward } = shape;
  const all = { path, domain, sameSite, secure, maxAgeMs, forward };
  const said = Object.entries(all).filter(([key, value]) => value !== undefined && value !== DEFAULTS[key]);
  return said.length === 0 ? undefined : Object.fromEntries(said);
}
