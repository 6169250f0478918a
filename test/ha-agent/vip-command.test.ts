import { chmodSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { VipCommand } from '../../ha-agent/vip-command.ts';
import { program } from '../common/programs.ts';
import { tempDir } from '../common/temp-dir.ts';
import { vip } from './vips.ts';

t.test('a command that somebody else may write is not run, and why is said', async (t) => {
  const directory = tempDir(t);
  const file = program(directory, 'move', `#!/bin/sh\ntouch ${directory}/ran\n`);
  chmodSync(file, 0o757);
  const told: string[] = [];
  const why = await new Promise<string>((resolve) => {
    const command = new VipCommand(vip('203.0.113.7/32', 'lo', { provider: 'exec', command: [file] }), {
      onTold: (address) => told.push(address),
      onTrouble: resolve,
    });
    t.teardown(() => command.close());
    command.add();
  });
  t.equal(why, `the command of 203.0.113.7 is not run: ${file} may be written by every user (mode 0757)`);
  t.strictSame(told, [], 'the guardian does not call it either');
  t.notOk(existsSync(join(directory, 'ran')));
});
