/** One thing wrong in a config file, with its place. */
export interface ConfigProblem {
  /** `file:line:column`, 1-based; just the file where no place fits. */
  readonly where: string;
  /** Dotted path of the key, such as `pools.web.algorithm`; empty for the whole file. */
  readonly key: string;
  /** What is wrong, what was found and what was expected, in one line, with a suggestion where there is one. */
  readonly message: string;
}

/** A config file that cannot be used. Carries all problems, not just the first. */
export class ConfigError extends Error {
  readonly code = 'CONFIG';
  readonly problems: readonly ConfigProblem[];
  /** What else is to be said of the file, one line each. */
  readonly warnings: readonly string[];

  constructor(problems: readonly ConfigProblem[], warnings: readonly string[] = []) {
    super(problems.map((p) => `${p.where}: ${p.message}`).join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
    this.warnings = warnings;
  }
}

/**
 * Something that an operator can mend (a bind that is taken, a missing interface, no permission). Its message
 * is one clear line; the daemons print it without a stack trace and exit with 1.
 */
export class OperatorError extends Error {
  readonly code: string;

  /** @param code stable, upper case, such as `BIND_TAKEN` */
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'OperatorError';
    this.code = code;
  }
}

/** The message of whatever was thrown, on one line. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replaceAll(/\s*\n\s*/g, '; ');
}

/** What is wrong in words, one line for each problem. */
export function problemLines(error: unknown): string[] {
  if (error instanceof ConfigError) return error.problems.map(({ where, message }) => `${where}: ${message}`);
  return [messageOf(error)];
}
