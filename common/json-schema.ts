import { stringify } from 'yaml';
import { z } from 'zod';
import { schema } from './schema.ts';

/**
 * A key of the config file, or a part of one, as JSON Schema has it, with what that has no words for. Each key of
 * `common/schema.ts` has a `description`, in plain text with code in backticks, by `describe` or `meta`, and by `meta` what
 * begins with `x-`.
 */
export interface KeySchema {
  readonly description?: string;
  readonly default?: unknown;
  /** The default in words, where it depends on something or there is none. */
  readonly 'x-default'?: string;
  /** Whose restart a change needs; else a reload will do. */
  readonly 'x-restart'?: 'lbd' | 'both daemons';
  /** A value as it stands in the file, where its form is not obvious. */
  readonly 'x-example'?: string;
  /** What is expected, in words: as errors say it, unless the schema says it otherwise. */
  readonly 'x-expected'?: string;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, KeySchema>>;
  readonly required?: readonly string[];
  readonly propertyNames?: KeySchema;
  readonly additionalProperties?: KeySchema | false;
  readonly items?: KeySchema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly anyOf?: readonly KeySchema[];
  readonly oneOf?: readonly KeySchema[];
}

/** The config file with all that is known of each key. */
export function keySchema(): KeySchema {
  return z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      const expected = expectationOf(zodSchema);
      if (expected !== undefined) jsonSchema['x-expected'] ??= expected;
    },
  }) as KeySchema;
}

/** The convention of `common/fields.ts`: the error of a schema is what it expects. */
function expectationOf({ _zod }: z.core.$ZodType): string | undefined {
  const error = _zod.def.error as z.core.$ZodErrorMap | undefined;
  const said = error?.({ code: 'custom', path: [], input: undefined });
  return typeof said === 'string' ? said : said?.message;
}

/** JSON Schema (draft 2020-12) of the config file, for editors, which show the description of a key and little else. */
export function jsonSchema(): object {
  return { title: 'Tandem configuration', ...forEditors(keySchema()), patternProperties: { '^x-': {} } };
}

function forEditors(value: KeySchema): KeySchema {
  const { properties, propertyNames, additionalProperties, items, anyOf, oneOf, description } = value;
  return {
    ...Object.fromEntries(Object.entries(value).filter(([keyword]) => !keyword.startsWith('x-'))),
    ...(description !== undefined && { description: [description, ...facts(value)].join(' ') }),
    ...(properties && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([key, part]) => [key, forEditors(part)]),
      ),
    }),
    ...(propertyNames && { propertyNames: forEditors(propertyNames) }),
    ...(additionalProperties && { additionalProperties: forEditors(additionalProperties) }),
    ...(items && { items: forEditors(items) }),
    ...(anyOf && { anyOf: anyOf.map(forEditors) }),
    ...(oneOf && { oneOf: oneOf.map(forEditors) }),
  };
}

function facts(value: KeySchema): string[] {
  const { type, 'x-expected': expected, 'x-restart': restart, 'x-example': example } = value;
  const standard = defaultText(value);
  return [
    ...(expected === undefined || type === 'object' ? [] : [`Expected: ${expected}.`]),
    ...(standard === undefined ? [] : [`Default: ${standard}.`]),
    ...(restart === undefined ? [] : [`A change needs a restart of ${restart}.`]),
    ...(example === undefined ? [] : [`Example: \`${example}\``]),
  ];
}

/** @returns the default in words or as it stands in the file, in backticks; undefined: there is none, or it is made of others */
export function defaultText({ default: standard, 'x-default': words }: KeySchema): string | undefined {
  if (words !== undefined || standard === undefined) return words;
  const text = stringify(standard, { collectionStyle: 'flow', flowCollectionPadding: false, lineWidth: 0 });
  return text === '{}\n' ? undefined : `\`${text.trim()}\``;
}

/** The mappings that a value may be or hold, each with what leads to it: `[]` for an entry of a list, `.X` for a name. */
export function mappingsIn(value: KeySchema): (readonly [suffix: string, mapping: KeySchema])[] {
  const { properties, additionalProperties, items, anyOf = [], oneOf = [] } = value;
  const below = (suffix: string, part: KeySchema) =>
    mappingsIn(part).map(([more, mapping]) => [`${suffix}${more}`, mapping] as const);
  return [
    ...(properties ? [['', value] as const] : []),
    ...(additionalProperties ? below('.X', additionalProperties) : []),
    ...(items ? below('[]', items) : []),
    ...[...anyOf, ...oneOf].flatMap(mappingsIn),
  ];
}

/** A key with its path, such as `frontends.X.bind`. */
export interface PlacedKey {
  readonly path: string;
  readonly key: KeySchema;
  readonly required: boolean;
}

/** Every key below a value. One that several forms of a mapping have comes as often. */
export function keysOf(value: KeySchema, path = ''): PlacedKey[] {
  return mappingsIn(value).flatMap(([suffix, { properties = {}, required = [] }]) =>
    Object.entries(properties).flatMap(([name, key]) => {
      const place = `${path}${suffix}${path === '' ? '' : '.'}${name}`;
      return [{ path: place, key, required: required.includes(name) }, ...keysOf(key, place)];
    }),
  );
}
