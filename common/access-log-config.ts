import { z } from 'zod';
import { mapping, size, text, yesNo } from './fields.ts';

/** Formats of a line: JSON, and what web servers write (NCSA common, and combined, with Referer and User-Agent). */
export const ACCESS_FORMATS = ['json', 'common', 'combined'] as const;

export interface AccessLogConfig {
  /** Absolute path of the file; empty: standard output. */
  readonly path: string;
  readonly format: (typeof ACCESS_FORMATS)[number];
  /** Part of the requests that get a line, 0 to 1. What lbd answered itself gets one in any case. */
  readonly sample: number;
  /** Bytes after which the file is moved aside, whoever rotates it; see `AccessFile`. Standard output has no limit. */
  readonly maxBytes: number;
}

const MIN_BYTES = 1024 ** 2;
const MAX_BYTES = 1024 ** 4;
/** A flood fills twice this, at most. */
const DEFAULT_BYTES = 4 * 1024 ** 3;

const SAMPLE = 'a number from 0 to 1, such as 0.1 for a tenth';
const PATH = 'the absolute path of a file';

/** As in the file; `false` in a frontend: none, although there is one for all. */
export const accessLog = z.union(
  [
    z.literal(false),
    mapping({
      path: text(/^\/[^\0]{1,4095}$/, PATH)
        .optional()
        .meta({
          description: 'The file. It is opened anew at a SIGUSR2 to lbd.',
          'x-default': 'none; `stdout: true` is required then',
          'x-example': '/var/log/tandem/access.log',
        }),
      stdout: yesNo.optional().meta({
        description: '`true`: standard output of lbd, in the place of a file.',
        'x-default': '`false`',
      }),
      format: z
        .enum(ACCESS_FORMATS)
        .default('json')
        .describe('Format of a line: JSON, or the common or combined one of web servers.'),
      sample: z
        .number({ error: SAMPLE })
        .min(0, { error: SAMPLE })
        .max(1, { error: SAMPLE })
        .default(1)
        .describe('Part of what goes well that gets a line. All that goes wrong has one in any case.'),
      max_size: size(MIN_BYTES, MAX_BYTES).optional().meta({
        description:
          'A file that reaches this size before it is rotated is moved to the same name with `.full` at its end, in place of an older one. Files only.',
        'x-default': '`4GiB`',
      }),
    })
      .refine(({ path, stdout }) => (path === undefined) === (stdout === true), {
        error: 'either path or stdout: true',
      })
      .refine(({ stdout, max_size }) => stdout !== true || max_size === undefined, {
        error: 'max_size for a file only',
      }),
  ],
  { error: 'false or { path: /FILE } or { stdout: true }, with format, sample and max_size' },
);

/** @param all that of the top level, for frontends without one of their own */
export function accessLogOf(
  own: z.output<typeof accessLog> | undefined,
  all: z.output<typeof accessLog> | undefined,
): AccessLogConfig | undefined {
  const chosen = own ?? all ?? false;
  if (chosen === false) return undefined;
  const { path = '', format, sample, max_size: maxBytes = DEFAULT_BYTES } = chosen;
  return { path, format, sample, maxBytes: path === '' ? Number.POSITIVE_INFINITY : maxBytes };
}
