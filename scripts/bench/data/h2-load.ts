import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { finish, taskOf } from './generator.ts';

/** Requests at a time on each connection. */
const STREAMS = 10;

/** Kept-alive HTTP/2 by h2load of nghttp2. */
const task = taskOf(process.argv.slice(2));
const scheme = task.tls ? 'https' : 'http';
const { stdout } = await promisify(execFile)(
  'h2load',
  [
    ...['-t', '1', '-c', String(task.connections), '-m', String(STREAMS), '-D', String(task.seconds)],
    ...['-H', `cookie: ${task.cookie}`, `${scheme}://127.0.0.1:${task.port}${task.path}`],
  ],
  { maxBuffer: 1 << 24 },
);
finish({
  units: figure(/(\d+) succeeded/),
  bytes: figure(/\((\d+)\) data/),
  seconds: figure(/finished in ([\d.]+)s/),
  failures: {
    failed: figure(/(\d+) failed/),
    errored: figure(/(\d+) errored/),
    timeout: figure(/(\d+) timeout/),
  },
});

function figure(pattern: RegExp): number {
  const found = pattern.exec(stdout)?.[1];
  if (found === undefined) throw new Error(`h2load printed no ${pattern.source}:\n${stdout}`);
  return Number(found);
}
