import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { tempDir } from './temp-dir.ts';

const MODULE = new URL('../../common/log-output.ts', import.meta.url).href;

/** A process whose standard output is a LogOutput. */
function writer(t: Test, script: string, stdout: 'pipe' | number) {
  const source = `import { openLogOutput } from ${JSON.stringify(MODULE)}; const out = openLogOutput(1); ${script}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', stdout, 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  return { child, stderr: text(child.stderr!), exited: once(child, 'exit') };
}

const LINES = 'for (let i = 0; i < 100; i++) out.write("line " + i + "\\n"); process.exit(0);';
const EXPECTED = Array.from({ length: 100 }, (_, i) => `line ${i}\n`).join('');
/** More than a pipe, a socket and the buffer hold. */
const FLOOD = 'for (let i = 0; i < 4000; i++) out.write("x".repeat(999) + "\\n");';

t.test('what was written before an exit arrives: in a file', async (t) => {
  const file = join(tempDir(t), 'log');
  const { exited } = writer(t, LINES, openSync(file, 'w'));
  t.same(await exited, [0, null]);
  const inOrder = (text: string) => text.split('\n').toSorted();
  t.same(inOrder(readFileSync(file, 'utf8')), inOrder(EXPECTED), 'all lines, each once and whole');
});

t.test('what was written before an exit arrives: in a pipe', async (t) => {
  const { child } = writer(t, LINES, 'pipe');
  t.equal(await text(child.stdout!), EXPECTED);
});

t.test('a full disk loses lines and nothing else', async (t) => {
  const script = `${FLOOD} setTimeout(() => { out.write("again"); process.exit(0); }, 50);`;
  const { exited, stderr } = writer(t, script, openSync('/dev/full', 'w'));
  t.same(await exited, [0, null]);
  t.equal(await stderr, '');
});

t.test('a reader that does not read holds up neither the process nor its exit', async (t) => {
  const { exited, stderr } = writer(t, `${FLOOD} setTimeout(() => process.exit(0), 50);`, 'pipe');
  t.same(await exited, [0, null]);
  t.equal(await stderr, '');
});

t.test('a reader that is gone is no error', async (t) => {
  const script = 'setInterval(() => out.write("x\\n"), 5); process.once("SIGTERM", () => process.exit(0));';
  const { child, exited, stderr } = writer(t, script, 'pipe');
  await once(child.stdout!, 'data');
  child.stdout!.destroy();
  await once(child.stdout!, 'close');
  await new Promise((resolve) => setTimeout(resolve, 50));
  child.kill('SIGTERM');
  t.same(await exited, [0, null]);
  t.equal(await stderr, '');
});
