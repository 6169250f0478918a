import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import type { Host } from '../../scripts/lab/hosts.ts';
import { type Lab, NODE } from '../../scripts/lab/lab.ts';

/** What `flow-clients.ts` says. */
export interface FlowAnswer {
  readonly clients: number;
  /** Who was reset, closed or led to another backend. */
  readonly troubles: readonly string[];
  readonly backends: readonly string[];
}

/** A process of this test on a host that is asked by lines and answers by lines of JSON. */
export class Helper {
  readonly process: ChildProcess;
  readonly #lines: Interface;
  readonly #answers: string[] = [];

  constructor(lab: Lab, host: Host, argv: string[]) {
    this.process = lab.spawn(host, [NODE, ...argv], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.process.stdin!.on('error', () => {});
    this.#lines = createInterface({ input: this.process.stdout! });
    this.#lines.on('line', (line) => this.#answers.push(line));
  }

  tell(line: string): void {
    this.process.stdin!.write(`${line}\n`);
  }

  async line(): Promise<string> {
    while (this.#answers.length === 0)
      await Promise.race([
        once(this.#lines, 'line'),
        once(this.process, 'exit').then(() => {
          throw new Error('a helper ended');
        }),
      ]);
    return this.#answers.shift()!;
  }

  /** Tells a line and reads the JSON of the answer. */
  async ask<T>(question: string): Promise<T> {
    this.tell(question);
    return JSON.parse(await this.line()) as T;
  }
}
