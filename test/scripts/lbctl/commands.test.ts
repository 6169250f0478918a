import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { SOCKETS } from '../../../common/control.ts';
import { COMMANDS } from '../../../scripts/lbctl/commands.ts';
import { tempDir } from '../../common/temp-dir.ts';

t.test(
  'who may not ask the daemons does not hear that they are down',
  { skip: process.geteuid?.() !== 0 },
  async (t) => {
    const runDir = tempDir(t);
    chmodSync(runDir, 0o755);
    for (const socket of [SOCKETS.lbd, SOCKETS.agent]) {
      const folder = join(runDir, dirname(socket));
      mkdirSync(folder);
      chownSync(folder, 1, 1);
      chmodSync(folder, 0o2750);
    }
    const run = (name: string, options: Record<string, string> = {}) =>
      COMMANDS.find((command) => command.name === name)!.run({ runDir, args: [], options, json: false });
    process.seteuid!(65_534);
    try {
      const denied = { code: 'NOT_ALLOWED', message: /^no permission for \S+: .* members of group daemon / };
      await t.rejects(run('status', { check: 'true' }), denied);
      await t.rejects(run('status'), denied);
      await t.rejects(run('events'), denied);
      await t.rejects(run('upgrade-ready', { wait: '5s' }), denied, 'waiting does not help');
    } finally {
      process.seteuid!(0);
    }
  },
);
