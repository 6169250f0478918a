import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { leaseIdentity } from '../../ha-agent/lease-message.ts';
import { keyLine, readKeys } from '../../ha-agent/witness-keys.ts';
import { tempDir } from '../common/temp-dir.ts';

t.test('the keys of a witness', (t) => {
  const file = join(tempDir(t), 'witness.key');
  const write = (text: string) => writeFileSync(file, text, { mode: 0o600 });
  const [one, two] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  write(`# from lb1\n${keyLine('shop', one)}\n\n${keyLine('other', two)}\n`);
  t.same(readKeys(file), [leaseIdentity('shop', one), leaseIdentity('other', two)]);
  write(`${keyLine('shop', one)}\nshop short${' '.repeat(32)}\n`);
  t.throws(() => readKeys(file), { message: /witness\.key:2: expected the name of a cluster and its key/ });
  write(keyLine('shop', one));
  chmodSync(file, 0o644);
  t.throws(() => readKeys(file), { code: 'SECRET_EXPOSED' });
  t.throws(() => readKeys(`${file}.not`), { message: /does not exist; expected a file/ });
  t.end();
});
