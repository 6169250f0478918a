import { execFileSync } from 'node:child_process';
import { chmodSync, constants, openSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { ServiceNotifier } from '../../common/sd-notify.ts';
import { tempDir } from './temp-dir.ts';

/** A `systemd-notify` first on PATH that tells here what it was called with. */
function fakeSystemd(t: Test) {
  const directory = tempDir(t);
  const fifo = join(directory, 'calls');
  execFileSync('mkfifo', [fifo]);
  const program = join(directory, 'systemd-notify');
  writeFileSync(program, `#!/bin/sh\necho "$NOTIFY_SOCKET $1" > ${fifo}\n[ "$1" != STOPPING=1 ]\n`);
  chmodSync(program, 0o755);
  const before = process.env.PATH;
  process.env.PATH = `${directory}:${before}`;
  // Open for writing too, so that it does not end between two calls.
  const stream = new Socket({ fd: openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK), writable: false });
  const lines = createInterface({ input: stream })[Symbol.asyncIterator]();
  t.teardown(() => {
    process.env.PATH = before;
    stream.destroy();
  });
  return async () => (await lines.next()).value as string;
}

t.test('ready, beats and stopping reach systemd-notify', async (t) => {
  const next = fakeSystemd(t);
  const environment = { NOTIFY_SOCKET: '/run/x', WATCHDOG_USEC: '30000', WATCHDOG_PID: String(process.pid) };
  const notifier = new ServiceNotifier(environment);
  t.strictSame(environment, {}, 'no child process may speak for the daemon');
  notifier.ready();
  t.equal(await next(), '/run/x READY=1');
  t.equal(await next(), '/run/x WATCHDOG=1');
  t.equal(await next(), '/run/x WATCHDOG=1');
  notifier.stopping();
  for (let line = await next(); line !== '/run/x STOPPING=1'; line = await next());
  // The helper ended after that (see fakeSystemd); the next beat starts another one.
  t.equal(await next(), '/run/x WATCHDOG=1');
  notifier.close();
});

t.test('a watchdog meant for another process is not answered', async (t) => {
  const next = fakeSystemd(t);
  const notifier = new ServiceNotifier({ NOTIFY_SOCKET: '/run/x', WATCHDOG_USEC: '1', WATCHDOG_PID: '1' });
  notifier.ready();
  t.equal(await next(), '/run/x READY=1');
  notifier.stopping();
  t.equal(await next(), '/run/x STOPPING=1');
  notifier.close();
});

t.test('without a service manager nothing is started, and without a shell nothing breaks', async (t) => {
  new ServiceNotifier({}, '/nonexistent').ready();
  const notifier = new ServiceNotifier({ NOTIFY_SOCKET: '/run/x' }, '/nonexistent');
  notifier.ready();
  await new Promise((resolve) => setImmediate(resolve));
  notifier.stopping();
  t.pass('no exception');
});
