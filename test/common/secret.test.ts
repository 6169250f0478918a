import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { OperatorError } from '../../common/errors.ts';
import { deriveKey, readSecret } from '../../common/secret.ts';

const BYTES = Buffer.from('0123456789abcdef0123456789abcdef');

function secretFile(directory: string, bytes: Buffer, mode: number): string {
  const file = join(directory, 'secret');
  writeFileSync(file, bytes);
  chmodSync(file, mode);
  return file;
}

t.test('a good secret, for us alone or for a group', async (t) => {
  for (const mode of [0o600, 0o400, 0o640]) {
    const file = secretFile(t.testdir(), BYTES, mode);
    t.strictSame(readSecret(file), BYTES, mode.toString(8));
  }
});

t.test('refusals name the file and the cure, never the secret', async (t) => {
  const refused = (file: string, code: string, text: RegExp) => {
    try {
      readSecret(file);
      t.fail(`${code} expected`);
    } catch (error) {
      t.type(error, OperatorError);
      t.match(error, { code, message: text });
      t.match((error as Error).message, file);
      t.notMatch((error as Error).message, /012345/);
    }
  };
  const directory = t.testdir();
  refused(
    join(directory, 'none'),
    'SECRET_MISSING',
    /does not exist, .*: copy it from the other node; for a new pair make one and give it to both: head/,
  );
  refused(secretFile(directory, BYTES, 0o644), 'SECRET_EXPOSED', /mode 0644.*chmod o=/);
  refused(secretFile(directory, BYTES, 0o602), 'SECRET_EXPOSED', /mode 0602/);
  refused(secretFile(directory, BYTES, 0o660), 'SECRET_EXPOSED', /may be written by its group.*chmod g-w/);
  refused(secretFile(directory, BYTES.subarray(1), 0o600), 'SECRET_LENGTH', /has 31 bytes, expected 32/);
  refused(secretFile(directory, Buffer.alloc(5000), 0o600), 'SECRET_LENGTH', /more than 4096/);
  const folder = join(directory, 'folder');
  mkdirSync(folder);
  refused(folder, 'SECRET_UNREADABLE', /not a regular file/);
});

t.test('keys', async (t) => {
  const key = deriveKey(BYTES, 'heartbeat', 'shop');
  t.equal(key.length, 32);
  t.strictSame(deriveKey(BYTES, 'heartbeat', 'shop'), key, 'equal on both nodes');
  t.notSame(deriveKey(BYTES, 'sync', 'shop'), key, 'one for each purpose');
  t.notSame(deriveKey(BYTES, 'heartbeat', 'other'), key, 'one for each cluster');
  // Pinned: a change of the derivation would part nodes of different versions.
  t.equal(key.toString('hex').slice(0, 16), '893cd67dd155a241');
});
