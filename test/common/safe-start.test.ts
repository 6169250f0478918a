import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { unsafeStart } from '../../common/safe-start.ts';
import { nodeCommand } from './node.ts';
import { tempDir } from './temp-dir.ts';

// Most of the time goes to the start of Node.
t.jobs = 4;

const ROOT = join(import.meta.dirname, '../..');
const DAEMONS = ['lbd', 'ha-agent'] as const;
const MISSING = ['--config', '/no/such.yaml'];

t.test('a plain start, and options that harm nobody', async (t) => {
  t.equal(unsafeStart({}, [], undefined), undefined);
  const flags = ['--disable-sigusr1', '--max-old-space-size=512', '--expose-gc'];
  t.equal(unsafeStart({ NODE_COMPILE_CACHE: '/x', NODE_OPTIONS: '' }, flags, undefined), undefined);
});

t.test('whatever loads code, opens a debugger or writes down memory is named', async (t) => {
  for (const flag of [
    ...[
      '--inspect',
      '--inspect=0.0.0.0:9229',
      '--inspect-brk',
      '--inspect_port=1',
      '--inspect-wait',
      '--debug-port=1',
    ],
    ...['-r', '--require=/x.js', '--import=/x.mjs', '--loader', '--experimental-loader=/x.mjs'],
    ...['--env-file=/x', '--env-file-if-exists=/x', '--experimental-config-file=/x', '--openssl-config=/x'],
    ...[
      '--heapsnapshot-signal=SIGUSR2',
      '--report-on-signal',
      '--heap-prof',
      '--cpu-prof',
      '--tls-keylog=/x',
    ],
  ])
    t.match(unsafeStart({}, [flag], undefined), /^Node was started with -.*; start it without$/, flag);
  for (const name of ['NODE_OPTIONS', 'NODE_PATH', 'NODE_DEBUG', 'OPENSSL_CONF'])
    t.match(unsafeStart({ [name]: 'x' }, [], undefined), `the environment has ${name}: `);
  t.match(unsafeStart({ NODE_TLS_REJECT_UNAUTHORIZED: '0' }, [], undefined), /not be verified/);
  t.match(unsafeStart({}, [], 'ws://127.0.0.1:9229/x'), /a debugger listens/);
});

/** Bit of SIGUSR1 in the masks of `/proc/PID/status`. */
const USR1 = 1n << 9n;

/** Whether a process does something else with SIGUSR1 than to die of it, as each does before Node has begun. */
function takesSignal(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return [...status.matchAll(/^Sig(?:Cgt|Ign):\t(\w+)$/gm)].some(
      ([, mask]) => (BigInt(`0x${mask}`) & USR1) !== 0n,
    );
  } catch {
    return false;
  }
}

/** Runs a program to its end, and sends it SIGUSR1 all the time if that is wanted. */
async function under(file: string, args: readonly string[], env: NodeJS.ProcessEnv, storms = false) {
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'], env });
  const storm = setInterval(() => {
    if (storms && takesSignal(child.pid!)) child.kill('SIGUSR1');
  }, 1);
  const said = text(child.stderr);
  const [code] = await once(child, 'close');
  clearInterval(storm);
  return { code, said: await said };
}

for (const daemon of DAEMONS) {
  const main = join(ROOT, daemon, 'main.ts');
  t.test(`${daemon} refuses a start that opens it to others`, async (t) => {
    const [env, args] = nodeCommand();
    for (const [what, command, says] of [
      ['NODE_OPTIONS', ['NODE_OPTIONS=--trace-warnings', ...args.slice(2), main], /has NODE_OPTIONS: /],
      ['a debugger', [...args, '--inspect=127.0.0.1:0', main], /started with --inspect: /],
      ['a module in front', [...args, '--import=data:text/javascript,', main], /started with --import: /],
    ] as const) {
      const { code, said } = await under(env, [...command, ...MISSING], process.env);
      t.equal(code, 1, what);
      const lines = said.split('\n').filter((line) => line.startsWith(`${daemon}: `));
      t.equal(lines.length, 1, said);
      t.match(lines[0], says);
    }
  });

  t.test(`${daemon} by its own file: SIGUSR1 opens no debugger, however early`, async (t) => {
    // As npm links it.
    const bin = join(tempDir(t), 'bin');
    mkdirSync(bin);
    symlinkSync(main, join(bin, daemon));
    const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
    // A test runner gives every process that a test starts options of its own, whatever the test asks for.
    const argv = ['-u', 'NODE_OPTIONS', join(bin, daemon), ...MISSING];
    const { code, said } = await under('env', argv, env, true);
    t.equal(said, '/no/such.yaml: no such file\n');
    t.equal(code, 1);
  });

  t.test(`${daemon} listens for SIGUSR1 before it loads anything else`, async (t) => {
    const [first] = readFileSync(main, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('import'));
    t.equal(first, "import { EarlySignals } from '../common/early-signals.ts';");
  });
}

t.test('with the listener, SIGUSR1 opens no debugger in a Node that would open one', async (t) => {
  const source = `
    import { url } from 'node:inspector';
    import { EarlySignals } from ${JSON.stringify(join(ROOT, 'common/early-signals.ts'))};
    new EarlySignals();
    process.once('SIGUSR1', () => process.exit(url() === undefined ? 0 : 3));
    process.kill(process.pid, 'SIGUSR1');
    setInterval(() => {}, 1000);
  `;
  const [env, args] = nodeCommand('--input-type=module', '-e', source);
  const { code, said } = await under(env, args, process.env);
  t.equal(said, '');
  t.equal(code, 0);
});
