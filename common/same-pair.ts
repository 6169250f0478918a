import type { ClusterConfig } from './model.ts';

/** Whether two configs are of the same two nodes as seen from the same one: then they hear each other. */
export function samePair(one: ClusterConfig | undefined, other: ClusterConfig | undefined): boolean {
  const facts = (cluster: ClusterConfig | undefined) =>
    cluster && [
      cluster.name,
      ...[cluster.self, cluster.peer].flatMap(({ name, address }) => [name, address]),
    ];
  return JSON.stringify(facts(one)) === JSON.stringify(facts(other));
}
