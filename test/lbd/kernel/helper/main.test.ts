import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { SOCKETS } from '../../../../common/control.ts';
import { VERSION } from '../../../../common/version.ts';
import { hasTool, TOOL_PATH } from '../../../../scripts/lab/missing.ts';
import { until } from '../../../../scripts/lab/wait.ts';
import { nodeCommand } from '../../../common/node.ts';
import { tempDir } from '../../../common/temp-dir.ts';

const MAIN = fileURLToPath(new URL('../../../../lbd/kernel/helper/main.ts', import.meta.url));
/** Runs the helper until the end of the test. @param before a command line that starts it */
function start(t: Test, runDir: string, ...before: string[]): ChildProcess {
  const config = join(runDir, 'tandem.yaml');
  writeFileSync(config, 'frontends: {}\npools: {}\n');
  const [file, args] = nodeCommand(MAIN, '--config', config, '--run-dir', runDir);
  const [program, ...more] = [...before, file, ...args];
  const child = spawn(program!, more, { stdio: 'inherit', env: { ...process.env, PATH: TOOL_PATH } });
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

/** Waits until the helper answers. @returns what it says to hello, and to a VIP of nobody */
function ask(t: Test, path: string): Promise<unknown[]> {
  return until('the helper answers', async () => {
    const socket = createConnection(path);
    t.teardown(() => socket.destroy());
    socket.on('error', () => {});
    socket.write(`${JSON.stringify({ id: 1, type: 'hello', version: VERSION })}\n`);
    socket.write(`${JSON.stringify({ id: 2, type: 'young', young: { '192.0.2.1': null } })}\n`);
    const answers: unknown[] = [];
    for await (const line of createInterface(socket))
      if (answers.push(JSON.parse(line)) === 2) return answers;
    return undefined;
  });
}
const ANSWERS = [
  { id: 1, ok: { token: String } },
  { id: 2, code: 'NOT_OURS' },
];

t.test('by hand it makes its socket itself, for its group', async (t) => {
  const runDir = tempDir(t);
  const path = join(runDir, SOCKETS.kernel);
  const child = start(t, runDir);
  t.match(await ask(t, path), ANSWERS);
  t.equal(statSync(path).mode & 0o777, 0o660);
  child.kill('SIGTERM');
  t.strictSame(await once(child, 'exit'), [0, null]);
});

const ACTIVATE = 'systemd-socket-activate';
const skip = !hasTool(ACTIVATE) && `no ${ACTIVATE} here`;
t.test('the service manager has it started by the first question', { skip }, async (t) => {
  const runDir = tempDir(t);
  const path = join(runDir, 'given.sock');
  const child = start(t, runDir, ACTIVATE, '-l', path);
  t.match(await ask(t, path), ANSWERS);
  child.kill('SIGTERM');
  t.strictSame(await once(child, 'exit'), [0, null]);
  t.ok(statSync(path).isSocket(), 'it is not the helper’s to remove');
});
