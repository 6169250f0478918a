import { formatDuration } from './duration.ts';
import { duration, integer, LONGEST_MS, mapping, nameServer, oneOrMore } from './fields.ts';
import { DEFAULT_RESOLVER, type ResolverConfig } from './model.ts';
import type { Report } from './report.ts';
import type { Shape } from './schema.ts';

const { timeoutMs, attempts, minTtlMs, maxTtlMs } = DEFAULT_RESOLVER;

/** `resolver` */
export const resolver = mapping({
  servers: oneOrMore(nameServer, 'IP or IP:PORT of a name server, or a list of them').optional().meta({
    description: 'Name servers; port 53 where none is said.',
    'x-default': 'those of `/etc/resolv.conf`, which is read again when it changes',
    'x-example': '[10.0.0.53, "10.0.0.54:5353", "[fd00::53]:53"]',
  }),
  timeout: duration(100, 30_000)
    .prefault(formatDuration(timeoutMs))
    .describe('How long one try at one server may take.'),
  attempts: integer(1, 5).default(attempts).describe('Tries at each server.'),
  min_ttl: duration(100, LONGEST_MS)
    .prefault(formatDuration(minTtlMs))
    .describe('A shorter TTL of a record counts as this one.'),
  max_ttl: duration(100, LONGEST_MS)
    .prefault(formatDuration(maxTtlMs))
    .describe('A longer TTL of a record counts as this one, so that a change is seen in time.'),
});

/** What a checked shape says. */
export function resolverOf(shape: NonNullable<Shape['resolver']>): ResolverConfig {
  return {
    servers: shape.servers ?? [],
    timeoutMs: shape.timeout,
    attempts: shape.attempts,
    minTtlMs: shape.min_ttl,
    maxTtlMs: shape.max_ttl,
  };
}

export function checkResolver({ resolver: shape }: Shape, report: Report): void {
  if (shape === undefined || shape.max_ttl >= shape.min_ttl) return;
  report(
    ['resolver', 'max_ttl'],
    `found ${formatDuration(shape.max_ttl)}, which must not be below min_ttl (${formatDuration(shape.min_ttl)})`,
  );
}
