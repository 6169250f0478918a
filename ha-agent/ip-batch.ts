import { execa, type ResultPromise } from 'execa';
import { messageOf, OperatorError } from '../common/errors.ts';

/** `ip` answers within a millisecond; what takes longer than this hangs. */
const TIMEOUT_MS = 1_000;
/** All addresses of a large machine fit; more is not an answer of `ip`. */
const MAX_ANSWER_CHARS = 4 * 1024 * 1024;
/** Fails in every version of `ip`, so that its error line shows that all earlier errors have been read. */
const END_OF_ERRORS = 'tandem-end';
/**
 * Its answer shows that all earlier answers have been read: every network namespace has `lo`. Never `link show`:
 * within one process it makes all later `addr show` leave out the addresses (iproute2 6.1).
 */
const END_OF_ANSWERS = 'addr show dev lo';

export interface IpAnswer {
  /** Objects of the JSON arrays that the queries printed, in order. */
  readonly objects: readonly Record<string, unknown>[];
  /** What went wrong, without line numbers; empty when nothing did. */
  readonly errors: readonly string[];
}

interface Job {
  readonly lines: readonly string[];
  readonly endLine: number;
  readonly objects: Record<string, unknown>[];
  readonly errors: string[];
  /** Answers about `lo` that are still to come; the last one is that of END_OF_ANSWERS. */
  loopbacksLeft: number;
  errorsRead: boolean;
  readonly timer: NodeJS.Timeout;
  resolve(answer: IpAnswer): void;
  reject(error: Error): void;
}

type IpProcess = ResultPromise<{
  stdin: 'pipe';
  stdout: 'pipe';
  stderr: 'pipe';
  buffer: false;
  reject: false;
  env: { LC_ALL: string };
}>;

/**
 * One long-lived `ip -batch`: a line takes 0.2 ms where a spawned `ip` takes 2.7 ms. It reports errors on
 * another pipe than answers and says nothing on success, so each job ends with one line that surely fails and
 * one that surely answers. Jobs run in order.
 */
export class IpBatch {
  #process: IpProcess | undefined;
  #line = 0;
  #jobs: Job[] = [];
  #out = '';
  #err = '';
  #stale = false;
  #closed = false;

  /** The name of the program; another one only in tests. */
  readonly #program: string;
  readonly #onStart: (pid: number) => void;

  /** @param onStart told the pid of each process that carries out what follows */
  constructor(program = 'ip', onStart: (pid: number) => void = () => {}) {
    this.#program = program;
    this.#onStart = onStart;
  }

  /**
   * Runs lines as `ip` understands them, without the word `ip`; queries are `addr show …` only.
   *
   * @throws OperatorError when `ip` cannot be started, hangs or dies; the next call starts it again
   */
  run(lines: readonly string[]): Promise<IpAnswer> {
    if (this.#closed) return Promise.reject(new OperatorError('IP_CLOSED', 'the agent is stopping'));
    if (this.#stale && this.#jobs.length === 0) this.#end();
    this.#process ??= this.#start();
    const { stdin } = this.#process;
    this.#line += lines.length + 1;
    const endLine = this.#line;
    this.#line++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(`ip did not answer within ${TIMEOUT_MS} ms`), TIMEOUT_MS);
      this.#jobs.push({
        lines,
        endLine,
        objects: [],
        errors: [],
        loopbacksLeft: 1 + lines.filter((line) => line === END_OF_ANSWERS).length,
        errorsRead: false,
        timer,
        resolve,
        reject,
      });
      stdin.write(`${[...lines, END_OF_ERRORS, END_OF_ANSWERS].join('\n')}\n`);
    });
  }

  /**
   * Lets a new process run the next job that finds none under way: `ip` remembers the index of an interface for
   * as long as it runs, so one that was deleted and made again would stay missing for ever.
   */
  refresh(): void {
    this.#stale = true;
  }

  close(): void {
    this.#closed = true;
    this.#end();
    this.#fail('the agent is stopping');
  }

  #end(): void {
    this.#stale = false;
    this.#process?.stdin.end();
    this.#process = undefined;
  }

  #start(): IpProcess {
    const child = execa(this.#program, ['-json', '-force', '-batch', '-'], {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
      buffer: false,
      reject: false,
      env: { LC_ALL: 'C' },
    });
    this.#line = 0;
    this.#out = '';
    this.#err = '';
    if (child.pid !== undefined) this.#onStart(child.pid);
    const mine = (handle: (text: string) => void) => (text: string) => {
      if (this.#process === child) handle(text);
    };
    child.stdin.on('error', () => {});
    child.stdout.setEncoding('utf8').on(
      'data',
      mine((text) => this.#answers(text)),
    );
    child.stderr.setEncoding('utf8').on(
      'data',
      mine((text) => this.#errors(text)),
    );
    child.then(
      (result) => {
        if (this.#process !== child) return;
        const missing = (result as { code?: string }).code === 'ENOENT';
        this.#fail(missing ? 'there is no program "ip"; install iproute2' : 'ip ended unexpectedly');
      },
      (error: unknown) => {
        if (this.#process === child) this.#fail(messageOf(error));
      },
    );
    return child;
  }

  #answers(text: string): void {
    const lines = (this.#out + text).split('\n');
    this.#out = lines.pop() ?? '';
    if (this.#out.length > MAX_ANSWER_CHARS) {
      this.#fail('ip printed more than it should');
      return;
    }
    for (const line of lines) {
      const job = this.#jobs.find(({ loopbacksLeft }) => loopbacksLeft > 0);
      if (line === '' || job === undefined) continue;
      let parsed: unknown;
      try {
        parsed = JSON.parse(line);
      } catch {
        this.#fail('ip printed something that is not JSON; iproute2 4.15 or newer is needed');
        return;
      }
      if (!Array.isArray(parsed)) continue;
      const objects = parsed.filter((item) => typeof item === 'object' && item !== null && 'ifname' in item);
      if (objects.some(({ ifname }) => ifname === 'lo')) job.loopbacksLeft--;
      if (job.loopbacksLeft > 0) job.objects.push(...objects);
    }
    this.#settle();
  }

  #errors(text: string): void {
    const lines = (this.#err + text).split('\n');
    this.#err = lines.pop() ?? '';
    if (this.#err.length > MAX_ANSWER_CHARS) {
      this.#fail('ip printed more than it should');
      return;
    }
    for (const line of lines) {
      const job = this.#jobs.find(({ errorsRead }) => !errorsRead);
      if (job === undefined) continue;
      const number = /^Command failed .*:(\d+)$/.exec(line)?.[1];
      if (number === undefined) {
        if (!line.includes(END_OF_ERRORS)) job.errors.push(line);
      } else if (Number(number) >= job.endLine) job.errorsRead = true;
    }
    this.#settle();
  }

  #settle(): void {
    for (let job = this.#jobs[0]; job?.loopbacksLeft === 0 && job.errorsRead; job = this.#jobs[0]) {
      this.#jobs.shift();
      clearTimeout(job.timer);
      job.resolve({ objects: job.objects, errors: job.errors });
    }
  }

  /** All that waits fails; what was written may still have happened, so the caller must look again. */
  #fail(why: string): void {
    const child = this.#process;
    this.#process = undefined;
    child?.kill('SIGKILL');
    const jobs = this.#jobs;
    this.#jobs = [];
    for (const job of jobs) {
      clearTimeout(job.timer);
      job.reject(new OperatorError('IP_FAILED', why));
    }
  }
}
