import { z } from 'zod';
import { hostPattern, integer, mapping, oneOrMore, parsed, port, text, token, yesNo } from './fields.ts';

/**
 * TLS in the config: what may be written, what it becomes. Files are named as they are written, relative to the
 * config file, because both nodes compare their configs and may keep them in different places; `lbd/tls/files.ts`
 * reads them.
 */

export interface CertificateFiles {
  /** PEM: the certificate, then the intermediates. */
  readonly cert: string;
  /** PEM; may be the same file. */
  readonly key: string;
}

export type TlsVersion = '1.2' | '1.3';

export interface ClientCertificateConfig {
  /** `optional`: a client without a certificate may enter; one with a bad certificate may not. */
  readonly mode: 'optional' | 'required';
  /** PEM file of the authorities that sign clients. */
  readonly ca: string;
  /** Field that tells the backend the subject, as written; clients cannot send it. */
  readonly header: string;
}

/** TLS ends here. */
export interface TerminationConfig {
  readonly mode: 'terminate';
  /** A list, or a directory of `NAME.crt` or `NAME.pem` with `NAME.key` or the key in the same file. */
  readonly certificates: readonly CertificateFiles[] | string;
  /** Name whose certificate a client without SNI, or with a name that nobody has, gets; undefined: the first one's. */
  readonly defaultName: string | undefined;
  readonly minVersion: TlsVersion;
  /** Most wanted first. */
  readonly alpn: readonly string[];
  readonly client: ClientCertificateConfig | undefined;
}

/** The ClientHello is read for its name; the bytes pass as they are. */
export interface PassthroughConfig {
  readonly mode: 'passthrough';
}

export type FrontendTlsConfig = TerminationConfig | PassthroughConfig;

export interface PoolTlsConfig {
  /** Whether the backend must prove who it is. */
  readonly verify: boolean;
  /** PEM file of the authorities that sign backends; undefined: those that Node trusts. */
  readonly ca: string | undefined;
  /** Name to ask for (SNI) and to find in the certificate; undefined: the backend's host name. */
  readonly serverName: string | undefined;
  /** What lbd shows to a backend that asks who it is. */
  readonly client: CertificateFiles | undefined;
}

export interface RedirectConfig {
  /** 301, 302, 307 or 308. */
  readonly status: number;
  readonly port: number;
}

const filePath = text(/^[^\0]{1,4095}$/, 'the path of a file, relative to this one');
const version = z
  .union([z.literal('1.2'), z.literal('1.3'), z.literal(1.2), z.literal(1.3)], { error: '"1.2" or "1.3"' })
  .transform((value) => String(value) as TlsVersion);
/** RFC 7301 section 3.1: 1 to 255 bytes; the printable ones are enough for every registered name. */
const protocol = text(/^[\x21-\x7e]{1,64}$/, 'a protocol name, such as http/1.1');

/** `frontends.X.tls` */
export const frontendTls = z.union(
  [
    z.literal('passthrough').transform((mode) => ({ mode })),
    mapping({
      certificates: z
        .union(
          [
            filePath,
            z
              .array(
                mapping({
                  cert: filePath.describe('PEM file: the certificate, then the intermediates.'),
                  key: filePath.describe('PEM file of its key; may be the same file.'),
                }),
                { error: 'a list of { cert, key }' },
              )
              .min(1, { error: 'at least one { cert, key }' })
              .max(1000, { error: 'at most 1000 certificates' }),
          ],
          { error: 'a list of { cert, key }, or the path of a directory' },
        )
        .meta({
          description:
            'Certificates, or a directory of `NAME.crt` or `NAME.pem` with `NAME.key` or the key in the same file. The name that a client asks for gets the exact certificate, else that of a wildcard, which stands for one label. A name may have one certificate of each kind of key (ECDSA, RSA). Files are looked at every second, and new ones are in force without a reload.',
          'x-example': '[{ cert: shop.crt, key: shop.key }]',
        }),
      default: hostPattern.optional().meta({
        description:
          'Name whose certificate clients get that ask for none, or for a name that no certificate has.',
        'x-default': 'that of the first certificate',
      }),
      min_version: version
        .prefault('1.2')
        .describe('Lowest version of TLS. Only suites with forward secrecy and authenticated encryption.'),
      alpn: z
        .array(protocol, { error: 'a list of protocol names' })
        .min(1, { error: 'at least one protocol name' })
        .max(16, { error: 'at most 16 protocol names' })
        .optional()
        .meta({
          description:
            'Protocols that are offered by ALPN (RFC 7301), most wanted first. Mode http has `protocols` for it.',
          'x-default': 'mode http: as `protocols`; mode tcp: none',
        }),
      client: mapping({
        mode: z
          .enum(['optional', 'required'])
          .default('required')
          .describe('`optional` lets in who shows no certificate, but nobody with a bad one.'),
        ca: filePath.describe('PEM file of the authorities that sign clients.'),
        header: token
          .default('X-Client-Subject')
          .describe(
            'Mode http: field that tells backends the subject of the certificate (RFC 4514). What clients send under this name is taken out, in all frontends.',
          ),
      })
        .optional()
        .meta({ description: 'Asks clients for a certificate.', 'x-default': 'not asked for' }),
    }).transform((terminate) => ({ mode: 'terminate' as const, ...terminate })),
  ],
  { error: '{ certificates: … } or passthrough' },
);

/** `pools.X.tls` */
export const poolTls = mapping({
  verify: yesNo
    .default(true)
    .describe('Whether a backend must prove who it is; `false` trusts whoever answers.'),
  ca: filePath.optional().meta({
    description: 'PEM file of the authorities that sign backends.',
    'x-default': 'those that Node trusts',
  }),
  server_name: text(/^[A-Za-z0-9._-]{1,253}$/, 'a host name')
    .optional()
    .meta({
      description: 'Name that is asked for (SNI) and must be in the certificate.',
      'x-default': 'the host of the backend',
    }),
  cert: filePath.optional().meta({
    description: 'PEM file of the certificate that lbd shows to backends that ask for one; with `key`.',
    'x-default': 'none',
  }),
  key: filePath.optional().meta({ description: 'PEM file of its key.', 'x-default': 'none' }),
});

const AGE = 'a time such as 180d or 1y, or { max_age, include_subdomains, preload }';
const UNIT_SECONDS = { s: 1, m: 60, h: 3600, d: 86_400, y: 31_536_000 } as const;
const age = parsed(AGE, (input) => {
  const [, count, unit] = /^(\d{1,9})([smhdy])$/.exec(input) ?? [];
  const seconds = Number(count) * UNIT_SECONDS[unit as keyof typeof UNIT_SECONDS];
  return seconds <= 10 * UNIT_SECONDS.y ? seconds : undefined;
});

/** `frontends.X.hsts`: becomes the value of Strict-Transport-Security (RFC 6797 section 6.1). */
export const hsts = z.union(
  [
    age.transform((seconds) => `max-age=${seconds}`),
    mapping({
      max_age: age.meta({
        description: 'How long browsers are to remember it, at most 10y.',
        'x-expected': 'a whole number with s, m, h, d or y',
      }),
      include_subdomains: yesNo.default(false).describe('Holds for all names below the host as well.'),
      preload: yesNo.default(false).describe('Says that browsers may have the host in their lists.'),
    }).transform(
      ({ max_age, include_subdomains, preload }) =>
        `max-age=${max_age}${include_subdomains ? '; includeSubDomains' : ''}${preload ? '; preload' : ''}`,
    ),
  ],
  { error: AGE },
);

const REDIRECT = 'https or { to: https, port: 443, status: 308 }';
const STATUS = '301, 302, 307 or 308';
/** `frontends.X.redirect` */
export const redirect = z.union(
  [
    z.literal('https', { error: REDIRECT }).transform((): RedirectConfig => ({ status: 308, port: 443 })),
    mapping({
      to: z.literal('https', { error: 'https' }).describe('Where to.'),
      port: port.default(443).describe('Port of the frontend with TLS, as clients see it.'),
      status: integer(301, 308)
        .refine((status) => [301, 302, 307, 308].includes(status), { error: STATUS })
        .default(308)
        .meta({ description: 'Status of the answer.', 'x-expected': STATUS }),
    }).transform(({ status, port }): RedirectConfig => ({ status, port })),
  ],
  { error: REDIRECT },
);

/** `match.sni` */
export const sni = oneOrMore(hostPattern, 'a host name or a list of them');

type FrontendTlsShape = z.output<typeof frontendTls>;
type PoolTlsShape = z.output<typeof poolTls>;

/** @param mode of the frontend: only HTTP has a protocol name of its own to offer */
export function frontendTlsOf(
  tls: FrontendTlsShape | undefined,
  mode: string,
): FrontendTlsConfig | undefined {
  if (tls === undefined || tls.mode === 'passthrough') return tls;
  return {
    mode: 'terminate',
    certificates: tls.certificates,
    defaultName: tls.default,
    minVersion: tls.min_version,
    alpn: tls.alpn ?? (mode === 'http' ? ['http/1.1'] : []),
    client: tls.client,
  };
}

export function poolTlsOf(tls: PoolTlsShape | undefined): PoolTlsConfig | undefined {
  if (tls === undefined) return undefined;
  const { verify, ca, server_name: serverName, cert, key } = tls;
  const client = cert === undefined || key === undefined ? undefined : { cert, key };
  return { verify, ca, serverName, client };
}
