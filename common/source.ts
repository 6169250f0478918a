import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
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
}

/** A YAML text turned into plain values that still know where they came from. */
export interface Source {
  readonly value: unknown;
  /** `file:line:column` of the nearest part of `path` that is in the file. */
  where(path: Path, at?: 'key' | 'value'): string;
  /** Something, be it empty, is written at `path`. */
  has(path: Path): boolean;
}

/**
 * Parses YAML 1.2 (core schema) to plain values. Duplicate keys, unknown tags, dangling or recursive aliases,
 * several documents and excess (alias bombs, nesting) are problems like a syntax error.
 *
 * @throws ConfigError with every problem
 */
export function parseSource(text: string, file: string): Source {
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
    refuse(problem.pos[0], `not valid YAML: ${messageOf(problem)}`);
  if (problems.length > 0) throw new ConfigError(problems);

  const places = new Map<string, Place>();
  const value = readNode(document.contents, places, refuse);
  if (problems.length > 0) throw new ConfigError(problems);

  return {
    value,
    has: (path) => places.has(placeKey(path)),
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

function placeKey(path: Path): string {
  return path.map((part) => `\0${part}`).join('');
}

/** Turns the tree into plain values and notes the places. Own reader: bounds, aliases and keys as we want them. */
function readNode(
  root: Node | null,
  places: Map<string, Place>,
  refuse: (offset: number, message: string) => void,
): unknown {
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
      return node.value;
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
      for (const pair of node.items) {
        const keyOffset = (pair.key as Node | null)?.range?.[0] ?? offset;
        const name = isScalar(pair.key) && pair.key.value !== null ? String(pair.key.value) : undefined;
        if (name === undefined) refuse(keyOffset, 'a key must be a plain text');
        else if (name === '__proto__') refuse(keyOffset, '"__proto__" cannot be a key');
        else if (Object.hasOwn(result, name)) refuse(keyOffset, `duplicate key "${name}"`);
        else result[name] = read(pair.value, [...path, name], keyOffset, depth + 1);
      }
      return result;
    }
    return null;
  };
  return read(root, [], root?.range?.[0] ?? 0, 0);
}
