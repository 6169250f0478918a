import t from 'tap';
import { AS_LBD, INSTALL, machineWith, TRACES } from './helpers.ts';
import { skipMachine } from './machine.ts';

const skip = skipMachine();

/** A tree that can be changed, with the packages of the one under test. */
const OWN_TREE =
  'mkdir /root/tree && cd /tree && tar --exclude=./.git --exclude=./node_modules -cf - . | tar -C /root/tree -xf - && ' +
  'mkdir /root/tree/node_modules && . /tree/scripts/installer/packages.sh && copy_packages /tree /root/tree';

t.test(
  'modes of the source and a strict umask change nothing; nothing else of it is taken',
  { skip },
  async (t) => {
    const machine = await machineWith(t);
    t.equal(machine.run(OWN_TREE).code, 0);
    machine.run(`cd /root/tree; head -c 32 /dev/urandom > secret; cp secret examples/secret; chmod 644 secret
    chmod 666 lbd/main.ts package.json; chmod 777 scripts node_modules/yaml; chmod 4755 scripts/lbctl.ts
    chmod -R go= common node_modules/zod; chown -R 4321 lbd; ln -s /root/outside lbd/outside.ts; ln -s /root scripts/out`);
    t.match(machine.run('umask 077; /root/tree/scripts/install --config /root/pair.yaml --new-secret'), {
      code: 0,
      stderr: '',
    });
    const odd = (what: string) => machine.run(`find /opt/tandem ! -path '*/.cache*' ${what}`).stdout;
    t.equal(odd('-type d ! -perm 755'), '');
    t.equal(odd('-type f ! -perm 755 ! -perm 644'), '');
    t.equal(odd('! -user root'), '');
    t.equal(odd('-type l ! -path "*/node_modules/.bin/*"'), '', 'no link that leads out');
    t.equal(odd('-name "secret*" ! -name "secret.ts"'), '', 'no secret that lay in the tree');
    t.match(machine.run(`${AS_LBD} lbctl check /etc/tandem/tandem.yaml`), { code: 0, stderr: '' });
    t.match(
      machine.run('stat -c "%a %U" /run/tandem-install /run/tandem-install/lock').stdout,
      '700 root\n600 root\n',
    );
  },
);

t.test('packages that are not those of the lock file are never run as root', { skip }, async (t) => {
  const machine = await machineWith(t);
  t.equal(machine.run(OWN_TREE).code, 0);
  const npm = `cat > /usr/local/bin/npm <<'END'
#!/bin/sh
echo "$@" >> /root/npm.log
exit 1
END
chmod 755 /usr/local/bin/npm`;
  machine.run(npm);
  const evil = '/root/evil';
  for (const [what, change] of [
    ['a changed file', 'echo "// evil" >> node_modules/zod/index.js'],
    ['a file more', 'touch node_modules/pino/evil.js'],
    ['a link', `ln -s ${evil} node_modules/yaml/evil.js`],
    [
      'a changed Node',
      `f=$(echo node_modules/node-linux-*/bin/node); mv $f $f.real; printf '#!/bin/sh\\ntouch ${evil}\\nexec "$0.real" "$@"\\n' > $f; chmod 755 $f`,
    ],
  ] as const) {
    const name = /node_modules\/[\w-]+/.exec(change)![0].replace('linux-', 'linux-\\S+');
    machine.run(`cd /root/tree && cp -a node_modules /root/before && ${change}`);
    const { code, stdout, stderr } = machine.run(
      '/root/tree/scripts/install --config /root/pair.yaml --new-secret',
    );
    t.equal(code, 1, what);
    t.match(
      stdout,
      new RegExp(`not those of package-lock.json \\(${name} is changed\\); fetching them`),
      what,
    );
    t.match(stderr, 'install: npm could not install the packages');
    t.equal(machine.run(TRACES).stdout, '', `${what}: nothing is left`);
    machine.run('cd /root/tree && rm -rf node_modules && mv /root/before node_modules');
  }
  t.not(machine.run(`ls ${evil}`).code, 0, 'nothing of it ran');
  t.match(machine.run('sort -u /root/npm.log').stdout, /^ci --omit=dev --ignore-scripts .*\n$/);

  t.match(machine.run('/root/tree/scripts/install --config /root/pair.yaml --new-secret').code, 0);
  machine.run('echo "// evil" >> /opt/tandem/node_modules/zod/index.js');
  t.match(machine.run('/tree/scripts/install --check').stdout, /^MISSING +programs .* unchanged packages$/m);
  t.match(machine.run('/root/tree/scripts/install').code, 0);
  t.notMatch(
    machine.run('tail -n 1 /opt/tandem/node_modules/zod/index.js').stdout,
    'evil',
    'they are put right',
  );
});

t.test('where signatures are demanded, nothing runs that is not signed', { skip }, async (t) => {
  const machine = await machineWith(t);
  t.equal(machine.run(`${OWN_TREE}; ${INSTALL}`).code, 0);
  machine.run(`cd /root; ssh-keygen -q -t ed25519 -N '' -f key; ssh-keygen -q -t ed25519 -N '' -f other
    sed 's/^/tandem-release namespaces="tandem-release" /' key.pub > /etc/tandem/allowed_signers`);
  const signed = () => machine.run('/opt/tandem/scripts/install-signed /root/tree');
  t.match(machine.run('/root/tree/scripts/install'), {
    code: 1,
    stderr:
      /allowed_signers says that trees must be signed: \/opt\/tandem\/scripts\/install-signed \/root\/tree\n$/,
  });
  t.match(signed().stderr, /\/root\/tree has no release-hashes; nothing was changed/);

  const sign = (key: string) => machine.run(`/root/tree/scripts/release/sign /root/${key}`);
  t.match(sign('key'), { code: 0 });
  machine.run('echo old > /opt/tandem/.digest; echo evil > /root/tree/common/unlisted.ts');
  t.match(signed(), { code: 0, stderr: '' });
  t.not(machine.run('cat /opt/tandem/.digest').stdout, 'old\n', 'a good one is installed');
  t.not(machine.run('ls /opt/tandem/common/unlisted.ts').code, 0, 'and nothing that is not signed');

  machine.run(
    'rm /root/tree/common/unlisted.ts; cp -a /root/tree /root/good; echo old > /opt/tandem/.digest',
  );
  const evil = `printf '#!/bin/sh\\ntouch /root/evil\\n' > /root/tree/scripts/install`;
  for (const [what, change, said] of [
    ['a changed file', evil, /is changed: scripts\/install: FAILED; nothing was changed/],
    [
      'changed hashes',
      `${evil}; cd /root/tree; sha256sum scripts/install >> release-hashes`,
      /signature of .* is not of anybody/,
    ],
    [
      'another key',
      `${evil}; /root/tree/scripts/release/sign /root/other`,
      /signature of .* is not of anybody/,
    ],
    [
      'a missing file',
      'rm /root/tree/lbd/main.ts',
      /is changed: lbd\/main.ts: FAILED open or read; nothing was changed/,
    ],
    ['a link', 'cd /root/tree/lbd; mv main.ts x.ts; ln -s x.ts main.ts', /has links in the place of files/],
    [
      'a changed package',
      'echo "// evil" >> /root/tree/node_modules/zod/index.js; rm -f /usr/bin/npm',
      /npm/,
    ],
  ] as const) {
    machine.run(change);
    const { code, stderr } = signed();
    t.not(code, 0, what);
    t.match(stderr, said, what);
    t.equal(machine.run('cat /opt/tandem/.digest; ls -d /opt/.tandem* 2>/dev/null').stdout, 'old\n', what);
    machine.run('rm -rf /root/tree && cp -a /root/good /root/tree');
  }
  t.not(machine.run('ls /root/evil').code, 0, 'nothing of it ran');
});
