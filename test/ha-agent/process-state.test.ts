import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { SOCKETS } from '../../common/control.ts';
import { ProcessState } from '../../ha-agent/process-state.ts';
import { until } from '../../scripts/lab/wait.ts';
import { freePort } from '../common/free-port.ts';
import { tempDir } from '../common/temp-dir.ts';
import { LbdProcess, writeConfig } from '../lbd/lbd-process.ts';
import { passFile, startSleeper } from './stat-of.ts';

/** Where the processes of others are not to be seen. */
const HIDDEN = '/nonexistent';

function setup(t: Test, proc?: string) {
  const path = join(tempDir(t), 'lbd-stat.sock');
  const unseen: string[] = [];
  const state = new ProcessState(path, (why) => unseen.push(why), proc);
  t.teardown(() => state.follow(undefined));
  return { path, state, unseen };
}

/** Waits for an answer of the state, which takes its turns meanwhile. */
function answers(state: ProcessState, wanted: boolean | undefined): Promise<unknown> {
  return until(`the answer ${wanted}`, () => {
    state.turn();
    return state.canGoOn() === wanted;
  });
}

t.test('a stopped process is told from one that goes on where /proc hides both', async (t) => {
  const { path, state, unseen } = setup(t, HIDDEN);
  const sleeper = startSleeper(t);
  await passFile(t, path, `/proc/${sleeper.pid}/stat`);
  state.follow(sleeper.pid);
  t.equal(state.canGoOn(), undefined, 'before the descriptor is there nobody knows');
  await answers(state, true);
  for (const _ of [1, 2]) {
    sleeper.kill('SIGSTOP');
    await answers(state, false);
    sleeper.kill('SIGCONT');
    await answers(state, true);
  }
  sleeper.kill('SIGKILL');
  await once(sleeper, 'exit');
  t.equal(state.canGoOn(), false, 'one that is gone does not go on');
  t.strictSame([unseen, state.warnings], [[], []]);
});

t.test('what an lbd passes is there with its first word', async (t) => {
  const { path, state, unseen } = setup(t, HIDDEN);
  const sleeper = startSleeper(t);
  state.expect();
  await new Promise((resolve) => setImmediate(resolve));
  state.follow(undefined);
  const server = await passFile(t, path, `/proc/${sleeper.pid}/stat`);
  const passed = once(server, 'connection');
  state.expect();
  state.expect();
  await passed;
  // Nobody can ask any more.
  server.close();
  state.follow(sleeper.pid);
  await answers(state, true);
  t.strictSame(unseen, []);
});

t.test('an lbd that came too late for the first try is asked again with its first word', async (t) => {
  const { path, state } = setup(t, HIDDEN);
  const sleeper = startSleeper(t);
  state.expect();
  await new Promise((resolve) => setImmediate(resolve));
  const server = await passFile(t, path, `/proc/${sleeper.pid}/stat`);
  const passed = once(server, 'connection');
  state.follow(sleeper.pid);
  await passed;
  await answers(state, true);
});

t.test('a real lbd shows its state', async (t) => {
  const directory = tempDir(t);
  const file = writeConfig(directory, [
    'workers: 1',
    'admin: { metrics: false }',
    `frontends: { web: { bind: ["127.0.0.1:${await freePort()}"], mode: tcp, pool: web } }`,
    'pools: { web: { backends: { s1: { address: "127.0.0.1:9" } }, health: { type: none } } }',
  ]);
  const lbd = new LbdProcess(t, directory, ['--config', file]);
  await lbd.logged(/^ready/);
  const state = new ProcessState(join(lbd.runDir, SOCKETS.stat), () => {}, HIDDEN);
  t.teardown(() => state.follow(undefined));
  state.follow(lbd.child.pid);
  await answers(state, true);
  lbd.child.kill('SIGSTOP');
  await answers(state, false);
  lbd.child.kill('SIGCONT');
  await answers(state, true);
  t.strictSame((await lbd.status()).warnings, []);
  lbd.child.kill('SIGTERM');
  await lbd.exited;
  t.notOk(existsSync(join(lbd.runDir, SOCKETS.stat)), 'it leaves no socket behind');
});

t.test('the next lbd has a descriptor of its own, and that of the former one is closed', async (t) => {
  const { path, state } = setup(t, HIDDEN);
  const open = () => readdirSync('/proc/self/fd').length;
  const [former, next] = [startSleeper(t), startSleeper(t)];
  const server = await passFile(t, path, `/proc/${former.pid}/stat`);
  state.follow(former.pid);
  await answers(state, true);
  await new Promise((resolve) => server.close(resolve));
  await passFile(t, path, `/proc/${next.pid}/stat`);
  former.kill('SIGSTOP');
  await answers(state, false);
  const withFormer = open();
  state.follow(undefined);
  t.equal(state.canGoOn(), undefined);
  await until('it is closed', () => open() === withFormer - 1);
  state.follow(next.pid);
  await answers(state, true);
  state.follow(undefined);
  await until('all is closed', () => open() === withFormer - 1);
});

t.test('an lbd of a former release is looked at by its number', async (t) => {
  const { state, unseen } = setup(t);
  const sleeper = startSleeper(t);
  state.follow(sleeper.pid);
  await answers(state, true);
  sleeper.kill('SIGSTOP');
  await answers(state, false);
  for (let i = 0; i < 500; i++) state.turn();
  t.strictSame([unseen, state.warnings], [[], []]);
});

t.test('where neither way works it is said, once, for as long as it is so', async (t) => {
  const { path, state, unseen } = setup(t, HIDDEN);
  const sleeper = startSleeper(t);
  state.follow(sleeper.pid);
  const turnsUntil = (what: string, look: () => boolean) =>
    until(what, () => {
      for (let i = 0; i < 40; i++) state.turn();
      return look();
    });
  await turnsUntil('it is said', () => state.warnings.length === 1);
  t.match(unseen, [
    /^the process of lbd is hidden \(connect ENOENT .*\): when it is late it counts as stopped$/,
  ]);
  t.equal(state.canGoOn(), undefined);
  for (let tries = 0; tries < 5; tries++) {
    for (let i = 0; i < 100; i++) state.turn();
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.strictSame(state.warnings, unseen);
  t.equal(unseen.length, 1);
  await passFile(t, path, `/proc/${sleeper.pid}/stat`);
  await turnsUntil('it is over', () => state.canGoOn() === true);
  t.strictSame(state.warnings, []);
});

t.test('whatever else is passed is not read, and closed', async (t) => {
  const sleeper = startSleeper(t);
  const directory = tempDir(t);
  const pipe = join(directory, 'pipe');
  execFileSync('mkfifo', [pipe]);
  // Both ends, so that neither waits.
  const ends = openSync(pipe, 'r+');
  t.teardown(() => closeSync(ends));
  for (const file of [pipe, '/dev/zero', `/proc/${process.pid}/stat`, `/proc/${sleeper.pid}/status`]) {
    const { path, state } = setup(t, HIDDEN);
    await passFile(t, path, file);
    const before = readdirSync('/proc/self/fd').length;
    state.follow(sleeper.pid);
    await until(`${file} is refused`, () => {
      for (let i = 0; i < 40; i++) state.turn();
      return state.warnings.some((line) => line.includes('it passed the descriptor of something else'));
    });
    t.equal(state.canGoOn(), undefined, file);
    state.follow(undefined);
    await until(`${file} is closed`, () => readdirSync('/proc/self/fd').length === before);
  }
});

t.test('an end that accepts and says nothing costs no turn any time', async (t) => {
  const { path, state, unseen } = setup(t);
  const server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => server.close());
  const sleeper = startSleeper(t);
  state.follow(sleeper.pid);
  await once(server, 'connection');
  for (let i = 0; i < 1_000; i++) state.turn();
  t.equal(state.canGoOn(), true, 'by its number meanwhile');
  t.strictSame(unseen, []);
});
