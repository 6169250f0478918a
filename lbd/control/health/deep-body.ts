/**
 * Reads the body of a `deep` health check, such as
 * `{"status":"degraded","checks":{"database":true,"cache":false}}`.
 *
 * The vocabulary is that of draft-inadarei-api-health-check: `pass` (also ok, healthy, up), `warn` (also
 * degraded) and everything else, which fails. There a service that warns answers 2xx: it serves, with concerns.
 * So here a degraded backend stays in, and its failing checks are shown by name: taking out all backends
 * because one shared cache is down would turn a slow site into none.
 *
 * - `status` passes, no check fails: healthy.
 * - `status` passes, yet a check fails: unhealthy. The two contradict each other, and a service that wants to
 *   stay in says so with `degraded`.
 * - `status` warns: healthy, whatever the checks say.
 * - No `status`: the checks alone decide.
 *
 * A check is a boolean, a status word, an object with a `status`, or a list of those (as in the draft). An
 * object without a status only informs. Anything else is no verdict, and fails.
 */
export interface DeepVerdict {
  readonly ok: boolean;
  /** In words; quotes only what is short and printable. */
  readonly detail: string;
  /** Names of the checks that fail or warn, at most 32. */
  readonly failingChecks: readonly string[];
}

type Level = 'pass' | 'warn' | 'fail';

const MAX_NAMES = 32;
const MAX_NAME_LENGTH = 64;
const PASS = new Set(['pass', 'passing', 'ok', 'okay', 'healthy', 'up', 'success', 'true']);
const WARN = new Set(['warn', 'warning', 'degraded']);

/** @param body at most as long as the caller read, which bounds the work */
export function judgeDeepBody(body: string): DeepVerdict {
  const report = parseObject(body);
  if (typeof report === 'string') return { ok: false, detail: report, failingChecks: [] };
  const { status } = report;
  const checks = report.checks ?? {};
  if (!isObject(checks))
    return { ok: false, detail: `"checks" is ${kindOf(checks)}, expected an object`, failingChecks: [] };
  const levels = Object.entries(checks).map(([name, check]) => [name, levelOf(check)] as const);
  if (status === undefined && levels.length === 0)
    return { ok: false, detail: 'the body has neither "status" nor "checks"', failingChecks: [] };
  const failingChecks = levels
    .filter(([, level]) => level !== 'pass')
    .slice(0, MAX_NAMES)
    .map(([name]) => printable(name));
  const anyFails = levels.some(([, level]) => level === 'fail');
  const overall = status === undefined ? (anyFails ? 'fail' : 'pass') : levelOf(status);
  const ok = overall === 'warn' || (overall === 'pass' && !anyFails);
  return { ok, detail: inWords(status, overall, anyFails, failingChecks), failingChecks };
}

function inWords(status: unknown, overall: Level, anyFails: boolean, names: readonly string[]): string {
  const verb = anyFails ? 'fail' : 'warn';
  const failing = names.length === 1 ? `check ${names[0]} ${verb}s` : `checks ${names.join(', ')} ${verb}`;
  if (status === undefined) return names.length === 0 ? 'all checks pass' : failing;
  const says = `says ${typeof status === 'string' ? `"${printable(status)}"` : kindOf(status)}`;
  if (names.length === 0) return says;
  return `${says}${overall === 'pass' ? ', but ' : ': '}${failing}`;
}

function levelOf(value: unknown): Level {
  if (typeof value === 'boolean') return value ? 'pass' : 'fail';
  if (typeof value === 'string') {
    const word = value.toLowerCase();
    return PASS.has(word) ? 'pass' : WARN.has(word) ? 'warn' : 'fail';
  }
  if (Array.isArray(value)) return worst(value.map(levelOfObject));
  return levelOfObject(value);
}

/** One level only: a list in a list is no verdict. */
function levelOfObject(value: unknown): Level {
  if (typeof value === 'boolean' || typeof value === 'string') return levelOf(value);
  if (!isObject(value)) return 'fail';
  const { status } = value;
  if (status === undefined) return 'pass';
  return typeof status === 'boolean' || typeof status === 'string' ? levelOf(status) : 'fail';
}

function worst(levels: readonly Level[]): Level {
  return levels.includes('fail') ? 'fail' : levels.includes('warn') ? 'warn' : 'pass';
}

/** @returns what is wrong, in words, where it is no object */
function parseObject(body: string): Record<string, unknown> | string {
  if (body.trim() === '') return 'the body is empty, expected JSON';
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return `the body is not JSON: it begins with "${printable(body.slice(0, 20))}"`;
  }
  return isObject(value) ? value : `the body is ${kindOf(value)}, expected a JSON object`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function kindOf(value: unknown): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** Names come from the network and go to logs and terminals. */
function printable(text: string): string {
  return text.slice(0, MAX_NAME_LENGTH).replaceAll(/[^\x20-\x7e]/g, '?');
}
