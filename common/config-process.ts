import { createHash } from 'node:crypto';
import { serialize } from 'node:v8';
import { loadWithNeeds } from './config.ts';
import { ConfigError, type ConfigProblem, messageOf, OperatorError } from './errors.ts';
import { hostFacts, unmetNeeds } from './host-facts.ts';
import type { UnmetNeed } from './host-needs.ts';
import type { Config } from './model.ts';

/** A config file that was read and checked. */
export interface ReadConfig<T> {
  readonly value: T;
  /** Equal for equal values, in hex. */
  readonly fingerprint: string;
  /** Of the file. */
  readonly text: string;
  /** What the config needs and this host does not have. */
  readonly unmet: readonly UnmetNeed[];
}

/** What the process that reads a config file writes to its standard output: `answer`, and this in base64 by `v8.serialize`. */
export type ConfigAnswer<T> =
  | ReadConfig<T>
  | { readonly problems: readonly ConfigProblem[] }
  | { readonly code: string | undefined; readonly message: string };

/**
 * The other end of `ConfigReader`: the process reads and checks the config, writes what became of it, and ends.
 *
 * @param wanted what a daemon wants of a config; it survives a structured clone
 */
export async function answerConfig(wanted: (config: Config) => unknown): Promise<void> {
  // A signal to all processes of the service is not for this one.
  process.on('SIGHUP', () => {});
  const answer = serialize(await answerOf(wanted));
  process.stdout.write(`\nanswer ${answer.toString('base64')}\n`);
}

async function answerOf(wanted: (config: Config) => unknown): Promise<ConfigAnswer<unknown>> {
  try {
    const [file = '', node = '', copy = ''] = process.argv.slice(2);
    const { config, text, needs } = loadWithNeeds(file, { node: node || undefined, copy: copy || undefined });
    const value = wanted(config);
    const fingerprint = createHash('sha256').update(serialize(value)).digest('hex');
    return { value, fingerprint, text, unmet: await unmetNeeds(needs, await hostFacts()) };
  } catch (error) {
    if (error instanceof ConfigError) return { problems: error.problems };
    return { code: error instanceof OperatorError ? error.code : undefined, message: messageOf(error) };
  }
}
