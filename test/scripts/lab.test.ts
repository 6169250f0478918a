import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { blackoutOf } from '../../scripts/lab/blackout.ts';
import { type OwnerChange, twoOwnersMs } from '../../scripts/lab/ownership.ts';
import { signalAll, signalPid } from '../../scripts/lab/signals.ts';
import { until } from '../../scripts/lab/wait.ts';
import { tempDir } from '../common/temp-dir.ts';

/** `ok` or a cause for each start, one every 2 ms. */
const attempts = (...ends: string[]) =>
  ends.map((end, i) => ({ startMs: 100 + 2 * i, failure: end === 'ok' ? '' : end }));

t.test('the blackout is the longest run of failing starts, up to the next good one', async (t) => {
  const cases: [ends: string[], blackoutMs: number, atMs: number, failures: number][] = [
    [[], 0, 0, 0],
    [['ok', 'ok'], 0, 0, 0],
    [['ok', 'x', 'ok'], 2, 102, 1],
    [['ok', 'x', 'ok', 'x', 'x', 'x', 'ok'], 6, 106, 4],
    [['x', 'x', 'x', 'ok', 'x', 'ok'], 6, 100, 4],
    // Never answered again: what is known is a lower bound.
    [['ok', 'x', 'x'], 2, 102, 2],
  ];
  for (const [ends, blackoutMs, atMs, failures] of cases)
    t.match(
      blackoutOf(attempts(...ends)),
      { requests: ends.length, failures, blackoutMs, atMs },
      ends.join(' '),
    );
});

t.test('attempts may end in another order than they started', async (t) => {
  const [first, second, third] = attempts('ok', 'timeout', 'ok');
  const seen = blackoutOf([first!, third!, second!]);
  t.equal(seen.blackoutMs, 2);
  t.strictSame(seen.causes, { timeout: 1 });
});

t.test('two owners: only the time that both hold the address', async (t) => {
  const change = (atMs: number, node: 'lb1' | 'lb2', held: boolean): OwnerChange => ({ atMs, node, held });
  const start = change(0, 'lb1', true);
  const cases: [changes: OwnerChange[], ms: number][] = [
    [[start], 0],
    [[start, change(10, 'lb1', false), change(20, 'lb2', true)], 0],
    [[start, change(10, 'lb2', true), change(25, 'lb1', false)], 15],
    // It never lets go.
    [[start, change(10, 'lb2', true)], 90],
    [
      [
        start,
        change(10, 'lb2', true),
        change(12, 'lb2', false),
        change(20, 'lb2', true),
        change(30, 'lb1', false),
      ],
      12,
    ],
  ];
  for (const [changes, ms] of cases) t.equal(twoOwnersMs(changes, 100), ms);
});

const stateOf = (pid: number) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]![0];

t.test('all processes of a host are stopped: one has just ended, another has just begun', async (t) => {
  const [first, gone, late] = Array.from({ length: 3 }, () => spawn('sleep', ['60']));
  t.teardown(() => [first, late].map((child) => child!.kill('SIGKILL')));
  gone!.kill('SIGKILL');
  await once(gone!, 'exit');
  const lists = [
    [gone, first],
    [first, late],
    [first, late],
  ].map((list) => list.map((child) => child!.pid!));
  t.strictSame([...signalAll(() => lists.shift()!, 'SIGSTOP')], [first!.pid, late!.pid]);
  for (const { pid } of [first!, late!]) await until('it stops', () => stateOf(pid!) === 'T');
  t.notOk(signalPid(gone!.pid!, 'SIGCONT'));
  t.ok(signalPid(late!.pid!, 'SIGCONT'));
  t.throws(() => signalPid(1, 'SIGNONSENSE' as 'SIGCONT'), { code: 'ERR_UNKNOWN_SIGNAL' });
});

t.test('a command of the lab that is asked for help, or given too much, does nothing', async (t) => {
  const env = { ...process.env, TANDEM_LAB_DIR: tempDir(t) };
  const lab = (...args: string[]) =>
    spawnSync(join(import.meta.dirname, '../../scripts/lab.ts'), args, { encoding: 'utf8', env });
  // That which builds something comes last, and only if the others were right.
  for (const command of ['status', 'down', 'exec', 'shell', 'up'])
    for (const option of ['--help', '-h'])
      if (!t.match(lab(command, option), { status: 0, stdout: /^usage: lab\.ts / }, `${command} ${option}`))
        return;
  for (const [command, more] of [
    ['status', ['client']],
    ['down', ['--all']],
    ['shell', ['client', 'id']],
    ['up', ['--hepl']],
  ] as const)
    if (!t.match(lab(command, ...more), { status: 2, stderr: /^lab: expected: .*, found ".+"\n$/ }, command))
      return;
  t.match(lab('--help'), { status: 0, stdout: /^usage: / });
  t.match(lab(), { status: 2, stderr: /^usage: / });
});
