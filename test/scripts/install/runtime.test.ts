import t from 'tap';
import { INSTALL, machineWith, TRACES } from './helpers.ts';
import { skipMachine } from './machine.ts';

const skip = skipMachine();

t.test('a Node of an operator: checked, kept by upgrades, and given up again', { skip }, async (t) => {
  const machine = await machineWith(t);
  const install = (more: string) => machine.run(`${INSTALL} ${more}`);
  machine.run(`mkdir -p /opt/node/bin /home/me && cp /tree/node_modules/node-linux-*/bin/node /opt/node/bin/node
    ln -s /opt/node/bin/node /usr/local/bin/other && cp -l /opt/node/bin/node /home/me/node
    printf '#!/bin/sh\\necho v26.9.9\\n' > /opt/node/bin/old; chmod 755 /opt/node/bin/*`);
  for (const [path, said] of [
    ['/opt/node/bin/none', /\/opt\/node\/bin\/none: there is no such program/],
    ['/opt/node/bin/old', /\/opt\/node\/bin\/old is Node 26\.9\.9, expected \d+\.\d+\.\d+ or newer/],
    ['/bin/true', /is Node that does not run, expected/],
    ['/home/me/node', /the services cannot run what is there/],
  ] as const) {
    const { code, stderr } = install(`--node ${path}`);
    t.equal(code, 1, path);
    t.match(stderr, said);
    t.equal(machine.run(TRACES).stdout, '', `${path}: nothing is left`);
  }
  machine.run('chmod 775 /opt/node');
  t.match(install('--node /opt/node/bin/node').stderr, /\/opt\/node: others than root may write it/);
  machine.run('chmod 755 /opt/node');

  const link = 'readlink /opt/tandem/node_modules/.bin/node';
  t.match(install('--node /usr/local/bin/other'), { code: 0, stderr: '' });
  t.equal(machine.run(link).stdout, '/opt/node/bin/node\n', 'and not what the link leads to another day');
  t.equal(machine.run('lbctl check /etc/tandem/tandem.yaml').code, 0);
  machine.run('touch /opt/tandem/mark');
  t.equal(install('').code, 0);
  t.equal(machine.run('ls /opt/tandem/mark').code, 0, 'the same runtime changes nothing');
  machine.run('echo old > /opt/tandem/.digest');
  t.equal(install('').code, 0);
  t.equal(machine.run(link).stdout, '/opt/node/bin/node\n', 'an upgrade keeps it');
  machine.run('touch /opt/tandem/mark; sed -i s/3/4/ /opt/tandem/.runtime');
  t.equal(install('').code, 0);
  t.not(machine.run('ls /opt/tandem/mark').code, 0, 'another version at the same place is another runtime');
  t.equal(install('--node pinned').code, 0);
  t.match(machine.run(link).stdout, /^\.\.\/node-linux-/);
});
