import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import type { Host } from './hosts.ts';
import { type Lab, NODE } from './lab.ts';

/** A program of the tree on a host that is asked by lines and answers by lines of JSON. */
export class Helper {
  readonly process: ChildProcess;
  readonly #lines: Interface;
  readonly #answers: string[] = [];
  readonly #ended: Promise<never>;

  /** @param argv script and arguments, from the root of the tree */
  constructor(lab: Lab, host: Host, argv: string[]) {
    this.process = lab.spawn(host, [NODE, ...argv], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.process.stdin!.on('error', () => {});
    this.#lines = createInterface({ input: this.process.stdout! });
    this.#lines.on('line', (line) => this.#answers.push(line));
    this.#ended = once(this.process, 'exit').then(() => {
      throw new Error('a helper ended');
    });
    // Only who waits for an answer wants to know.
    this.#ended.catch(() => {});
  }

  tell(line: string): void {
    this.process.stdin!.write(`${line}\n`);
  }

  /** @throws Error when it ends without one */
  async line(): Promise<string> {
    while (this.#answers.length === 0) await Promise.race([once(this.#lines, 'line'), this.#ended]);
    return this.#answers.shift()!;
  }

  /** Tells a line and reads the JSON of the answer. */
  async ask<T>(question: string): Promise<T> {
    this.tell(question);
    return JSON.parse(await this.line()) as T;
  }
}
