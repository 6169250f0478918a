import type { Child } from './child.ts';
import type { Machine } from './machine.ts';

/** How a thing went: done, failed, or ended because it took longer than it may. */
export type Outcome = 'done' | 'failed' | 'late';

const LINGERS_MS = 1_000;

/** What a program was asked for: one thing after the other, each at the pace of now. What hangs holds up all that follows. */
export class JobQueue {
  readonly #machine: Machine;
  readonly #child: Child;
  readonly #jobs: (() => void)[] = [];
  #busy = false;
  #atEnd: (() => void) | undefined;

  constructor(machine: Machine, child: Child) {
    this.#machine = machine;
    this.#child = child;
  }

  /**
   * @param program whose pace counts, see `Machine.pace`
   * @param usualMs it takes at most when nothing is wrong
   * @param limitMs after which somebody ends it
   */
  add(
    program: string,
    usualMs: number,
    run: (outcome: Outcome) => void,
    limitMs = Number.POSITIVE_INFINITY,
  ): void {
    this.#jobs.push(() => {
      const pace = this.#machine.pace(program, usualMs);
      const takes = typeof pace === 'number' ? pace : pace === 'hang' ? Number.POSITIVE_INFINITY : 0.2;
      const ends = Math.min(takes, limitMs);
      this.#child.stuck = ends === Number.POSITIVE_INFINITY;
      this.#child.lingers = ends >= LINGERS_MS;
      if (this.#child.stuck) return;
      this.#machine.after('helper', ends, () => {
        if (!this.#child.running) return;
        if (pace === 'die') {
          this.#child.exit({ signal: 'SIGKILL' });
          return;
        }
        run(takes > limitMs ? 'late' : pace === 'fail' ? 'failed' : 'done');
        this.#busy = false;
        this.#child.lingers = false;
        this.#next();
      });
    });
    this.#next();
  }

  /** @param run when all that was asked for before is done */
  end(run: () => void): void {
    this.#atEnd = run;
    this.#next();
  }

  #next(): void {
    if (this.#busy || !this.#child.running) return;
    const job = this.#jobs.shift();
    if (job === undefined) {
      this.#atEnd?.();
      return;
    }
    this.#busy = true;
    job();
  }
}
