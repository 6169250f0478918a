import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { hostname as osHostname } from 'node:os';
import { resolve } from 'node:path';
import { checkTogether } from './checks.ts';
import { complete } from './complete.ts';
import { ConfigError, type ConfigProblem } from './errors.ts';
import { hostNeeds, type PlacedNeed } from './host-needs.ts';
import { type Config, MAX_CONFIG_BYTES } from './model.ts';
import { expectation, problem, problemsOf, show } from './problems.ts';
import { checkReferences } from './references.ts';
import { type Shape, schema } from './schema.ts';
import { parseSource, type Source } from './source.ts';
import { didYouMean } from './suggest.ts';

export interface ConfigOptions {
  /** Which node of the cluster this is; default: the host name. */
  readonly node?: string | undefined;
  /** Default: the machine's host name. Matches a node in full or up to its first dot. */
  readonly hostname?: string;
  /** Cores for `workers: auto`; default: those that this process may use. */
  readonly cpus?: number;
  /** Where neither says which node this is, take the first: for checking a file on any machine. */
  readonly anyNode?: boolean;
  /** Where the text is instead; the places that problems name, and what the file refers to, stay those of the file. */
  readonly copy?: string | undefined;
}

/**
 * Reads, checks and completes a config file. The result is deep-frozen.
 *
 * @throws ConfigError with every problem of the file, in the order of the file
 */
export function loadConfig(file: string, options: ConfigOptions = {}): Config {
  return loadWithNeeds(file, options).config;
}

/** A config, what it needs of the host that it is for, and what stands in the file, and where. */
export interface PlacedConfig {
  readonly config: Config;
  readonly needs: readonly PlacedNeed[];
  readonly where: Source['where'];
  readonly has: Source['has'];
}

/** Like `loadConfig`, with the text, needs and places. */
export function loadWithNeeds(
  file: string,
  options: ConfigOptions = {},
): PlacedConfig & { readonly text: string } {
  const absolute = resolve(file);
  const text = readText(options.copy ?? absolute);
  const source = parseSource(text, absolute);
  return { text, ...placed(configOf(source, absolute, options), source) };
}

/**
 * For looking at all that can be known of a file in one round. Of a file with problems, `sound` is what is left without
 * its broken parts, and good for nothing but further checks; undefined where too little is left.
 *
 * @throws ConfigError where the file cannot be read, or is no YAML
 */
export function loadSound(
  file: string,
  options: ConfigOptions = {},
): { readonly problems: readonly ConfigProblem[]; readonly sound: PlacedConfig | undefined } {
  const absolute = resolve(file);
  const source = parseSource(readText(absolute), absolute);
  const { problems, shape, self } = judge(source, options);
  if (shape === undefined) return { problems, sound: undefined };
  try {
    return { problems, sound: placed(complete(shape, absolute, self, options.cpus), source) };
  } catch (error) {
    if (problems.length === 0) throw error;
    return { problems, sound: undefined };
  }
}

function placed(config: Config, source: Source): PlacedConfig {
  const needs = config.ha === undefined ? [] : hostNeeds(config.ha, source.has(['ha', 'groups']));
  const { where, has } = source;
  return { config, needs: needs.map((need) => ({ ...need, where: where(need.path) })), where, has };
}

/**
 * Like `loadConfig` for a text at hand.
 *
 * @param file absolute path: places in problems name it and `secret_file` is relative to its directory
 * @throws ConfigError with every problem of the text, in the order of the text
 */
export function parseConfig(text: string, file: string, options: ConfigOptions = {}): Config {
  return configOf(parseSource(text, file), file, options);
}

function configOf(source: Source, file: string, options: ConfigOptions): Config {
  const { problems, shape, self } = judge(source, options);
  if (problems.length > 0 || shape === undefined) throw new ConfigError(problems);
  return deepFreeze(complete(shape, file, self, options.cpus));
}

/** All that can be said of a file without its host, in the order of the file. */
function judge(
  source: Source,
  options: ConfigOptions,
): { problems: ConfigProblem[]; shape: Shape | undefined; self: string | undefined } {
  const { shape, problems } = shapeOf(source);
  problems.push(...checkReferences(source));
  if (shape !== undefined) problems.push(...checkTogether(shape, source));
  const self = shape?.cluster === undefined ? undefined : selfOf(shape.cluster, options);
  if (shape?.cluster !== undefined && self === undefined)
    problems.push(unknownSelf(shape.cluster, source, options));
  return { problems: inFileOrder(problems), shape, self };
}

function readText(file: string): string {
  const refuse = (message: string): never => {
    throw new ConfigError([{ where: file, key: '', message }]);
  };
  let fd: number;
  try {
    // O_NONBLOCK: opening a FIFO must not hang.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return refuse('no such file');
    if (code === 'EACCES') return refuse(`not readable for user id ${process.geteuid?.()}`);
    return refuse(message);
  }
  try {
    if (!fstatSync(fd).isFile()) return refuse('expected a regular file');
    const buffer = Buffer.alloc(MAX_CONFIG_BYTES + 1);
    let length = 0;
    for (let n = 1; n > 0 && length < buffer.length; length += n)
      n = readSync(fd, buffer, length, buffer.length - length, null);
    if (length > MAX_CONFIG_BYTES) return refuse(`larger than ${MAX_CONFIG_BYTES} bytes`);
    return new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length));
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    return error instanceof TypeError ? refuse('not valid UTF-8') : refuse((error as Error).message);
  } finally {
    closeSync(fd);
  }
}

/**
 * Applies the schema. What is broken becomes problems; the rest still becomes a shape, without the frontends,
 * pools and sections that are broken, so that the other checks can look at it in the same run.
 */
function shapeOf(source: Source): { shape: Shape | undefined; problems: ConfigProblem[] } {
  const parse = (value: unknown) => schema.safeParse(value, { error: expectation });
  const first = parse(source.value);
  if (first.success) return { shape: first.data, problems: [] };
  const problems = problemsOf(first.error.issues, source);
  if (typeof source.value !== 'object' || source.value === null) return { shape: undefined, problems };

  const rest = structuredClone(source.value) as Record<string, Record<string, unknown> | undefined>;
  for (const issue of first.error.issues) {
    const [section, name] = issue.path.map(String);
    if (section === undefined) {
      if (issue.code === 'unrecognized_keys') for (const key of issue.keys) delete rest[key];
    } else if ((section === 'frontends' || section === 'pools') && name !== undefined)
      delete rest[section]?.[name];
    else if (section === 'frontends' || section === 'pools') rest[section] = {};
    else delete rest[section];
  }
  const second = parse(rest);
  return { shape: second.success ? second.data : undefined, problems };
}

function inFileOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const position = ({ where }: ConfigProblem) => {
    const [, line = '0', column = '0'] = /:(\d+):(\d+)$/.exec(where) ?? [];
    return Number(line) * 1e6 + Number(column);
  };
  return problems.toSorted((a, b) => position(a) - position(b));
}

function selfOf({ nodes }: NonNullable<Shape['cluster']>, options: ConfigOptions): string | undefined {
  if (options.node !== undefined) return Object.hasOwn(nodes, options.node) ? options.node : undefined;
  const host = options.hostname ?? osHostname();
  const candidates = [host, host.split('.')[0]!];
  const named = candidates.find((candidate) => Object.hasOwn(nodes, candidate));
  return named ?? (options.anyNode ? Object.keys(nodes)[0] : undefined);
}

function unknownSelf(
  { nodes }: NonNullable<Shape['cluster']>,
  source: Source,
  options: ConfigOptions,
): ConfigProblem {
  const names = Object.keys(nodes);
  const choice = names.map((name) => `--node ${name}`).join(' or ');
  const message =
    options.node === undefined
      ? `this host's name ${show(options.hostname ?? osHostname())} is not among the nodes (${names.join(', ')}): start with ${choice}, or give the host or the node the other's name`
      : `there is no node ${show(options.node)}, as --node says${didYouMean(options.node, names)}: start with ${choice}, the nodes of this file`;
  return problem(source, ['cluster', 'nodes'], message, 'key');
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || value instanceof RegExp || Object.isFrozen(value))
    return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
