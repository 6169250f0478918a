/** The one table of lbd. ha-agent has tables of its own (`tandem_second_chance_*`). */
export const TABLE = 'tandem_lb';

/** A set or map of the table. */
export interface NftSet {
  readonly kind: 'set' | 'map';
  /** What stands between its braces, such as `type ipv4_addr;`. Another definition needs another name. */
  readonly definition: string;
  /** Data by key (empty for a set); undefined: packets fill it, and a change of the rules leaves its elements. */
  readonly elements: ReadonlyMap<string, string> | undefined;
}

export interface NftChain {
  /** Of a base chain, such as `type nat hook prerouting priority -105; policy accept;`. */
  readonly hook: string;
  readonly rules: readonly string[];
}

/** What the table holds, as a value. */
export interface Ruleset {
  readonly sets: ReadonlyMap<string, NftSet>;
  readonly chains: ReadonlyMap<string, NftChain>;
}

/** Names of what a table holds, read from the kernel. */
export interface TableObjects {
  readonly sets: readonly (readonly [kind: 'set' | 'map', name: string])[];
  readonly chains: readonly string[];
}

/** Elements in one command: nft reads a line as a whole. */
const MAX_ELEMENTS = 4096;

/**
 * The whole table in one transaction, whatever is in it. Chains and sets that are not wanted go; sets that packets fill
 * keep their elements.
 *
 * @param found what the table holds now; undefined: there is none
 * @returns input for `nft -f -`
 */
export function fullScript(wanted: Ruleset, found: TableObjects | undefined): string {
  const lines = [`add table inet ${TABLE}`, `flush table inet ${TABLE}`];
  const keeps = (name: string) => wanted.sets.has(name) && wanted.sets.get(name)!.elements === undefined;
  for (const [kind, name] of found?.sets ?? [])
    if (!keeps(name)) lines.push(`flush ${kind} inet ${TABLE} ${name}`);
  const { sets, chains } = wanted;
  lines.push(...objectLines(sets, chains));
  for (const [name, { rules }] of chains) lines.push(...ruleLines(name, rules));
  for (const [name, set] of sets) lines.push(...elementLines('add', name, entriesOf(set)));
  for (const [kind, name] of found?.sets ?? [])
    if (!sets.has(name)) lines.push(`delete ${kind} inet ${TABLE} ${name}`);
  for (const name of found?.chains ?? [])
    if (!chains.has(name)) lines.push(`delete chain inet ${TABLE} ${name}`);
  return `${lines.join('\n')}\n`;
}

/**
 * What leads from one ruleset to the next in one transaction: only what differs is touched.
 *
 * @returns input for `nft -f -`; empty where nothing differs
 */
export function changeScript(before: Ruleset, after: Ruleset): string {
  const { sets, chains } = after;
  const isNewSet = (name: string) => !before.sets.has(name);
  const changed = [...chains].filter(
    ([name, { rules }]) => !sameRules(before.chains.get(name)?.rules, rules),
  );
  const goneChains = [...before.chains.keys()].filter((name) => !chains.has(name));
  const goneSets = [...before.sets].filter(([name]) => !sets.has(name));
  const lines = objectLines(
    new Map([...sets].filter(([name]) => isNewSet(name))),
    new Map([...chains].filter(([name]) => !before.chains.has(name))),
  );
  for (const name of [...changed.map(([it]) => it), ...goneChains])
    if (before.chains.has(name)) lines.push(`flush chain inet ${TABLE} ${name}`);
  for (const [name, { kind }] of goneSets) lines.push(`flush ${kind} inet ${TABLE} ${name}`);
  for (const [name, set] of sets) {
    const old = entriesOf(before.sets.get(name));
    const now = entriesOf(set);
    const gone = [...old].filter(([key, data]) => now.get(key) !== data);
    lines.push(...elementLines('delete', name, new Map(gone.map(([key]) => [key, '']))));
    lines.push(
      ...elementLines('add', name, new Map([...now].filter(([key, data]) => old.get(key) !== data))),
    );
  }
  for (const [name, { rules }] of changed) lines.push(...ruleLines(name, rules));
  for (const [name, { kind }] of goneSets) lines.push(`delete ${kind} inet ${TABLE} ${name}`);
  for (const name of goneChains) lines.push(`delete chain inet ${TABLE} ${name}`);
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** Removes the table, whether or not it is there. */
export const REMOVE_SCRIPT = `add table inet ${TABLE}\ndelete table inet ${TABLE}\n`;

function objectLines(sets: ReadonlyMap<string, NftSet>, chains: ReadonlyMap<string, NftChain>): string[] {
  return [
    ...[...sets].map(([name, { kind, definition }]) => `add ${kind} inet ${TABLE} ${name} { ${definition} }`),
    ...[...chains].map(
      ([name, { hook }]) => `add chain inet ${TABLE} ${name}${hook === '' ? '' : ` { ${hook} }`}`,
    ),
  ];
}

function ruleLines(chain: string, rules: readonly string[]): string[] {
  return rules.map((rule) => `add rule inet ${TABLE} ${chain} ${rule}`);
}

function elementLines(verb: 'add' | 'delete', name: string, elements: ReadonlyMap<string, string>): string[] {
  const texts = [...elements].map(([key, data]) => (data === '' ? key : `${key} : ${data}`));
  const lines: string[] = [];
  for (let i = 0; i < texts.length; i += MAX_ELEMENTS)
    lines.push(`${verb} element inet ${TABLE} ${name} { ${texts.slice(i, i + MAX_ELEMENTS).join(', ')} }`);
  return lines;
}

const NONE: ReadonlyMap<string, string> = new Map();

function entriesOf(set: NftSet | undefined): ReadonlyMap<string, string> {
  return set?.elements ?? NONE;
}

function sameRules(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a?.length === b.length && b.every((rule, i) => rule === a[i]);
}
