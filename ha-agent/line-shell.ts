import { execa, type ResultPromise } from 'execa';
import { messageOf } from '../common/errors.ts';

/** No script of ours says more in one line. */
const MAX_LINE_CHARS = 1_024;
/** What a shell that stands still is given at most, beside what the pipe holds. */
const MAX_UNREAD_BYTES = 65_536;

export interface LineShellEvents {
  onLine(line: string): void;
  /** It ended without `close`. Afterwards nothing comes any more. */
  onEnded(why: string): void;
}

/**
 * A long-lived shell that takes a line for each thing to do. It starts programs in a fraction of the time that this
 * process would need, which is large and would have to be forked; and a takeover starts nothing that could fail.
 */
export class LineShell {
  readonly #ended: (why: string) => void;
  readonly #shell: ResultPromise<{
    stdin: 'pipe';
    stdout: 'pipe';
    stderr: 'ignore';
    buffer: false;
    reject: false;
    cleanup: false;
  }>;
  #rest = '';
  #closed = false;

  /**
   * @param script a file for bash that ends with its input
   * @param args of the script
   */
  constructor(script: string, args: readonly string[], events: LineShellEvents) {
    this.#shell = execa('bash', [script, ...args], {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'ignore',
      buffer: false,
      reject: false,
      cleanup: false,
    });
    this.#shell.stdin.on('error', () => {});
    this.#shell.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (this.#rest + chunk).split('\n');
      this.#rest = (lines.pop() ?? '').slice(-MAX_LINE_CHARS);
      for (const line of lines) if (!this.#closed) events.onLine(line);
    });
    const ended = (why: string) => {
      if (this.#closed) return;
      this.#closed = true;
      events.onEnded(why);
    };
    this.#ended = ended;
    this.#shell.once('exit', () => ended('the shell ended'));
    this.#shell.then(
      () => ended('the shell ended'),
      (error: unknown) => ended(messageOf(error)),
    );
  }

  write(line: string): void {
    if (this.#shell.stdin.writableLength > MAX_UNREAD_BYTES) this.kill('the shell stands still');
    else this.#shell.stdin.write(`${line}\n`);
  }

  /** Ends one that hangs; `onEnded` is called. What it has started goes on, each for as long as the script lets it. */
  kill(why: string): void {
    this.#shell.kill('SIGKILL');
    this.#ended(why);
  }

  /** It ends when it has done what was written. Nothing is heard of it any more. */
  close(): void {
    this.#closed = true;
    this.#shell.stdin.end();
  }
}
