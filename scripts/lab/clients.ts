import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Lab, NODE } from './lab.ts';
import type { TrafficLine, TrafficReport } from './traffic.ts';

export interface ClientsOptions {
  /** Milliseconds between two starts of the probe; default 2. */
  readonly intervalMs?: number;
  /** Sticky clients of each kind; default 20. */
  readonly sticky?: number;
  /** Connections that are kept alive; default 20. */
  readonly keptAlive?: number;
  /** Milliseconds between two visits of sticky clients; default 10. */
  readonly visitMs?: number;
  /** Milliseconds between two requests on each connection that is kept alive; default 100. */
  readonly askMs?: number;
  /** A start of the probe that is not answered by then has failed; default 800. Kept connections: 3000 at least. */
  readonly timeoutMs?: number;
}

/** The clients (`traffic.ts`), seen from the program that drives the lab. */
export class Clients {
  readonly #process: ChildProcess;
  #waiting: { type: TrafficLine['type']; resolve(line: TrafficLine): void } | undefined;

  private constructor(child: ChildProcess) {
    this.#process = child;
    // What is told to clients that have ended shows in the wait for their answer.
    child.stdin!.on('error', () => {});
    createInterface({ input: child.stdout! }).on('line', (text) => this.#read(JSON.parse(text)));
  }

  /** @returns once every client has its backend and the traffic flows */
  static async start(lab: Lab, options: ClientsOptions = {}): Promise<Clients> {
    const {
      intervalMs = 2,
      sticky = 20,
      keptAlive = 20,
      timeoutMs = 800,
      visitMs = 10,
      askMs = 100,
    } = options;
    const flags = Object.entries({
      'interval-ms': intervalMs,
      'timeout-ms': timeoutMs,
      'kept-alive': keptAlive,
      'visit-ms': visitMs,
      'ask-ms': askMs,
      sticky,
    }).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const argv = [NODE, join(import.meta.dirname, 'traffic.ts'), ...flags];
    const clients = new Clients(lab.spawn('client', argv, { stdio: ['pipe', 'pipe', 'inherit'] }));
    await clients.#next('bound');
    return clients;
  }

  /** What the clients saw since the answer to the last report, or since the start. */
  async report(): Promise<TrafficReport> {
    this.#process.stdin!.write('report\n');
    return (await this.#next('report')) as TrafficReport & TrafficLine;
  }

  /** Ends them; does nothing where they have ended. */
  async stop(): Promise<void> {
    if (!this.#runs) return;
    const gone = once(this.#process, 'exit');
    this.#process.stdin!.end('stop\n');
    await gone;
  }

  get #runs(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  #next(type: TrafficLine['type']): Promise<TrafficLine> {
    return new Promise((resolve, reject) => {
      const ended = () => reject(new Error(`the clients ended while we waited for "${type}"`));
      if (!this.#runs) ended();
      this.#process.once('exit', ended);
      this.#waiting = {
        type,
        resolve: (line) => {
          this.#process.off('exit', ended);
          resolve(line);
        },
      };
    });
  }

  #read(line: TrafficLine): void {
    if (line.type === this.#waiting?.type) {
      const { resolve } = this.#waiting;
      this.#waiting = undefined;
      resolve(line);
    }
  }
}
