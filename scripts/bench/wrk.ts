import { text } from 'node:stream/consumers';
import { OperatorError } from '../../common/errors.ts';
import { VIP } from '../lab/hosts.ts';
import type { Lab } from '../lab/lab.ts';
import { hasTool } from '../lab/missing.ts';

/** @throws OperatorError naming the package that is missing */
export function requireWrk(): void {
  if (!hasTool('wrk')) throw new OperatorError('MISSING', 'wrk is not installed: sudo apt-get install wrk');
}

/** Loads the VIP's port 80 from the client, over kept-alive connections. @returns what wrk prints at its end */
export function wrk(lab: Lab, connections: number, seconds: number): Promise<string> {
  const argv = ['wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '--latency', `http://${VIP}/`];
  return text(lab.spawn('client', argv, { stdio: ['ignore', 'pipe', 'inherit'] }).stdout!);
}

/**
 * What wrk counted, in one line; it says nothing of errors where there were none.
 *
 * @throws Error when it did not come to its end
 */
export function verdict(output: string): string {
  const requests = /(\d+) requests in/.exec(output)?.[1];
  if (requests === undefined) throw new Error('wrk did not come to its end');
  const other = /Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1] ?? '0';
  const errors = /Socket errors: (.*)/.exec(output)?.[1] ?? 'connect 0, read 0, write 0, timeout 0';
  return `${requests} answers, ${other} of them no 200; socket errors: ${errors}`;
}
