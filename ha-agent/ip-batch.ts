import { execa, type ResultPromise } from 'execa';
import { messageOf, OperatorError } from '../common/errors.ts';

/** `ip` answers within a millisecond; on a machine where all is slow within some hundreds. What takes longer hangs. */
const HANG_MS = 2_000;
/** All addresses of a large machine fit; more is not an answer of `ip`. */
const MAX_ANSWER_CHARS = 4 * 1024 * 1024;
/** Fails in every version of `ip`, so that its error line shows that all earlier errors have been read. */
const END_OF_ERRORS = 'tandem-end';
/**
 * Its answer shows that all earlier answers have been read: every network namespace has `lo`. Never `link show`:
 * within one process it makes all later `addr show` leave out the addresses (iproute2 6.1).
 */
const END_OF_ANSWERS = 'addr show dev lo';
/** What answers with one JSON array, unless it fails. */
const QUERY = /^(?:addr|neigh) show(?: |$)|^route (?:show|get) /;
/** A query that fails for this reason has told something. */
const NO_DEVICE = /^Device "[^"]*" does not exist\.$|^Cannot find device /;

export interface IpAnswer {
  /** Objects of the JSON arrays that the queries printed, in order. */
  readonly objects: readonly Record<string, unknown>[];
  /** What went wrong, without line numbers; empty when nothing did. */
  readonly errors: readonly string[];
  /** Every query was answered, if only by "there is no such interface": what is not among the objects is not there. */
  readonly complete: boolean;
}

interface Job {
  readonly lines: readonly string[];
  readonly endLine: number;
  readonly objects: Record<string, unknown>[];
  readonly errors: string[];
  /** Answers that are to come, without that of END_OF_ANSWERS. */
  queriesLeft: number;
  /** Answers about `lo` alone that are still to come; the last one is that of END_OF_ANSWERS. */
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
  /** Processes that were ended and may still carry out what they were told. */
  readonly #dying = new Set<Promise<void>>();

  /** The name of the program; another one only in tests. */
  readonly #program: string;
  readonly #onStart: () => void;
  readonly #family: readonly string[];

  /**
   * @param onStart called after each start of a process, which carries out what follows
   * @param family that `route show` is about, where it does not follow from the address
   */
  constructor(program = 'ip', onStart: () => void = () => {}, family?: 6) {
    this.#program = program;
    this.#onStart = onStart;
    this.#family = family === undefined ? [] : ['-6'];
  }

  /** Of the process that carries out what follows; undefined: none is running. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Something was asked for and has not been answered. */
  get busy(): boolean {
    return this.#jobs.length > 0;
  }

  /**
   * Runs lines as `ip` understands them, without the word `ip`; queries are `addr show…`, `neigh show …`,
   * `route show …` and `route get …`.
   *
   * @throws OperatorError when `ip` cannot be started, hangs or dies; the next call starts it again
   */
  run(lines: readonly string[], hangMs = HANG_MS): Promise<IpAnswer> {
    if (this.#closed) return Promise.reject(new OperatorError('IP_CLOSED', 'the agent is stopping'));
    if (this.#stale && !this.busy) this.#retire();
    this.#process ??= this.#start();
    const { stdin } = this.#process;
    this.#line += lines.length + 1;
    const endLine = this.#line;
    this.#line++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => void this.end(`ip did not answer within ${hangMs} ms`), hangMs);
      this.#jobs.push({
        lines,
        endLine,
        objects: [],
        errors: [],
        queriesLeft: lines.filter((line) => QUERY.test(line)).length,
        loopbacksLeft: 1 + lines.filter((line) => line === END_OF_ANSWERS).length,
        errorsRead: false,
        timer,
        resolve,
        reject,
      });
      stdin.write(`${[...lines, END_OF_ERRORS, END_OF_ANSWERS].join('\n')}\n`);
    });
  }

  /** Has a process ready before it is needed. */
  warm(): void {
    if (!this.#closed) this.#process ??= this.#start();
  }

  /**
   * Lets a new process run what follows, once what is under way is done: `ip` remembers the index of an interface for as
   * long as it runs, so one that was deleted and made again would stay missing for ever.
   */
  refresh(): void {
    this.#stale = true;
    if (this.busy || this.#process === undefined) return;
    this.#retire();
    this.warm();
  }

  /**
   * Kills the process. All that waits fails; what was written may still have happened, so the caller must look again.
   *
   * @returns settles when nothing of it can happen any more; with processes that the kernel holds up that may take long
   */
  end(why: string): Promise<void> {
    this.#fail(why);
    return this.ended;
  }

  /** Settles when nothing can happen any more that processes were told which have been ended. */
  get ended(): Promise<void> {
    return Promise.all(this.#dying).then(() => {});
  }

  close(): void {
    this.#closed = true;
    this.#retire();
    this.#fail('the agent is stopping');
  }

  /** Lets the process end by itself, when it has done what it was told. */
  #retire(): void {
    this.#stale = false;
    this.#process?.stdin.end();
    this.#process = undefined;
  }

  #start(): IpProcess {
    const child: IpProcess = execa(this.#program, [...this.#family, '-json', '-force', '-batch', '-'], {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
      buffer: false,
      reject: false,
      env: { LC_ALL: 'C' },
    });
    this.#process = child;
    this.#line = 0;
    this.#out = '';
    this.#err = '';
    this.#onStart();
    const mine = (handle: (text: string) => void) => (text: string) => {
      if (this.#process === child) handle(text);
    };
    child.stdin.on('error', () => {});
    const answers = mine((text) => this.#answers(text));
    const errors = mine((text) => this.#errors(text));
    child.stdout.setEncoding('utf8').on('data', answers);
    child.stderr.setEncoding('utf8').on('data', errors);
    const ended = (why: string) => {
      if (this.#process === child) this.#fail(why);
    };
    // It comes before the promise where something that it has started lives on.
    child.once('exit', () => ended('ip ended unexpectedly'));
    child.then(
      (result) => {
        const missing = (result as { code?: string }).code === 'ENOENT';
        ended(missing ? 'there is no program "ip"; install iproute2' : 'ip ended unexpectedly');
      },
      (error: unknown) => ended(messageOf(error)),
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
      const objects = parsed.filter(isTelling);
      // A query for an address tells nothing of the interface's type, one for all has more interfaces.
      const [first] = objects;
      const isWhole = first !== undefined && ('link_type' in first || this.#family.length > 0);
      if (objects.length === 1 && isWhole && first.ifname === 'lo') job.loopbacksLeft--;
      if (job.loopbacksLeft === 0) continue;
      job.objects.push(...objects);
      job.queriesLeft--;
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
      if (number !== undefined) {
        if (Number(number) >= job.endLine) job.errorsRead = true;
        else this.#failed(job, Number(number));
      } else if (!line.includes(END_OF_ERRORS)) job.errors.push(line);
    }
    this.#settle();
  }

  #failed(job: Job, number: number): void {
    const line = job.lines[number - (job.endLine - job.lines.length)] ?? '';
    if (QUERY.test(line) && NO_DEVICE.test(job.errors.at(-1) ?? '')) job.queriesLeft--;
  }

  #settle(): void {
    for (let job = this.#jobs[0]; job?.loopbacksLeft === 0 && job.errorsRead; job = this.#jobs[0]) {
      this.#jobs.shift();
      clearTimeout(job.timer);
      const { objects, errors } = job;
      job.resolve({ objects, errors, complete: job.queriesLeft <= 0 });
    }
  }

  #fail(why: string): void {
    const child = this.#process;
    this.#process = undefined;
    if (child !== undefined) this.#kill(child);
    const jobs = this.#jobs;
    this.#jobs = [];
    for (const job of jobs) {
      clearTimeout(job.timer);
      job.reject(new OperatorError('IP_FAILED', why));
    }
  }

  #kill(child: IpProcess): void {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    this.#dying.add(gone);
    void gone.then(() => this.#dying.delete(gone));
    child.kill('SIGKILL');
  }
}

/** Empty objects stand for interfaces that a query leaves out. */
function isTelling(item: unknown): item is Record<string, unknown> {
  return typeof item === 'object' && item !== null && ('ifname' in item || 'dst' in item);
}
