import { createHash } from 'node:crypto';
import type { Config } from './model.ts';
import type { Shape } from './schema.ts';

/**
 * SHA-256 in hex over the settings that both nodes must share. Leaves out what may differ between two nodes with
 * the same file: paths on disk, viewpoint, cores, the order of names.
 *
 * @param workers as the file says it: `auto` may be another number on the other node
 */
export function digestOf(config: Omit<Config, 'digest'>, workers: Shape['workers']): string {
  const { file: _file, cluster, ...shared } = config;
  const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
  const effective = {
    ...shared,
    workers,
    cluster: cluster && { name: cluster.name, nodes: [cluster.self, cluster.peer].toSorted(byName) },
    frontends: config.frontends.toSorted(byName),
    pools: config.pools
      .toSorted(byName)
      .map((pool) => ({ ...pool, backends: pool.backends.toSorted(byName) })),
  };
  return createHash('sha256').update(canonicalJson(effective)).digest('hex');
}

/** JSON with sorted keys and regular expressions as their source: equal values, equal text. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (part instanceof RegExp) return { regex: part.source };
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}
