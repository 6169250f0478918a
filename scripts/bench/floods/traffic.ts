import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Lab, NODE } from '../../lab/lab.ts';
import type { Window } from './visitors.ts';

/** Steady traffic (`visitors.ts`), seen from the benchmark. */
export class Traffic {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess) {
    this.#process = child;
    child.stdin!.on('error', () => {});
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  /** @returns once it flows */
  static async start(lab: Lab): Promise<Traffic> {
    const argv = [NODE, join(import.meta.dirname, 'visitors.ts')];
    const traffic = new Traffic(lab.spawn('client', argv, { stdio: ['pipe', 'pipe', 'inherit'] }));
    await traffic.#next();
    return traffic;
  }

  /** Ends a window. @returns what was seen since the last mark */
  async mark(): Promise<Window> {
    this.#process.stdin!.write('mark\n');
    return JSON.parse(await this.#next()) as Window;
  }

  async stop(): Promise<void> {
    const gone = once(this.#process, 'exit');
    this.#process.stdin!.end();
    await gone;
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('the traffic ended');
    return value;
  }
}
