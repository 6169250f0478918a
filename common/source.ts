import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLError,
} from 'yaml';
import { type Environment, withVariables } from './config-variables.ts';
import { ConfigError, type ConfigProblem, messageOf } from './errors.ts';

export type Path = readonly (string | number)[];

/** Far above any real config; what is above is a mistake or an attempt to eat memory through aliases. */
const MAX_NODES = 100_000;
const MAX_DEPTH = 32;
/** One slip makes the rest of a YAML text unreadable; more than this helps nobody. */
const MAX_PROBLEMS = 20;

interface Place {
  /** Offset of the key; of the item itself in a list. */
  readonly key: number;
  readonly value: number;
  readonly written?: Written;
}

/** A value into which variables came: it may be a secret, so what is said of it names them. */
export interface Written {
  readonly text: string;
  /** What came from the environment, by the name of its variable. */
  readonly given: ReadonlyMap<string, string>;
}

/** A YAML text turned into plain values that still know where they came from. */
export interface Source {
  readonly value: unknown;
  /** `file:line:column` of the nearest part of `path` that is in the file. */
  where(path: Path, at?: 'key' | 'value'): string;
  /** Something, be it empty, is written at `path`. */
  has(path: Path): boolean;
  /** As the file has it; undefined where no variable came into the value at `path`. */
  written(path: Path): Written | undefined;
}

/**
 * Parses YAML 1.2 (core schema) to plain values, with what operators of such files know: `<<` takes in another mapping,
 * keys of the top level that begin with `x-` only hold anchors, `${NAME}` is of the environment. Duplicate keys, unknown tags, dangling or recursive aliases,
 * several documents and excess (alias bombs, nesting) are problems like a syntax error.
 *
 * @param env whose variables values may name
 * @throws ConfigError with every problem
 */
export function parseSource(text: string, file: string, env: Environment = process.env): Source {
  const lines = new LineCounter();
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${Math.max(line, 1)}:${Math.max(col, 1)}`;
  };
  const problems: ConfigProblem[] = [];
  const refuse = (offset: number, message: string) => {
    const where = at(offset);
    // The parser's second complaint about a place follows from the first.
    if (problems.length < MAX_PROBLEMS && problems.at(-1)?.where !== where)
      problems.push({ where, key: '', message });
  };

  let document: ReturnType<typeof parseDocument>;
  try {
    // uniqueKeys is quadratic; the reader below finds duplicates in linear time.
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  } catch (error) {
    // The parser is recursive: only nesting of thousands of levels gets here.
    const message = error instanceof RangeError ? 'nested too deeply' : messageOf(error);
    throw new ConfigError([{ where: file, key: '', message: `not readable as YAML: ${message}` }]);
  }
  for (const problem of [...document.errors, ...document.warnings])
    refuse(problem.pos[0], complaint(problem));
  if (problems.length > 0) throw new ConfigError(problems);

  const places = new Map<string, Place>();
  const value = readNode(document.contents, places, refuse, env);
  if (problems.length > 0) throw new ConfigError(problems);

  return {
    value,
    has: (path) => places.has(placeKey(path)),
    written: (path) => places.get(placeKey(path))?.written,
    where: (path, which = 'value') => {
      for (let length = path.length; length >= 0; length--) {
        const place = places.get(placeKey(path.slice(0, length)));
        if (place === undefined) continue;
        // What is missing has no place of its own: point at the key that should hold it.
        return at(length < path.length ? place.key : place[which]);
      }
      return file;
    },
  };
}

function complaint(problem: YAMLError): string {
  return problem.code === 'MULTIPLE_DOCS'
    ? 'a second document begins here, expected one: take out the "---"'
    : `not valid YAML: ${messageOf(problem)}`;
}

function placeKey(path: Path): string {
  return path.map((part) => `\0${part}`).join('');
}

/** Of YAML 1.1, and of nearly all files with anchors. In quotes it is a key like others. */
function isMergeKey({ key }: Pair): boolean {
  return isScalar(key) && key.value === '<<' && key.type === 'PLAIN';
}

/** Turns the tree into plain values and notes the places. Own reader: bounds, aliases and keys as we want them. */
function readNode(
  root: Node | null,
  all: Map<string, Place>,
  refuse: (offset: number, message: string) => void,
  env: Environment,
): unknown {
  let places = all;
  const anchors = new Map<string, Node>();
  let nodes = 0;

  const read = (node: unknown, path: Path, key: number, depth: number): unknown => {
    const offset = (node as Node | null)?.range?.[0] ?? key;
    places.set(placeKey(path), { key, value: offset });
    if (++nodes > MAX_NODES) {
      if (nodes === MAX_NODES + 1)
        refuse(offset, `more than ${MAX_NODES} values, aliases counted where they are used`);
      return undefined;
    }
    if (depth > MAX_DEPTH) {
      refuse(offset, `nested more than ${MAX_DEPTH} levels deep`);
      return undefined;
    }
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      if (target !== undefined) return read(target, path, key, depth + 1);
      refuse(
        offset,
        `no anchor "&${node.source}" before this alias; text that starts with "*" needs quotes: "*${node.source}"`,
      );
      return undefined;
    }
    if (isScalar(node)) {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
      if (typeof node.value !== 'string') return node.value;
      const given = new Map<string, string>();
      const value = withVariables(node.value, node.type === 'PLAIN', env, given, (message) =>
        refuse(offset, message),
      );
      if (given.size > 0)
        places.set(placeKey(path), { key, value: offset, written: { text: node.value, given } });
      return value;
    }
    if (isSeq(node)) {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
      return node.items.map((item, i) => {
        const range = (item as Node | null)?.range?.[0] ?? offset;
        return read(item, [...path, i], range, depth + 1);
      });
    }
    if (isMap(node)) {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
      const result: Record<string, unknown> = {};
      let merged: Pair | undefined;
      for (const pair of node.items) {
        const keyOffset = (pair.key as Node | null)?.range?.[0] ?? offset;
        const name = isScalar(pair.key) && pair.key.value !== null ? String(pair.key.value) : undefined;
        if (name === undefined) refuse(keyOffset, 'a key must be a plain text');
        else if (name === '__proto__') refuse(keyOffset, '"__proto__" cannot be a key');
        else if (Object.hasOwn(result, name) || (isMergeKey(pair) && merged !== undefined))
          refuse(keyOffset, `duplicate key "${name}"`);
        else if (isMergeKey(pair)) merged = pair;
        else if (path.length === 0 && name.startsWith('x-')) aside(pair.value, [name], keyOffset);
        else result[name] = read(pair.value, [...path, name], keyOffset, depth + 1);
      }
      if (merged !== undefined) merge(result, merged, path, depth);
      return result;
    }
    return null;
  };
  /** Reads what counts as YAML and is nowhere in the result. @returns it, and its places */
  const aside = (node: unknown, path: Path, key: number, depth = 0): [unknown, Map<string, Place>] => {
    const outside = places;
    const inside = new Map<string, Place>();
    places = inside;
    const value = read(node, path, key, depth + 1);
    places = outside;
    return [value, inside];
  };

  /** What a mapping has of its own goes before what it takes in, and that before what comes later in the list. */
  const merge = (result: Record<string, unknown>, pair: Pair, path: Path, depth: number) => {
    const offset = (pair.key as Node).range![0];
    for (const source of isSeq(pair.value) ? pair.value.items : [pair.value]) {
      const [value, found] = aside(source, path, offset, depth);
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        if (value !== undefined) refuse(offset, '"<<" takes a mapping, an alias of one, or a list of them');
        continue;
      }
      const taken = new Set(Object.keys(value).filter((name) => !Object.hasOwn(result, name)));
      for (const name of taken) result[name] = (value as Record<string, unknown>)[name];
      // Each place is looked at once: a mapping may have thousands of keys, and take them in over many levels.
      const start = placeKey(path).length + 1;
      for (const [place, where] of found) {
        const end = place.indexOf('\0', start);
        if (taken.has(place.slice(start, end < 0 ? undefined : end))) places.set(place, where);
      }
    }
  };
  return read(root, [], root?.range?.[0] ?? 0, 0);
}
