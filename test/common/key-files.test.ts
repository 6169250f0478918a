import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { OperatorError } from '../../common/errors.ts';
import { hasKeyFolder, keyFolder, readKeyFile, writeKeyFiles } from '../../common/key-files.ts';
import { deriveKey } from '../../common/secret.ts';
import { tempDir } from './temp-dir.ts';

const SECRET = Buffer.from('0123456789abcdef0123456789abcdef');
const OTHER = Buffer.alloc(32, 7);
const skipRoot = process.geteuid?.() !== 0 && 'only root may give files to groups';

/** Groups as an installation has them, by other numbers. */
const GROUPS: Readonly<Record<string, number>> = { 'tandem-lb': 4001, 'tandem-ha': 4002 };
const gidOf = (group: string) => GROUPS[group]!;

function refused(t: Test, run: () => unknown, code: string, text: RegExp): void {
  try {
    run();
    t.fail(`${code} expected`);
  } catch (error) {
    t.type(error, OperatorError);
    t.match(error, { code, message: text });
    t.notMatch((error as Error).message, /[0-9a-f]{32}/, 'no key is told');
  }
}

t.test('each daemon can read its own keys, and no other', { skip: skipRoot }, (t) => {
  const secretFile = join(tempDir(t), 'secret');
  process.umask(0o077);
  writeKeyFiles(secretFile, 'shop', SECRET, gidOf);
  const folder = keyFolder(secretFile);
  t.equal(folder, `${secretFile}.keys`);
  const facts = (path: string) => {
    const { mode, uid, gid } = statSync(path);
    return [(mode & 0o7777).toString(8), uid, gid];
  };
  t.strictSame(facts(folder), ['755', 0, 0]);
  t.strictSame(readdirSync(folder).toSorted(), ['heartbeat.key', 'sync.key', 'witness.key']);
  t.strictSame(facts(join(folder, 'heartbeat.key')), ['640', 0, 4002]);
  t.strictSame(facts(join(folder, 'witness.key')), ['640', 0, 4002]);
  t.strictSame(facts(join(folder, 'sync.key')), ['640', 0, 4001]);
  for (const purpose of ['heartbeat', 'sync', 'witness'] as const)
    t.strictSame(readKeyFile(folder, purpose, 'shop').key, deriveKey(SECRET, purpose, 'shop'), purpose);
  t.end();
});

t.test('what a key was derived from can be told without the secret', { skip: skipRoot }, (t) => {
  const secretFile = join(tempDir(t), 'secret');
  const origin = (secret: Buffer) => {
    writeKeyFiles(secretFile, 'shop', secret, gidOf);
    const origins = (['heartbeat', 'sync', 'witness'] as const).map(
      (purpose) => readKeyFile(keyFolder(secretFile), purpose, 'shop').origin,
    );
    t.equal(new Set(origins).size, 1, 'equal for all keys of a secret');
    return origins[0];
  };
  const first = origin(SECRET);
  t.match(first, /^[0-9a-f]{32}$/);
  t.not(origin(OTHER), first);
  t.equal(origin(SECRET), first, 'made anew in the same place');
  t.notMatch(readFileSync(`${secretFile}.keys/sync.key`, 'latin1'), SECRET.toString('hex').slice(0, 32));
  t.end();
});

t.test('a key file that is not one, or not safe, is refused with the cure', { skip: skipRoot }, (t) => {
  const secretFile = join(tempDir(t), 'secret');
  const folder = keyFolder(secretFile);
  const file = join(folder, 'sync.key');
  const read = (cluster = 'shop') => readKeyFile(folder, 'sync', cluster);
  const anew = () => writeKeyFiles(secretFile, 'shop', SECRET, gidOf);
  anew();
  const good = readFileSync(file, 'latin1');
  const [, , , , key = '', origin = ''] = good.trim().split(' ');
  for (const text of [
    '',
    'x',
    good.slice(0, -1),
    `${good}\n`,
    `${good}${good}`,
    good.toUpperCase(),
    good.replace('v1', 'v2'),
    good.replace(key, key.slice(1)),
    good.replace(origin, `${origin}0`),
    `${good.trim()}${' '.repeat(5000)}\n`,
  ]) {
    writeFileSync(file, text);
    refused(t, read, 'KEY_FORMAT', /sync\.key is not a key file .*: as root: lbctl derive-keys/);
  }
  writeFileSync(file, good.replace('sync', 'witness'));
  refused(t, read, 'KEY_FORMAT', /sync\.key has a key for witness/);
  writeFileSync(file, good);
  refused(
    t,
    () => read('shop2'),
    'KEY_FORMAT',
    /sync\.key is of cluster "shop", expected "shop2": as root: lbctl/,
  );
  t.ok(read());

  chmodSync(file, 0o644);
  refused(t, read, 'KEY_EXPOSED', /open to every user \(mode 0644\)/);
  chmodSync(file, 0o660);
  refused(t, read, 'KEY_EXPOSED', /may be written by its group/);
  chmodSync(file, 0o640);
  chownSync(file, 4321, 0);
  refused(t, read, 'KEY_OWNER', /belongs to user id 4321/);
  anew();
  t.ok(read(), 'made anew, it is good');
  t.strictSame(
    readdirSync(folder).toSorted(),
    ['heartbeat.key', 'sync.key', 'witness.key'],
    'nothing is left',
  );
  t.end();
});

t.test('who is not in the group is told what to do', { skip: skipRoot }, (t) => {
  const directory = tempDir(t);
  chmodSync(directory, 0o755);
  const secretFile = join(directory, 'secret');
  writeKeyFiles(secretFile, 'shop', SECRET, gidOf);
  process.setegid!(4001);
  process.seteuid!(65_534);
  try {
    t.ok(readKeyFile(keyFolder(secretFile), 'sync', 'shop'), 'its own');
    refused(
      t,
      () => readKeyFile(keyFolder(secretFile), 'heartbeat', 'shop'),
      'KEY_DENIED',
      /heartbeat\.key is not readable for user id 65534: as root: lbctl derive-keys/,
    );
  } finally {
    process.seteuid!(0);
    process.setegid!(0);
  }
  t.end();
});

t.test('a folder of keys counts where it is, and only where nobody else may change it', (t) => {
  const secretFile = join(tempDir(t), 'secret');
  t.equal(hasKeyFolder(secretFile), false);
  mkdirSync(keyFolder(secretFile), { mode: 0o755 });
  chmodSync(keyFolder(secretFile), 0o755);
  t.equal(hasKeyFolder(secretFile), true);
  for (const mode of [0o775, 0o757]) {
    chmodSync(keyFolder(secretFile), mode);
    refused(
      t,
      () => hasKeyFolder(secretFile),
      'KEY_EXPOSED',
      /secret\.keys may be written by others than its owner/,
    );
  }
  if (skipRoot === false) {
    chmodSync(keyFolder(secretFile), 0o755);
    chownSync(keyFolder(secretFile), 4321, 0);
    refused(t, () => hasKeyFolder(secretFile), 'KEY_OWNER', /secret\.keys belongs to user id 4321/);
  }
  const other = join(tempDir(t), 'secret');
  writeFileSync(keyFolder(other), '');
  refused(t, () => hasKeyFolder(other), 'KEY_UNREADABLE', /secret\.keys is not a folder/);
  t.end();
});
