import { fileURLToPath } from 'node:url';
import { OperatorError } from '../common/errors.ts';
import { LineShell } from './line-shell.ts';

const SCRIPT = fileURLToPath(new URL('nft.sh', import.meta.url));
/** Exit codes of a shell for a program that does not exist, and for one that was killed. */
const NOT_FOUND = 127;
const KILLED = 137;

/** A shell that has said nothing so long after the end of the time of `nft` stands still. */
const HANG_MS = 500;

interface Job {
  readonly timeoutMs: number;
  hang: NodeJS.Timeout | undefined;
  resolve(): void;
  reject(error: Error): void;
}

/** Runs `nft` by a long-lived shell, see `nft.sh`; one transaction after the other. */
export class NftShell {
  #shell: LineShell | undefined;
  #jobs: Job[] = [];

  /**
   * Carries out a script in one transaction.
   *
   * @throws OperatorError with the first complaint
   */
  run(script: string, timeoutMs: number): Promise<void> {
    this.#shell ??= this.#start();
    const shell = this.#shell;
    return new Promise((resolve, reject) => {
      this.#jobs.push({ timeoutMs, hang: undefined, resolve, reject });
      if (this.#jobs.length === 1) this.#watch();
      shell.write(`${timeoutMs / 1000} ${script.replaceAll('\n', '\x01')}`);
    });
  }

  /** What is under way is carried out; nobody hears of it any more. */
  close(): void {
    this.#shell?.close();
    this.#shell = undefined;
    this.#fail('the agent is stopping');
  }

  #start(): LineShell {
    const shell = new LineShell(SCRIPT, [], {
      onLine: (line) => this.#read(line),
      onEnded: (why) => {
        if (this.#shell !== shell) return;
        this.#shell = undefined;
        this.#fail(why);
      },
    });
    return shell;
  }

  /** One at a time: the time of a job begins when the one before it has ended. */
  #watch(): void {
    const [job] = this.#jobs;
    if (job === undefined) return;
    const limitMs = job.timeoutMs + HANG_MS;
    job.hang = setTimeout(() => this.#shell?.kill(`no answer within ${limitMs} ms`), limitMs);
  }

  #read(line: string): void {
    const job = this.#jobs.shift();
    if (job === undefined) return;
    clearTimeout(job.hang);
    this.#watch();
    const code = Number.parseInt(line, 10);
    const why = line.slice(line.indexOf(' ') + 1);
    if (code === 0) job.resolve();
    else if (code === NOT_FOUND)
      job.reject(new OperatorError('NO_NFT', 'there is no program "nft"; install nftables'));
    else {
      const late = code === KILLED && `took longer than ${job.timeoutMs} ms`;
      job.reject(new OperatorError('NFT_FAILED', `nft: ${late || why || `exit code ${code}`}`));
    }
  }

  #fail(why: string): void {
    const jobs = this.#jobs;
    this.#jobs = [];
    for (const job of jobs) clearTimeout(job.hang);
    for (const job of jobs) job.reject(new OperatorError('NFT_FAILED', `nft: ${why}`));
  }
}
