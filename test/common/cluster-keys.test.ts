import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { clusterKeys, deriveAllKeys, secretProblems } from '../../common/cluster-keys.ts';
import { keyFolder, writeKeyFiles } from '../../common/key-files.ts';
import { deriveKey } from '../../common/secret.ts';
import { tempDir } from './temp-dir.ts';

const OLD = Buffer.from('0123456789abcdef0123456789abcdef');
const NEW = Buffer.alloc(32, 2);
const skipRoot = process.geteuid?.() !== 0 && 'only root may give files to groups';
const gidOf = (group: string) => ({ 'tandem-lb': 4001, 'tandem-ha': 4002 })[group]!;

function secrets(t: Test, ...all: readonly (readonly [name: string, bytes: Buffer])[]) {
  const directory = tempDir(t);
  chmodSync(directory, 0o755);
  for (const [name, bytes] of all) writeFileSync(join(directory, name), bytes, { mode: 0o600 });
  return { name: 'shop', secretFile: join(directory, 'new'), old: join(directory, 'old') };
}

/** As a service of that group, which may not read what only root may. */
function asService<T>(gid: number, run: () => T): T {
  process.setegid!(gid);
  process.seteuid!(65_534);
  try {
    return run();
  } finally {
    process.seteuid!(0);
    process.setegid!(0);
  }
}

t.test('without a folder of keys they derive from the secret', (t) => {
  const { old, ...cluster } = secrets(t, ['new', NEW], ['old', OLD]);
  const both = clusterKeys({ ...cluster, previousSecretFile: old }, 'heartbeat', 'witness');
  t.strictSame(both, {
    heartbeat: [deriveKey(NEW, 'heartbeat', 'shop'), deriveKey(OLD, 'heartbeat', 'shop')],
    witness: [deriveKey(NEW, 'witness', 'shop'), deriveKey(OLD, 'witness', 'shop')],
  });
  t.strictSame(clusterKeys(cluster, 'sync'), { sync: [deriveKey(NEW, 'sync', 'shop')] });
  t.throws(() => clusterKeys({ ...cluster, previousSecretFile: `${old}er` }, 'sync'), {
    code: 'SECRET_MISSING',
  });
  t.end();
});

t.test('with one, a daemon has the same keys and never opens the secret', { skip: skipRoot }, (t) => {
  const { old, ...cluster } = secrets(t, ['new', NEW], ['old', OLD]);
  const files = { ...cluster, previousSecretFile: old };
  const derived = clusterKeys(files, 'sync');
  t.strictSame(deriveAllKeys(files, gidOf), [keyFolder(cluster.secretFile), keyFolder(old)]);
  t.strictSame(
    asService(4001, () => clusterKeys(files, 'sync')),
    derived,
  );
  t.throws(() => asService(4001, () => clusterKeys(files, 'heartbeat')), { code: 'KEY_DENIED' });
  t.ok(asService(4002, () => clusterKeys(files, 'heartbeat', 'witness')));
  rmSync(cluster.secretFile);
  t.strictSame(clusterKeys(files, 'sync'), derived, 'root neither');
  t.end();
});

t.test('a service for which nobody has derived keys is told who must', { skip: skipRoot }, (t) => {
  const { old: _, ...cluster } = secrets(t, ['new', NEW]);
  t.throws(() => asService(4001, () => clusterKeys(cluster, 'sync')), {
    code: 'SECRET_DENIED',
    message: /new is not readable for user id 65534: as root: lbctl derive-keys/,
  });
  t.end();
});

t.test('keys of two secrets at once are none', { skip: skipRoot }, (t) => {
  const { old: _, ...cluster } = secrets(t, ['new', NEW]);
  deriveAllKeys(cluster, gidOf);
  const { secretFile } = cluster;
  const elsewhere = join(tempDir(t), 'secret');
  writeKeyFiles(elsewhere, 'shop', OLD, gidOf);
  const foreign = join(keyFolder(elsewhere), 'witness.key');
  rmSync(join(keyFolder(secretFile), 'witness.key'));
  t.throws(() => clusterKeys(cluster, 'heartbeat', 'witness'), { code: 'KEY_MISSING' });
  writeFileSync(join(keyFolder(secretFile), 'witness.key'), readFileSync(foreign), { mode: 0o640 });
  t.throws(() => clusterKeys(cluster, 'heartbeat', 'witness'), {
    code: 'KEY_FORMAT',
    message: /new\.keys has keys of two secrets: as root: lbctl derive-keys/,
  });
  t.end();
});

t.test('root is told of keys that do not belong to their secret', { skip: skipRoot }, (t) => {
  const { old, ...cluster } = secrets(t, ['new', NEW], ['old', OLD]);
  const files = { ...cluster, previousSecretFile: old };
  deriveAllKeys(files, gidOf);
  t.strictSame(secretProblems(files), { problems: [], denied: [] });
  writeFileSync(cluster.secretFile, Buffer.alloc(32, 3));
  rmSync(join(keyFolder(old), 'sync.key'));
  t.match(secretProblems(files).problems, [
    {
      key: 'secret_file',
      message: /new\.keys has keys that were not derived from .*new: as root: lbctl derive-keys/,
    },
    { key: 'previous_secret_file', message: /sync\.key does not exist, as root: lbctl derive-keys/ },
  ]);
  deriveAllKeys(files, gidOf);
  t.strictSame(secretProblems(files), { problems: [], denied: [] });
  t.end();
});

t.test('no key is derived where one of the secrets is refused', { skip: skipRoot }, (t) => {
  const { old, ...cluster } = secrets(t, ['new', NEW]);
  t.throws(() => deriveAllKeys({ ...cluster, previousSecretFile: old }, gidOf), { code: 'SECRET_MISSING' });
  t.notOk(existsSync(keyFolder(cluster.secretFile)));
  t.end();
});

t.test('who may not look at a secret does not call it bad', (t) => {
  const directory = tempDir(t);
  const file = join(directory, 'secret');
  writeFileSync(file, OLD, { mode: 0o000 });
  const cluster = { name: 'shop', secretFile: file, previousSecretFile: join(directory, 'none') };
  const isRoot = process.geteuid!() === 0;
  // Root may look at everything.
  if (isRoot) {
    chmodSync(directory, 0o755);
    process.seteuid!(65_534);
  }
  try {
    const { problems, denied } = secretProblems(cluster);
    t.match(denied, [/^the secret .* is not readable for user id \d+$/]);
    t.match(problems, [{ key: 'previous_secret_file', message: /none does not exist, expected/ }]);
    t.equal(problems.length, 1);
  } finally {
    if (isRoot) process.seteuid!(0);
  }
  t.end();
});
