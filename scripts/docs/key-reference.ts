import { defaultText, type KeySchema, keysOf, mappingsIn } from '../../common/json-schema.ts';
import { anchor, code, prose, table } from './markdown.ts';

/** A mapping of so many keys has a section of its own; a smaller one stands in that of the mapping that holds it. */
const SECTION_KEYS = 4;
/** In the place of the path of the whole file. */
const ROOT = 'The file';
/** Said once for all durations. */
const UNITS = ', such as 100ms, 10s or 5m';

interface Row {
  /** Relative to its section. */
  readonly name: string;
  readonly value: string;
  readonly standard: string;
  readonly meaning: string;
}

interface Section {
  readonly path: string;
  readonly about: string;
  readonly rows: Row[];
}

/** The sections of the reference: every key of the config file with its value, its default and what it means. */
export function keyReference(file: KeySchema): string {
  const sections: Section[] = [];
  /** Path of the section of a mapping, so that one that stands at several keys is shown once. */
  const known = new Map<string, string>();
  addSection(file, '', '');
  return sections.map(sectionText).join('\n\n');

  /** @param place of `holder`; `path` leads on to the mapping in it */
  function addSection(holder: KeySchema, place: string, path: string): void {
    const about = place === '' ? '' : prose(holder.description ?? '');
    const section: Section = { path, about, rows: [] };
    sections.push(section);
    for (const [key, keyPlace, own] of addRows(section, holder, place)) addSection(key, keyPlace, own);
  }

  /** @returns what has a section of its own: mapping, place and path */
  function addRows(section: Section, holder: KeySchema, at: string): [KeySchema, string, string][] {
    const apart: [KeySchema, string, string][] = [];
    for (const [suffix, names] of formsOf(holder))
      for (const [name, keys] of names) {
        const place = `${at}${suffix}${at === '' ? '' : '.'}${name}`;
        const [{ key }] = keys as [Keyed, ...Keyed[]];
        const own = sizeOf(key) < SECTION_KEYS ? undefined : `${place}${suffixOf(key)}`;
        const content = JSON.stringify(mappingsIn(key));
        const shown = own === undefined ? undefined : (known.get(content) ?? own);
        section.rows.push({
          name: section.path === '' ? place : place.slice(section.path.length + 1),
          value: together(keys, ({ key }) => valueText(key)),
          standard: together(keys, standardOf),
          meaning: [
            ...new Set(keys.map((it) => meaningOf(it.key))),
            ...(shown === undefined ? [] : [`Keys: ${linkTo(shown)}.`]),
          ].join(' '),
        });
        if (own === undefined) apart.push(...addRows(section, key, place));
        else if (shown === own) {
          known.set(content, own);
          apart.push([key, place, own]);
        }
      }
    return apart;
  }
}

/** A list of the keys whose change needs a restart. */
export function restartKeys(file: KeySchema): string {
  return keysOf(file)
    .filter(({ key }) => key['x-restart'] !== undefined)
    .map(({ path, key }) => `- ${code(path)}: ${key['x-restart']}`)
    .join('\n');
}

interface Keyed {
  readonly key: KeySchema;
  readonly required: boolean;
  /** What tells the mapping from others in the same place: the value of its key `type`. */
  readonly form: string | undefined;
}

/** By what leads to the mappings that a value holds: their keys by name, in order, each as often as there are forms with it. */
function formsOf(value: KeySchema): Map<string, Map<string, Keyed[]>> {
  const forms = new Map<string, Map<string, Keyed[]>>();
  for (const [suffix, { properties = {}, required = [] }] of mappingsIn(value)) {
    const names = forms.get(suffix) ?? new Map<string, Keyed[]>();
    forms.set(suffix, names);
    const form = properties.type?.const;
    for (const [name, key] of Object.entries(properties)) {
      const keys = names.get(name) ?? [];
      names.set(name, keys);
      keys.push({ key, required: required.includes(name), form: form === undefined ? form : String(form) });
    }
  }
  return forms;
}

function sizeOf(value: KeySchema): number {
  return Math.max(0, ...mappingsIn(value).map(([, { properties }]) => Object.keys(properties ?? {}).length));
}

function suffixOf(value: KeySchema): string {
  return mappingsIn(value)[0]?.[0] ?? '';
}

function together(keys: readonly Keyed[], textOf: (key: Keyed) => string): string {
  const texts = new Set(keys.map(textOf));
  if (texts.size === 1) return [...texts][0]!;
  return keys
    .map((it) => [textOf(it), it.form] as const)
    .map(([text, form]) => (form === undefined || text === code(form) ? text : `${text} (${form})`))
    .join(', ');
}

function valueText(value: KeySchema): string {
  const { type, enum: choices, const: only, additionalProperties: named, properties, items } = value;
  if (choices !== undefined) return choices.map((choice) => code(String(choice))).join(', ');
  if (only !== undefined) return code(String(only));
  if (properties !== undefined) return 'a mapping';
  if (type === 'object' && named && sizeOf(named) === 0 && named.type === 'integer')
    return `names, each with ${valueText(named)}`;
  const text = prose((value['x-expected'] ?? '').replace(UNITS, ''));
  return items === undefined ? text : `${text}${countText(value)}`;
}

function countText({ minItems = 0, maxItems }: KeySchema): string {
  if (maxItems === undefined) return '';
  return minItems === 0 ? `, ${maxItems} at most` : `, ${minItems} to ${maxItems} of them`;
}

function standardOf({ key, required }: Keyed): string {
  const text = defaultText(key);
  if (text !== undefined) return prose(text);
  return required ? 'required' : '';
}

function meaningOf(key: KeySchema): string {
  const { description = '', 'x-example': example, 'x-restart': restart } = key;
  return [
    prose(description),
    ...(example === undefined ? [] : [`Example: ${prose(code(example))}.`]),
    ...(restart === undefined ? [] : [`**Restart** of ${restart}.`]),
  ].join(' ');
}

function linkTo(path: string): string {
  return `[${code(path)}](${anchor(path)})`;
}

function sectionText({ path, about, rows }: Section): string {
  const level = path.replace(/^\w+\.X/, '').includes('.') ? '###' : '##';
  return [
    `${level} ${path === '' ? ROOT : code(path)}`,
    ...(about === '' ? [] : [about]),
    table(
      ['key', 'value', 'default', 'what it does'],
      rows.map((row) => [code(row.name), row.value, row.standard, row.meaning]),
    ),
  ].join('\n\n');
}
