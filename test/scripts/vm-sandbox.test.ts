import { spawnSync } from 'node:child_process';
import t from 'tap';
import { SIGHT_COMMAND, tooExposed } from '../../scripts/vm/sandbox.ts';

const line = (level: string) => `Overall exposure level for ha-agent.service: ${level} OK :-)`;

t.test('a unit that is exposed is named', async (t) => {
  t.strictSame(tooExposed([line('1.9'), line('0.8')]), []);
  t.strictSame(tooExposed([line('1.9'), line('2.0')]), [
    'ha-agent.service has an exposure level of 2.0, expected less than 2',
  ]);
  t.strictSame(tooExposed(['Unit not found']), ['expected an exposure level, found "Unit not found"']);
});

t.test('the command is one that a shell understands', async (t) => {
  const { status, stderr } = spawnSync('sh', ['-n', '-c', SIGHT_COMMAND], { encoding: 'utf8' });
  t.same({ status, stderr }, { status: 0, stderr: '' });
});
