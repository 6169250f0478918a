import { parseArgs } from 'node:util';
import type { Outcome } from './outcome.ts';

/** What the load generators of this directory are told; each is a program of its own, so that it can be pinned. */
export interface Task {
  readonly port: number;
  readonly path: string;
  readonly seconds: number;
  readonly connections: number;
  /** Requests a second; NaN where the generator does not take a rate. */
  readonly rate: number;
  /** PEM file of the certificate to trust. */
  readonly ca: string;
  readonly tls: boolean;
  readonly resume: boolean;
  readonly cookie: string;
}

export function taskOf(argv: readonly string[]): Task {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      port: { type: 'string' },
      path: { type: 'string', default: '/' },
      seconds: { type: 'string', default: '1' },
      connections: { type: 'string', default: '1' },
      rate: { type: 'string' },
      ca: { type: 'string', default: '' },
      tls: { type: 'boolean', default: false },
      resume: { type: 'boolean', default: false },
      cookie: { type: 'string', default: '' },
    },
  });
  return {
    port: Number(values.port),
    path: values.path,
    seconds: Number(values.seconds),
    connections: Number(values.connections),
    rate: Number(values.rate),
    ca: values.ca,
    tls: values.tls,
    resume: values.resume,
    cookie: values.cookie,
  };
}

/** Failures by cause, while a generator runs. */
export class Failures {
  readonly counts: Record<string, number> = {};

  add(cause: string): void {
    this.counts[cause] = (this.counts[cause] ?? 0) + 1;
  }
}

/** Prints the outcome and ends, whatever is still open. */
export function finish(outcome: Outcome): void {
  process.stdout.write(`${JSON.stringify(outcome)}\n`, () => process.exit());
}

/** Text of a GET request without a body. */
export function requestText({ path, cookie }: Task, connection = ''): string {
  const fields = [cookie && `Cookie: ${cookie}\r\n`, connection && `Connection: ${connection}\r\n`].join('');
  return `GET ${path} HTTP/1.1\r\nHost: bench\r\n${fields}\r\n`;
}
