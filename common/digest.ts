import { createHash } from 'node:crypto';
import type { Config } from './model.ts';
import type { Shape } from './schema.ts';

/** A config without its digests, and `workers` as the file says it: `auto` may be another number on the other node. */
export interface Digestible {
  readonly config: Omit<Config, 'digest' | 'sectionDigests'>;
  readonly workers: Shape['workers'];
}

/** Parts of the file that are told apart where two nodes differ, in the order in which their digests travel. */
export const SECTIONS = [
  'cluster',
  'ha.heartbeat',
  'ha.paths',
  'ha.vips',
  'ha.routes',
  'ha.priority',
  'ha.preempt',
  'ha.garp',
  'ha.track',
  'ha.notify',
  'ha.witness',
  'sync',
  'sessions',
  'workers',
  'frontends',
  'pools',
  'admin',
] as const;

/** Of each section so many bytes travel: enough to name a difference; whether there is one, the whole digest says. */
const SECTION_BYTES = 2;
export const SECTION_DIGEST_BYTES = SECTIONS.length * SECTION_BYTES;

/**
 * SHA-256 in hex over the settings that both nodes must share. Leaves out what may differ between two nodes with
 * the same file: paths on disk, viewpoint, cores, the order of names.
 */
export function digestOf(of: Digestible): string {
  return sha256(shared(of)).toString('hex');
}

/** `SECTION_BYTES` of the digest of each section, in hex, in the order of `SECTIONS`. */
export function sectionDigestsOf(of: Digestible): string {
  const { ha, resolver, directIo, ...rest } = shared(of);
  const groups = (key: 'vips' | 'routes' | 'priority' | 'preemptDelayMs') =>
    ha?.groups.map((group) => [group.name, group[key]]);
  const parts: Record<string, unknown> = {
    ...rest,
    ...Object.fromEntries(Object.entries(ha ?? {}).map(([key, part]) => [`ha.${key}`, part])),
    // Sections are told by their places, which a release does not change: what resolves backends goes with them, and how
    // workers read with these.
    ...(resolver && { pools: [rest.pools, resolver] }),
    ...(directIo !== undefined && { workers: [rest.workers, directIo] }),
    'ha.vips': groups('vips'),
    'ha.routes': groups('routes'),
    'ha.priority': groups('priority'),
    'ha.preempt': groups('preemptDelayMs'),
  };
  return SECTIONS.map((name) => sha256(parts[name] ?? null).toString('hex', 0, SECTION_BYTES)).join('');
}

/** Sections whose digests differ; empty where they are equal or not comparable. */
export function differingSections(one: string, other: string): string[] {
  if (one.length !== other.length) return [];
  const part = (digests: string, i: number) =>
    digests.slice(i * 2 * SECTION_BYTES, (i + 1) * 2 * SECTION_BYTES);
  return SECTIONS.filter((_, i) => part(one, i) !== part(other, i));
}

function shared({ config, workers }: Digestible) {
  const { file: _file, cluster, ...rest } = config;
  const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
  return {
    ...rest,
    workers,
    cluster: cluster && { name: cluster.name, nodes: [cluster.self, cluster.peer].toSorted(byName) },
    frontends: config.frontends.toSorted(byName),
    pools: config.pools
      .toSorted(byName)
      .map((pool) => ({ ...pool, backends: pool.backends.toSorted(byName) })),
  };
}

function sha256(value: unknown): Buffer {
  return createHash('sha256').update(canonicalJson(value)).digest();
}

/** JSON with sorted keys and regular expressions as their source: equal values, equal text. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (part instanceof RegExp) return { regex: part.source };
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}
