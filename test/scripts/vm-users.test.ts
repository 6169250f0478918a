import { spawnSync } from 'node:child_process';
import t from 'tap';
import { USERS_COMMAND, wrongUsers } from '../../scripts/vm/users.ts';

const GOOD = `lbd tandem-lb 0000000000000400
ha-agent tandem-ha 0000000000003000
ha-agent tandem-ha 0000000000000000
`;

t.test('each process of a unit has its user and no more capabilities than it needs', async (t) => {
  t.strictSame(wrongUsers(GOOD), []);
  t.strictSame(wrongUsers(`${GOOD}tandem-kernel tandem-net 0000000000001000\n`), []);
  t.strictSame(wrongUsers(''), ['lbd does not run', 'ha-agent does not run']);
  t.strictSame(wrongUsers(`${GOOD}lbd tandem 0000000000000400\n`), [
    'a process of lbd is tandem, expected tandem-lb',
  ]);
  t.strictSame(wrongUsers(`${GOOD}lbd tandem-lb 0000000000001400\n`), [
    'a process of lbd has the capabilities 0000000000001400, expected 0000000000000400',
  ]);
});

t.test('the command is one that a shell understands', async (t) => {
  const { status, stderr } = spawnSync('sh', ['-n', '-c', USERS_COMMAND], { encoding: 'utf8' });
  t.same({ status, stderr }, { status: 0, stderr: '' });
});
