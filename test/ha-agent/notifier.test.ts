import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Notifier } from '../../ha-agent/notifier.ts';
import { until } from '../../scripts/lab/wait.ts';
import { tempDir } from '../common/temp-dir.ts';

t.test('one at a time, the latest role last, outdated ones never', async (t) => {
  const directory = tempDir(t);
  const gate = join(directory, 'gate');
  const out = join(directory, 'out');
  const command = join(directory, 'notify');
  mkdirSync(gate);
  writeFileSync(command, `#!/bin/sh\nwhile [ -d ${gate} ]; do sleep 0.01; done\necho "$1" >> ${out}\n`);
  chmodSync(command, 0o755);
  const commands = { active: command, standby: command, fault: undefined };
  const notifier = new Notifier((text) => t.fail(text));
  notifier.notify(commands, 'standby');
  notifier.notify(commands, 'active');
  notifier.notify(commands, 'fault');
  notifier.notify(commands, 'standby');
  rmSync(gate, { recursive: true });
  await until('two calls', () => readFileSync(out, 'utf8').split('\n').length > 2);
  t.equal(readFileSync(out, 'utf8'), 'standby\nstandby\n');
});

t.test('a command that fails or does not exist is told', async (t) => {
  const texts: string[] = [];
  await new Promise<void>((resolve) => {
    const notifier = new Notifier((text) => {
      texts.push(text);
      if (texts.length === 2) resolve();
    });
    notifier.notify({ active: '/bin/false', standby: undefined, fault: undefined }, 'active');
    notifier.notify({ active: '/no/such/command', standby: undefined, fault: undefined }, 'active');
  });
  t.match(texts[0], /the notify command for active failed: .*\/bin\/false/);
  t.match(texts[1], /\/no\/such\/command/);
});

t.test('a command that somebody else may write is not run', async (t) => {
  const directory = tempDir(t);
  const command = join(directory, 'notify');
  writeFileSync(command, `#!/bin/sh\ntouch ${directory}/ran\n`);
  chmodSync(command, 0o777);
  const text = await new Promise<string>((resolve) => {
    new Notifier(resolve).notify({ active: command, standby: undefined, fault: undefined }, 'active');
  });
  t.match(text, `the notify command for active is not run: ${command} may be written by every user`);
  t.notOk(existsSync(join(directory, 'ran')));
});
