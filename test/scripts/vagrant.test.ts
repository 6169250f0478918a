import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { loadConfig } from '../../common/config.ts';
import { hasTool, TOOL_PATH } from '../../scripts/lab/missing.ts';
import { tempDir } from '../common/temp-dir.ts';

const VAGRANT = join(import.meta.dirname, '../../vagrant');

const skip = !hasTool('vagrant') && process.env.CI !== 'true' && 'no vagrant here';

t.test('vagrant validate', { skip }, async (t) => {
  const home = tempDir(t);
  const { status, stdout, stderr } = spawnSync('vagrant', ['validate', '--ignore-provider'], {
    cwd: VAGRANT,
    encoding: 'utf8',
    env: {
      PATH: TOOL_PATH,
      HOME: home,
      VAGRANT_HOME: join(home, 'vagrant'),
      VAGRANT_DOTFILE_PATH: join(home, 'machines'),
      VAGRANT_CHECKPOINT_DISABLE: '1',
    },
  });
  t.equal(status, 0, stdout + stderr);
});

t.test('the config of the machines is good on both', async (t) => {
  for (const node of ['lb1', 'lb2'])
    t.equal(loadConfig(join(VAGRANT, 'tandem.yaml'), { node }).cluster?.self.name, node);
});
