import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { AdminStates } from '../../../lbd/control/admin-states.ts';
import { adminKey, adminValue, healthKey } from '../../../lbd/control/replicated.ts';
import { Registers } from '../../../lbd/session/registers.ts';
import { until } from '../../../scripts/lab/wait.ts';
import { tempDir } from '../../common/temp-dir.ts';

const DRAIN = adminValue({ admin: 'drain', weight: undefined, atMs: 1_700_000_000_000 });
const READY = adminValue({ admin: 'ready', weight: undefined, atMs: 1_700_000_000_001 });

/** An lbd's part of it, with a directory that a former one may have left. */
async function start(t: Test, directory: string, node = 'lb1', drained: readonly string[] = []) {
  const told: string[] = [];
  const registers = new Registers(node);
  const states = new AdminStates({
    directory,
    registers,
    knows: (id) => id.startsWith('web/'),
    isDrained: (id) => drained.includes(id),
    tell: (level, text) => told.push(`${level} ${text}`),
  });
  t.teardown(() => states.close(0));
  await states.load();
  return { states, registers, told, path: join(directory, 'admin-states.json') };
}

t.test(
  'what an operator wants is in the file, for this user alone, and comes back with its version',
  async (t) => {
    const directory = join(tempDir(t), 'state');
    const one = await start(t, directory, 'lb1', ['web/s1']);
    t.notOk(existsSync(directory), 'nothing to keep');
    one.registers.set(healthKey('web/s1'), { healthy: true, why: '' });
    one.registers.set(adminKey('web/s1'), DRAIN);
    one.registers.set(adminKey('web/s2'), adminValue({ admin: 'ready', weight: 3, atMs: undefined }));
    await one.states.close(10_000);
    t.equal(statSync(one.path).mode & 0o777, 0o600);
    t.same(readdirSync(directory), ['admin-states.json']);
    t.notMatch(readFileSync(one.path, 'utf8'), 'health', 'learnt health is not an operator');

    const two = await start(t, directory);
    t.same(two.registers.register(adminKey('web/s1')), one.registers.register(adminKey('web/s1')));
    t.same(two.registers.get(adminKey('web/s2')), { admin: 'ready', weight: 3 });
    t.same(two.told, ['info admin states and weights of operators are in force again, of 2 backends']);
    t.ok(two.states.wasDrained('web/s1'), 'its drain was over');
    t.notOk(two.states.wasDrained('web/s1'), 'told once: a later drain begins anew');
    t.notOk(two.states.wasDrained('web/s2'));
  },
);

t.test('the newer word wins, be it of the file or of the peer', async (t) => {
  const directory = join(tempDir(t), 'state');
  const one = await start(t, directory);
  for (const value of [DRAIN, READY, DRAIN]) one.registers.set(adminKey('web/s1'), value);
  await one.states.close(10_000);
  const two = await start(t, directory);
  const word = (version: number) => ({ key: adminKey('web/s1'), value: READY, version, origin: 'lb2' });
  t.notOk(two.registers.merge(word(2)), 'what the peer kept is older');
  t.ok(two.registers.merge(word(4)));
  two.registers.set(adminKey('web/s2'), DRAIN);
  t.equal(two.registers.register(adminKey('web/s2'))?.version, 5);
  await two.states.close(10_000);
  const three = await start(t, directory);
  t.same(
    three.registers.get(adminKey('web/s1')),
    READY,
    'a "ready" is kept: it must win over an older "drain"',
  );
});

t.test('a file that cannot be used is said and left aside, and all goes on', async (t) => {
  const broken: readonly (readonly [what: string, content: string])[] = [
    ['empty', ''],
    ['cut', '{"format":1,"states":[\n{"backend":"web/s1","value":{"ad'],
    ['another format', '{"format":2,"states":[]}'],
    ['no list', '{"format":1}'],
    ['a strange entry', '{"format":1,"states":[null]}'],
    ['an entry without a version', '{"format":1,"states":[{"backend":"web/s1","origin":"lb1","value":{}}]}'],
    ['too large', ' '.repeat(4 * 1024 * 1024 + 1)],
  ];
  for (const [what, content] of broken) {
    const directory = tempDir(t);
    writeFileSync(join(directory, 'admin-states.json'), content);
    const { states, registers, told, path } = await start(t, directory);
    t.match(told, [/^warn admin states of an earlier run are lost: .*left aside as .*\.unusable$/], what);
    t.equal(readFileSync(`${path}.unusable`, 'utf8'), content);
    registers.set(adminKey('web/s1'), DRAIN);
    await states.close(10_000);
    t.match(readFileSync(path, 'utf8'), /"drain"/, what);
    t.match(states.warnings, [/are lost/], `${what}: it is said until the next start`);
  }
});

t.test('a version that does not exist is no entry', async (t) => {
  const directory = tempDir(t);
  const entry = { backend: 'web/s1', value: DRAIN, version: 2 ** 52, origin: 'lb1', drained: true };
  writeFileSync(join(directory, 'admin-states.json'), JSON.stringify({ format: 1, states: [entry] }));
  const { states, registers } = await start(t, directory);
  t.equal(registers.get(adminKey('web/s1')), undefined);
  t.notOk(states.wasDrained('web/s1'));
});

const wouldBeLost = ({ warnings }: AdminStates) =>
  warnings.some((line) => line.startsWith('admin states would be lost'));

t.test(
  'a disk that takes nothing is said once, and what failed is written with the next change',
  async (t) => {
    const place = join(tempDir(t), 'full');
    writeFileSync(place, 'not a directory');
    const { states, registers, told } = await start(t, join(place, 'state'));
    told.length = 0;
    registers.set(adminKey('web/s1'), DRAIN);
    await until('the failure', () => wouldBeLost(states));
    registers.set(adminKey('web/s2'), DRAIN);
    t.match(registers.get(adminKey('web/s2')), { admin: 'drain' });
    rmSync(place);
    mkdirSync(place);
    registers.set(adminKey('web/s3'), DRAIN);
    await until('the file', () => !wouldBeLost(states));
    t.match(told, [
      /^warn admin states would be lost at a restart of both nodes: /,
      /^info .* is written again$/,
    ]);
    const kept = readFileSync(join(place, 'state/admin-states.json'), 'utf8');
    for (const id of ['web/s1', 'web/s2', 'web/s3']) t.match(kept, `"${id}"`);
  },
);

t.test('the file is bounded, and backends of the config go first', async (t) => {
  const directory = join(tempDir(t), 'state');
  const { states, registers, path } = await start(t, directory);
  for (let i = 0; i < 5000; i++) registers.set(adminKey(`${i < 3000 ? 'web' : 'gone'}/s${i}`), DRAIN);
  await states.close(10_000);
  const kept = (JSON.parse(readFileSync(path, 'utf8')) as { states: { backend: string }[] }).states;
  t.equal(kept.length, 4096);
  t.equal(kept.filter(({ backend }) => backend.startsWith('web/')).length, 3000);
  t.ok(
    kept.some(({ backend }) => backend === 'gone/s4999'),
    'then those of last',
  );
});
