import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ServiceNotifier } from '../../common/sd-notify.ts';
import { hasTool, TOOL_PATH } from '../../scripts/lab/missing.ts';
import { until } from '../../scripts/lab/wait.ts';
import { tempDir } from './temp-dir.ts';

const skip = !hasTool('socat') && process.env.CI !== 'true' && 'no socat here';

/** What a service manager would hear at a socket, all in one text. */
async function manager(t: Test, name: (directory: string) => string) {
  const socket = name(tempDir(t));
  const receive = socket.startsWith('@') ? `ABSTRACT-RECV:${socket.slice(1)}` : `UNIX-RECV:${socket}`;
  const child = spawn('socat', ['-u', receive, '-'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, PATH: TOOL_PATH },
  });
  t.teardown(async () => {
    child.kill();
    await once(child, 'close');
  });
  let heard = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    heard += chunk;
  });
  return { socket, hears: (text: RegExp) => until(`${text}`, () => text.test(heard)), heard: () => heard };
}

t.test('ready, beats and stopping reach the service manager', { skip }, async (t) => {
  const { socket, hears } = await manager(t, (directory) => join(directory, 'notify'));
  await until('it listens', () => existsSync(socket));
  const environment = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '30000', WATCHDOG_PID: String(process.pid) };
  const notifier = new ServiceNotifier(environment, (text) => t.fail(text));
  t.strictSame(environment, {}, 'no child process may speak for the daemon');
  notifier.ready();
  await hears(/^READY=1(WATCHDOG=1){2}/);
  notifier.stopping();
  await hears(/STOPPING=1(WATCHDOG=1)+$/);
  notifier.close();
});

t.test('a name in the abstract namespace; a watchdog meant for another process', { skip }, async (t) => {
  const { socket, hears, heard } = await manager(t, () => `@tandem-test-${process.pid}`);
  const environment = () => ({ NOTIFY_SOCKET: socket, WATCHDOG_USEC: '1', WATCHDOG_PID: '1' });
  await until('it listens', () => {
    new ServiceNotifier(environment(), () => {}).stopping();
    return heard() !== '';
  });
  const notifier = new ServiceNotifier(environment(), (text) => t.fail(text));
  notifier.ready();
  notifier.stopping();
  await hears(/STOPPING=1READY=1STOPPING=1$/);
});

t.test('nobody to tell: nothing breaks, and trouble is told once', async (t) => {
  const told: string[] = [];
  const tell = (text: string) => told.push(text);
  new ServiceNotifier({}, tell).ready();
  new ServiceNotifier({ NOTIFY_SOCKET: 'relative' }, tell).ready();
  t.strictSame(told, []);
  const notifier = new ServiceNotifier({ NOTIFY_SOCKET: join(tempDir(t), 'none') }, tell);
  notifier.ready();
  notifier.stopping();
  t.match(told, [/^the service manager does not hear of this daemon: .*ENOENT/]);
  t.equal(told.length, 1);
});
