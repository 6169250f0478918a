import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { type Lab, NODE } from './lab.ts';
import type { LongLivedReport } from './long-lived.ts';

/** Clients that stay connected (`long-lived.ts`), seen from the program that drives the lab. */
export class LongLivedClients {
  readonly #process: ChildProcess;
  readonly #lines: Interface;
  readonly #ended: Promise<never>;

  private constructor(child: ChildProcess) {
    this.#process = child;
    this.#lines = createInterface({ input: child.stdout! });
    this.#ended = once(child, 'exit').then(() => {
      throw new Error('the long-lived clients ended');
    });
    this.#ended.catch(() => {});
  }

  /**
   * @param count of each kind: TCP, WebSocket, HTTP
   * @param everyMs milliseconds between two lines or requests of each
   * @param timeoutMs how long each waits for an answer before it gives up
   * @returns once each has had its first answer
   */
  static async start(lab: Lab, count = 34, everyMs = 20, timeoutMs = 3000): Promise<LongLivedClients> {
    const numbers = { count, 'every-ms': everyMs, 'timeout-ms': timeoutMs };
    const flags = Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const argv = [NODE, join(import.meta.dirname, 'long-lived.ts'), ...flags];
    const clients = new LongLivedClients(lab.spawn('client', argv, { stdio: ['pipe', 'pipe', 'inherit'] }));
    await clients.#line();
    return clients;
  }

  /** Ends them. @returns what they saw */
  async finish(): Promise<LongLivedReport> {
    const line = this.#line();
    this.#process.stdin!.end('stop\n');
    return JSON.parse(await line) as LongLivedReport;
  }

  async #line(): Promise<string> {
    return (await Promise.race([once(this.#lines, 'line'), this.#ended]))[0] as string;
  }
}
