import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { deserialize } from 'node:v8';
import type { ConfigAnswer, ReadConfig } from './config-process.ts';
import { ConfigError, messageOf, OperatorError } from './errors.ts';

/** A second is usual for the largest file; a machine that has other things to do may need many. */
const TIMEOUT_MS = 60_000;
/** One on which all starts at once needs longer. Within `TimeoutStartSec` of the units, so that what else there is to serve by gets its turn. */
const START_TIMEOUT_MS = 120_000;
/** The largest config file has 1 MiB. */
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const MAX_HEAP_MIB = 512;
/** Of what the process says when it fails in a way that nobody foresaw. */
const MAX_WORDS = 2000;
/** Once a daemon serves clients or sends heartbeats, these go first. */
const RELOAD_NICE = 5;
/**
 * Runs its arguments for each line, which says how nice, and then tells their exit code; ends with its input. A service may be
 * refused to change priorities (setpriority(2)), of which `nice` complains in words that would hide the cause of a failure:
 * then the shell's session, which is the reader's alone, goes behind others where the kernel schedules by session (sched(7)).
 */
const SHELL = `trap '' HUP USR1 USR2
refused=$(nice -n 1 true 2>&1)
while read -r n; do
  if [ -z "$refused" ]; then
    nice -n "$n" "$@"
  else
    [ "$n" = 0 ] || echo "$n" 2>/dev/null >/proc/self/autogroup
    "$@"
  fi 2>&1
  echo "exit $?"
done`;
const END = /(?:^|\n)exit (\d+)\n$/;
const MAX_END_BYTES = 16;
const ANSWER = /^answer (\S+)$/m;

/**
 * Reads and checks a config file in a process of its own. The parser and the schema take up to a second for a large file
 * and 100 MB of memory, and a file may hang or be made to break them: none of that may touch a thread that beats. A shell
 * that runs already starts each such process: that holds up whoever does it until the new one runs, which takes tens of
 * milliseconds on a busy machine.
 */
export class ConfigReader<T> {
  readonly #command: readonly string[];
  #shell: ChildProcess | undefined;
  #latest: Promise<unknown> = Promise.resolve();
  #nice = 0;
  #limitMs = START_TIMEOUT_MS;

  /**
   * @param script ends in `answerConfig`
   * @param file absolute, or relative to the working directory
   * @param node as `--node` says
   * @param copy where the text of the file is read instead
   */
  constructor(script: URL, file: string, node = '', copy = '') {
    const options = ['--disable-sigusr1', `--max-old-space-size=${MAX_HEAP_MIB}`];
    this.#command = [process.execPath, ...options, fileURLToPath(script), file, node, copy];
  }

  /** @throws ConfigError with every problem of the file; OperatorError where the process refuses it, hangs or dies */
  async read(): Promise<ReadConfig<T>> {
    const output = this.#latest.then(() => this.#run());
    this.#latest = output.catch(() => {});
    const answer = deserialize(answerIn(await output)) as ConfigAnswer<T>;
    if ('value' in answer) return answer;
    if ('problems' in answer) throw new ConfigError(answer.problems);
    if (answer.code === undefined) throw new Error(answer.message);
    throw new OperatorError(answer.code, answer.message);
  }

  /** Ends the shell, and whatever it runs. */
  close(): void {
    const shell = this.#shell;
    this.#shell = undefined;
    if (shell?.pid === undefined) return;
    try {
      process.kill(-shell.pid, 'SIGKILL');
    } catch {
      // It is gone already.
    }
  }

  /** @returns all that was printed until the exit code */
  #run(): Promise<string> {
    this.#shell ??= this.#start();
    const shell = this.#shell;
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      let end = Buffer.alloc(0);
      const settle = (why: unknown) => {
        clearTimeout(timer);
        shell.stdout!.off('data', onOutput);
        shell.off('error', settle).off('close', onClose);
        if (why === undefined) {
          resolve(Buffer.concat(chunks).toString('utf8'));
          return;
        }
        this.close();
        reject(refusal(messageOf(why)));
      };
      const onClose = () => settle('its process was ended');
      const onOutput = (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        end = Buffer.concat([end, chunk.subarray(-MAX_END_BYTES)]).subarray(-MAX_END_BYTES);
        if (bytes > MAX_OUTPUT_BYTES) settle('it says more than any config does');
        else if (END.test(end.toString('latin1'))) settle(undefined);
      };
      // What has hung in the kernel does not end by a signal either: nobody waits for its end.
      const limitMs = this.#limitMs;
      const timer = setTimeout(() => settle(`it took more than ${limitMs / 1000} s`), limitMs);
      shell.stdout!.on('data', onOutput);
      shell.once('error', settle).once('close', onClose);
      shell.stdin!.write(`${this.#nice}\n`);
      this.#nice = RELOAD_NICE;
      this.#limitMs = TIMEOUT_MS;
    });
  }

  #start(): ChildProcess {
    const shell = spawn('sh', ['-c', SHELL, 'sh', ...this.#command], {
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
    });
    shell.stdin.on('error', () => {});
    shell.on('error', () => {});
    shell.once('close', () => {
      if (this.#shell === shell) this.#shell = undefined;
    });
    return shell;
  }
}

function answerIn(output: string): Buffer {
  const answer = ANSWER.exec(output)?.[1];
  const code = END.exec(output)?.[1] ?? '';
  if (code === '0' && answer !== undefined) return Buffer.from(answer, 'base64');
  const words = messageOf(output.replace(END, '').trim().slice(-MAX_WORDS));
  throw refusal(`its process ended with code ${code}${words && `: ${words}`}`);
}

function refusal(why: string): OperatorError {
  return new OperatorError('CONFIG_PROCESS', `the config could not be read: ${why}`);
}
