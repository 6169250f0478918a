import type { Ruleset } from './ruleset.ts';

/** How much of each thing the table holds. */
export interface TableListing {
  /** Number of elements by name of the set or map. */
  readonly sets: ReadonlyMap<string, number>;
  /** Number of rules by chain. */
  readonly chains: ReadonlyMap<string, number>;
}

/**
 * Whether a table is what it should be, as far as names and numbers tell.
 *
 * @param found undefined: there is no table
 * @returns the first difference in words; undefined: none
 */
export function differences(wanted: Ruleset, found: TableListing | undefined): string | undefined {
  if (found === undefined) return 'it was gone';
  for (const [name, { rules }] of wanted.chains) {
    const count = found.chains.get(name);
    if (count === undefined) return `chain ${name} was gone`;
    if (count !== rules.length) return `chain ${name} had ${count} rules, expected ${rules.length}`;
  }
  for (const [name, { elements }] of wanted.sets) {
    const count = found.sets.get(name);
    if (count === undefined) return `set ${name} was gone`;
    if (elements !== undefined && count !== elements.size)
      return `set ${name} had ${count} elements, expected ${elements.size}`;
  }
  for (const name of found.chains.keys()) if (!wanted.chains.has(name)) return `chain ${name} was added`;
  for (const name of found.sets.keys()) if (!wanted.sets.has(name)) return `set ${name} was added`;
  return undefined;
}
