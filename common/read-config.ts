import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { deserialize } from 'node:v8';
import type { ConfigAnswer } from './config-process.ts';
import { ConfigError, messageOf, OperatorError } from './errors.ts';

/** A second is usual for the largest file; a machine that boots, or has other things to do, may need many. */
const TIMEOUT_MS = 60_000;
/** The largest config has 2 MiB. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const MAX_HEAP_MIB = 512;
/** Of what the process says when it fails in a way that nobody foresaw. */
const MAX_WORDS = 2000;

export interface ReadConfig<T> {
  readonly value: T;
  /** Equal for equal values, in hex. */
  readonly fingerprint: string;
}

/**
 * Reads and checks a config file in a process of its own. The parser and the schema take up to a second for a large file
 * and 100 MB of memory, and a file may hang or be made to break them: none of that may touch a thread that beats.
 *
 * @param script ends in `answerConfig`
 * @param file absolute, or relative to the working directory
 * @param node as `--node` says
 * @throws ConfigError with every problem of the file; OperatorError where the process refuses the config, hangs or dies
 */
export async function readConfig<T>(
  script: URL,
  file: string,
  node: string | undefined,
): Promise<ReadConfig<T>> {
  const answer = deserialize(
    await run(script, node === undefined ? [file] : [file, node]),
  ) as ConfigAnswer<T>;
  if ('value' in answer) return answer;
  if ('problems' in answer) throw new ConfigError(answer.problems);
  if (answer.code === undefined) throw new Error(answer.message);
  throw new OperatorError(answer.code, answer.message);
}

function run(script: URL, args: readonly string[]): Promise<Buffer> {
  const options = ['--disable-sigusr1', `--max-old-space-size=${MAX_HEAP_MIB}`];
  const child = spawn(process.execPath, [...options, fileURLToPath(script), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const chunks: Buffer[] = [];
  let bytes = 0;
  let words = '';
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) child.kill('SIGKILL');
    else chunks.push(chunk);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-MAX_WORDS);
  });
  return new Promise((resolve, reject) => {
    const fail = (why: string) => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      reject(new OperatorError('CONFIG_PROCESS', `the config could not be read: ${why}`));
    };
    // What has hung in the kernel does not end by a signal either: nobody waits for its end.
    const timer = setTimeout(() => fail(`it took more than ${TIMEOUT_MS / 1000} s`), TIMEOUT_MS);
    child.once('error', (error) => fail(messageOf(error)));
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0 && bytes <= MAX_ANSWER_BYTES) resolve(Buffer.concat(chunks));
      else
        fail(
          `its process ended with ${signal ?? `code ${code}`}${words === '' ? '' : `: ${messageOf(words.trim())}`}`,
        );
    });
  });
}
