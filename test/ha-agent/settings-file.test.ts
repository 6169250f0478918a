import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ROUTES, SettingsFile } from '../../ha-agent/settings-file.ts';
import { tempDir } from '../common/temp-dir.ts';

const FORMER = ['eth1/arp_ignore=0', 'eth1/arp_announce=0', 'bond0.7@x/arp_ignore=2'];

function setup(t: Test, name = 'settings') {
  const dir = tempDir(t);
  const path = join(dir, name);
  const troubles: string[] = [];
  return { dir, path, troubles, file: new SettingsFile(path, (text) => troubles.push(text)) };
}

t.test('what one agent wrote, the next one reads, until it is restored', async (t) => {
  const { dir, path, file, troubles } = setup(t);
  t.same(file.read(), [], 'nothing to restore');
  file.write(FORMER);
  t.same(new SettingsFile(path, () => {}).read(), FORMER);
  t.same(readdirSync(dir), ['settings'], 'no half of it stays');
  file.write([]);
  file.write([]);
  t.notOk(existsSync(path));
  t.same(troubles, []);
});

t.test('routes are kept likewise, and nothing but routes', async (t) => {
  const path = join(tempDir(t), 'routes');
  const troubles: string[] = [];
  const file = new SettingsFile(path, (text) => troubles.push(text), ROUTES);
  const lines = ['route add 0.0.0.0/0 via 192.0.2.9 dev eth1 onlink proto 4 metric 100'];
  file.write(lines);
  t.same(file.read(), lines);
  writeFileSync(path, 'route del 0.0.0.0/0\n');
  t.same(file.read(), []);
  t.match(troubles, [/expected route add …$/]);
});

for (const [what, text] of [
  ['another setting', 'eth1/forwarding=1\n'],
  ['a way out of the directory', '../../../vm/arp_ignore=1\n'],
  ['the directory itself', './arp_ignore=1\n'],
  ['the directory above', '../arp_ignore=1\n'],
  ['no number', 'eth1/arp_ignore=x\n'],
  ['a good line and a bad one', 'eth1/arp_ignore=0\nnonsense\n'],
  ['too many lines', 'eth1/arp_ignore=0\n'.repeat(257)],
] as const)
  t.test(`a file that nobody of us wrote is left alone: ${what}`, async (t) => {
    const { path, file, troubles } = setup(t);
    writeFileSync(path, text);
    t.same(file.read(), []);
    t.match(troubles, [/not restored: .*settings has .*, expected INTERFACE\/SETTING=VALUE$/]);
  });

t.test('a run directory that is gone is told, and nothing fails', async (t) => {
  const { file, troubles } = setup(t, 'gone/settings');
  t.same(file.read(), []);
  file.write(FORMER);
  t.match(troubles, [/^settings of the host may stay changed .*ENOENT/]);
});
