import { EventEmitter } from 'node:events';
import type { AgentProcess } from './agent-process.ts';

/** What the kernel keeps of a pipe that nobody reads. */
const PIPE_BYTES = 65_536;
/** From a write on one side of a pipe to its being read on the other. */
const PIPE_MS = 0.05;

/** A simulated program. It runs on its machine as a helper: a pause of the agent alone does not concern it. */
export interface Program {
  /** A line of its input. */
  line(text: string): void;
  /** Something that is not made of lines, such as frames; by default ignored. */
  bytes?(data: Buffer): void;
  /** Its input has ended. */
  end(): void;
  /** It is gone: nothing more happens. */
  killed?(): void;
}

export interface ExitOf {
  readonly exitCode?: number;
  readonly signal?: string;
  readonly code?: string;
  readonly stderr?: string;
  readonly timedOut?: boolean;
}

/** The agent's end of a pipe that it writes. */
class Input extends EventEmitter {
  readonly #child: Child;
  /** Written and not read. */
  unread = 0;
  ended = false;
  destroyed = false;
  writable = true;

  constructor(child: Child) {
    super();
    this.#child = child;
  }

  get writableLength(): number {
    return Math.max(0, this.unread - PIPE_BYTES);
  }

  write(data: string | Buffer, done?: unknown): boolean {
    this.unread += data.length;
    this.#child.toProgram(data, data.length);
    if (typeof done === 'function') queueMicrotask(done as () => void);
    return this.writableLength === 0;
  }

  end(data?: string): this {
    if (this.ended) return this;
    if (data !== undefined) this.write(data);
    this.ended = true;
    this.writable = false;
    this.#child.endOfInput();
    return this;
  }

  destroy(): this {
    this.destroyed = true;
    return this.end();
  }
}

/** The agent's end of a pipe that it reads. */
class Output extends EventEmitter {
  destroyed = false;
  setEncoding(): this {
    return this;
  }
  resume(): this {
    return this;
  }
  destroy(): this {
    this.destroyed = true;
    this.removeAllListeners();
    return this;
  }
}

/** A child process as `execa` gives it: streams, and a promise of its end. */
export class Child {
  readonly pid: number;
  readonly stdin: Input;
  readonly stdout = new Output();
  readonly stderr = new Output();
  readonly name: string;
  killed = false;
  /** It is at something that never ends. */
  stuck = false;
  /** It is at something that takes seconds, of which somebody may wait for the end. */
  lingers = false;
  exitCode: number | null = null;
  signalCode: string | null = null;
  readonly #parent: AgentProcess;
  readonly #ended: Promise<ExitOf & { failed: boolean; shortMessage: string }>;
  #settle!: (exit: ExitOf & { failed: boolean; shortMessage: string }) => void;
  #program: Program | undefined;
  #rest = '';
  #over = false;
  readonly #atExit: (() => void)[] = [];
  readonly #forget: () => void;

  /** @param rejects a failure rejects, as execa does by default */
  constructor(parent: AgentProcess, name: string, rejects: boolean) {
    this.#parent = parent;
    this.name = name;
    this.pid = parent.machine.newPid();
    this.stdin = new Input(this);
    this.#ended = new Promise((resolve, reject) => {
      this.#settle = (exit) => {
        if (rejects && exit.failed) reject(Object.assign(new Error(exit.shortMessage), exit));
        else resolve(exit);
      };
    });
    this.#ended.catch(() => {});
    parent.machine.children.set(this.pid, this);
    this.#forget = parent.atEnd(() => this.stdin.end());
  }

  get running(): boolean {
    return !this.#over;
  }

  /** @param program made with this child, so that it can answer */
  begin(program: Program): this {
    this.#program = program;
    return this;
  }

  // biome-ignore lint/suspicious/noThenProperty: execa's children are awaited.
  then<A, B>(
    done: (exit: ExitOf & { failed: boolean; shortMessage: string }) => A,
    failed?: (error: unknown) => B,
  ): Promise<A | B> {
    return this.#ended.then(done, failed);
  }

  catch<B>(failed: (error: unknown) => B): Promise<unknown> {
    return this.#ended.catch(failed);
  }

  finally(run: () => void): Promise<unknown> {
    return this.#ended.finally(run);
  }

  kill(signal: string = 'SIGTERM'): boolean {
    if (this.#over) return false;
    this.killed = true;
    this.exit({ signal });
    return true;
  }

  unref(): void {}
  ref(): void {}

  once(_event: 'exit', run: () => void): this {
    this.#atExit.push(run);
    return this;
  }

  toProgram(data: string | Buffer, length: number): void {
    this.#parent.machine.after('helper', PIPE_MS, () => {
      if (this.#over) return;
      this.stdin.unread -= length;
      if (typeof data !== 'string') this.#program?.bytes?.(data);
      else {
        const lines = (this.#rest + data).split('\n');
        this.#rest = lines.pop() ?? '';
        for (const line of lines) if (!this.#over) this.#program?.line(line);
      }
    });
  }

  endOfInput(): void {
    this.#parent.machine.after('helper', PIPE_MS, () => {
      if (!this.#over) this.#program?.end();
    });
  }

  /** What the program says. */
  say(text: string, to: 'stdout' | 'stderr' = 'stdout'): void {
    this.#parent.inputLater(PIPE_MS, () => this[to].emit('data', text));
  }

  /** The program ends. */
  exit(exit: ExitOf = { exitCode: 0 }): void {
    if (this.#over) return;
    this.#over = true;
    this.#forget();
    this.#parent.machine.children.delete(this.pid);
    this.#program?.killed?.();
    this.exitCode = exit.exitCode ?? null;
    this.signalCode = exit.signal ?? null;
    const failed = exit.exitCode !== 0;
    const shortMessage = failed
      ? `${this.name} ended: ${exit.signal ?? exit.code ?? `exit code ${exit.exitCode}`}`
      : '';
    this.#parent.inputLater(PIPE_MS, () => {
      for (const run of this.#atExit) run();
      this.stdout.emit('end');
      this.stderr.emit('end');
      this.stdout.emit('close');
      this.stderr.emit('close');
      this.#settle({ stderr: '', ...exit, failed, shortMessage });
    });
  }
}
