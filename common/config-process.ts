import { createHash } from 'node:crypto';
import { serialize } from 'node:v8';
import { ConfigError, type ConfigProblem, messageOf, OperatorError } from './errors.ts';

/** What the process that reads a config file writes to its standard output: `answer`, and this in base64 by `v8.serialize`. */
export type ConfigAnswer<T> =
  | { readonly value: T; readonly fingerprint: string }
  | { readonly problems: readonly ConfigProblem[] }
  | { readonly code: string | undefined; readonly message: string };

/**
 * The other end of `ConfigReader`: the process reads and checks the config, writes what became of it, and ends.
 *
 * @param read called with the arguments of the process; what it returns survives a structured clone
 */
export async function answerConfig(
  read: (file: string, node: string | undefined) => Promise<unknown>,
): Promise<void> {
  // A signal to all processes of the service is not for this one.
  process.on('SIGHUP', () => {});
  const [file = '', node] = process.argv.slice(2);
  const answer = serialize(await answerOf(() => read(file, node)));
  process.stdout.write(`\nanswer ${answer.toString('base64')}\n`);
}

async function answerOf(read: () => Promise<unknown>): Promise<ConfigAnswer<unknown>> {
  try {
    const value = await read();
    return { value, fingerprint: createHash('sha256').update(serialize(value)).digest('hex') };
  } catch (error) {
    if (error instanceof ConfigError) return { problems: error.problems };
    return { code: error instanceof OperatorError ? error.code : undefined, message: messageOf(error) };
  }
}
