import type { HaConfig } from './model.ts';
import type { Path } from './source.ts';

/** Something that a config needs and only its host can tell whether it is there. */
export interface HostNeed {
  readonly kind: 'interface' | 'program';
  /** Of the interface, or the absolute path of the program. */
  readonly name: string;
  /** Kind and name in one. */
  readonly subject: string;
  /** Where in the config it is asked for first. */
  readonly path: Path;
}

/** A need with its place in the file. */
export type PlacedNeed = HostNeed & { readonly where: string };

/** A need that the host does not meet, and why, in one line that names the key. */
export type UnmetNeed = PlacedNeed & { readonly message: string };

/**
 * What a host lacks for a config, without what another config needs as well: that is lacking either way.
 *
 * @returns one line each
 */
export function newlyUnmet(other: HaConfig | undefined, unmet: readonly UnmetNeed[]): readonly string[] {
  const needed = new Set(other === undefined ? [] : hostNeeds(other).map(({ subject }) => subject));
  return unmet
    .filter(({ subject }) => !needed.has(subject))
    .map(({ where, message }) => `${where}: ${message}`);
}

/**
 * What the agent cannot do its work without, each once.
 *
 * @param grouped the file has `ha.groups`, so that VIPs and routes are there
 */
export function hostNeeds(ha: HaConfig, grouped = true): readonly HostNeed[] {
  const needs = new Map<string, HostNeed>();
  const add = (kind: HostNeed['kind'], name: string | undefined, ...path: Path) => {
    const subject = `${kind} ${name}`;
    if (name !== undefined && !needs.has(subject)) needs.set(subject, { kind, name, subject, path });
  };
  for (const group of ha.groups) {
    const base = grouped ? ['ha', 'groups', group.name] : ['ha'];
    for (const [i, vip] of group.vips.entries()) {
      add('interface', vip.interface, ...base, 'vips', i, 'interface');
      add('program', vip.command[0], ...base, 'vips', i, 'command', 0);
    }
    for (const [i, route] of group.routes.entries())
      add('interface', route.interface, ...base, 'routes', i, 'interface');
  }
  for (const [i, path] of ha.paths.entries())
    if (path.type === 'multicast') add('interface', path.interface, 'ha', 'paths', i, 'interface');
  for (const [i, name] of ha.track.interfaces.entries())
    add('interface', name, 'ha', 'track', 'interfaces', i);
  for (const role of ['active', 'standby', 'fault'] as const)
    add('program', ha.notify[role], 'ha', 'notify', role);
  return [...needs.values()];
}
