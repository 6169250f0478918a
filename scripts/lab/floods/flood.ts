import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Host } from '../hosts.ts';
import { type Lab, NODE } from '../lab.ts';
import { AS_STRANGER } from '../stranger.ts';
import type { Order, Outcome } from './order.ts';

const PROGRAM = join(import.meta.dirname, 'attacker.ts');
/** Hosts of the lab share the machine's processors; those of a real network do not. */
const NICE = process.env.FLOOD_NICE ?? '19';

/** A flood in the lab (`attacker.ts`), seen from the program that drives it. */
export class Flood {
  readonly #process: ChildProcess;
  /** It ends by itself. */
  readonly outcome: Promise<Outcome>;

  private constructor(child: ChildProcess, outcome: Promise<Outcome>) {
    this.#process = child;
    this.outcome = outcome;
  }

  /**
   * @param asStranger as a user of that host who owns nothing; needs root
   * @returns once it has begun
   */
  static async start(lab: Lab, host: Host, order: Order, asStranger = false): Promise<Flood> {
    const user = asStranger ? AS_STRANGER : [];
    const argv = ['nice', '-n', NICE, ...user, NODE, PROGRAM, JSON.stringify(order)];
    const child = lab.spawn(host, argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    // What is told to one that has ended shows in the wait for its outcome.
    child.stdin!.on('error', () => {});
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const next = async () => {
      const { value, done } = await lines.next();
      if (done) throw new Error(`the flood of ${order.kind} on ${host} ended too soon`);
      return value as string;
    };
    await next();
    const outcome = next().then((line) => JSON.parse(line) as Outcome);
    outcome.catch(() => {});
    return new Flood(child, outcome);
  }

  /** Ends it now. */
  async stop(): Promise<Outcome> {
    this.#process.stdin!.end();
    return await this.outcome;
  }
}
