import type { z } from 'zod';
import type { ConfigProblem } from './errors.ts';
import type { Path, Source } from './source.ts';
import { didYouMean, suggest } from './suggest.ts';

type Issue = z.core.$ZodIssue;

/** Lists of expectations longer than this are cut: the suggestion says it better. */
const MAX_LISTED = 16;

/** Turns what zod found into problems with places and sentences, one for each wrong thing. */
export function problemsOf(issues: readonly Issue[], source: Source): ConfigProblem[] {
  const problems = issues.flatMap((issue) => problemsOfIssue(issue, [], source));
  // A misspelt key is one mistake, not also a missing one.
  const meant = new Set(problems.map((p) => p.meant).filter((key) => key !== undefined));
  return problems
    .filter((p) => !p.missing || !meant.has(p.key))
    .map(({ where, key, message }) => ({ where, key, message }));
}

/** The expectation behind issues whose schema states none, see `common/fields.ts`. */
export function expectation(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_value') return oneOf(issue.values.map(String));
  if (issue.code === 'invalid_type') return issue.expected;
  return undefined;
}

/** One problem at `path`; `at` says whether its key or its value is to blame. */
export function problem(
  source: Source,
  path: Path,
  message: string,
  at: 'key' | 'value' = 'value',
): ConfigProblem {
  const key = path.join('.');
  const said = at === 'value' ? withoutGiven(source, path, message) : message;
  return { where: source.where(path, at), key, message: key === '' ? said : `${key}: ${said}` };
}

/** A message about a value with `${NAME}` in the place of what came from the environment, which may be a secret. */
function withoutGiven(source: Source, path: Path, message: string): string {
  const written = source.written(path);
  if (written === undefined) return message;
  let said = message.replaceAll(show(valueAt(source.value, path)), () => show(written.text));
  for (const [name, value] of written.given)
    if (value !== '') said = said.replaceAll(traceOf(value), () => `\${${name}}`);
  return said;
}

/** From so many characters on a value may be a secret, or a part of one. */
const SECRET_CHARS = 4;

/** A short value is part of many words and numbers: not within those. What is longer may be a secret, wherever it stands. */
function traceOf(value: string): RegExp {
  const text = RegExp.escape(value);
  return new RegExp(value.length < SECRET_CHARS ? `(?<!\\w)${text}(?!\\w)` : text, 'g');
}

interface Finding extends ConfigProblem {
  /** Key that an unknown one probably stands for. */
  readonly meant?: string;
  /** Nothing is written at this key. */
  readonly missing?: boolean;
}

function problemsOfIssue(issue: Issue, base: Path, source: Source): Finding[] {
  const path = [...base, ...issue.path] as Path;
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = issue.message.split(', ');
      const prefix = path.length === 0 ? '' : `${path.join('.')}: `;
      return issue.keys.map((key) => {
        const meant = suggest(key, known);
        const hint = meant === undefined ? `, expected ${oneOf(known)}` : `; did you mean "${meant}"?`;
        return {
          where: source.where([...path, key], 'key'),
          key: [...path, key].join('.'),
          message: `${prefix}unknown key ${show(key)}${hint}`,
          meant: meant && [...path, meant].join('.'),
        };
      });
    }
    case 'invalid_key': {
      const rule = issue.issues[0]?.message ?? 'another name';
      return [problem(source, path, `found the name ${show(path.at(-1))}, expected ${rule}`, 'key')];
    }
    case 'invalid_union': {
      const branch = issue.errors.find((errors) => errors.length > 0 && !errors.some(isWrongKind));
      if (branch !== undefined) return branch.flatMap((inner) => problemsOfIssue(inner, path, source));
      return [expected(path, issue.message, source)];
    }
    case 'invalid_value':
      return [expected(path, issue.message, source, issue.values.map(String))];
    default:
      return [expected(path, issue.message, source)];
  }
}

/** This branch of a union is for another kind of value altogether. */
function isWrongKind(issue: Issue): boolean {
  if (issue.path.length > 0) return false;
  if (issue.code === 'invalid_union') return issue.errors.every((errors) => errors.some(isWrongKind));
  return issue.code === 'invalid_type' || issue.code === 'invalid_value';
}

/** @param words what the value could have been meant to be; default: the plain words of the expectation */
function expected(path: Path, expectation: string, source: Source, words?: readonly string[]): Finding {
  if (!source.has(path))
    return { ...problem(source, path, `missing, expected ${expectation}`), missing: true };
  const value = valueAt(source.value, path);
  const candidates = words ?? expectation.split(/, | or /).filter((word) => /^[a-z]{2,20}$/.test(word));
  const hint = typeof value === 'string' ? hintFor(value, candidates, expectation) : '';
  return problem(source, path, `found ${show(value)}, expected ${expectation}${hint}`);
}

/** A number or a truth value in quotes is a text, and looks like what is expected. */
function hintFor(value: string, candidates: readonly string[], expectation: string): string {
  const quoted = candidates.includes(value) || (/^-?\d+$/.test(value) && expectation.includes('number'));
  return quoted ? '; without the quotes?' : didYouMean(value, candidates);
}

function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const part of path) value = (value as Record<string | number, unknown> | undefined)?.[part];
  return value;
}

/** A value as an operator recognises it, on one line, bounded. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'string') return JSON.stringify(shorten(value));
  return `the ${typeof value} ${String(value)}`;
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function oneOf(words: readonly string[]): string {
  const listed = words.slice(0, MAX_LISTED).join(', ');
  if (words.length > MAX_LISTED) return `one of ${listed}, …`;
  return words.length === 1 ? listed : `one of ${listed}`;
}
