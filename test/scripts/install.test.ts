import t, { type Test } from 'tap';
import { Machine, skipMachine } from './machine.ts';

const CONFIG = `cluster:
  name: shop
  secret_file: secret
  nodes: { lb1: { address: 127.0.0.11 }, lb2: { address: 127.0.0.12 } }
ha:
  vips: [{ address: 192.0.2.100/24, interface: lo }]
frontends: { web: { bind: ["*:80"], mode: http, pool: web } }
pools: { web: { backends: { s1: { address: 127.0.0.21:9000 } } } }
`;

const skip = skipMachine();

async function machineWith(t: Test, config = CONFIG): Promise<Machine> {
  const machine = await Machine.start(t);
  machine.run(`cat > /root/pair.yaml <<'END'\n${config}END`);
  return machine;
}

/** Everything that an install may leave on a machine. */
const TRACES =
  'ls -d /opt/tandem* /etc/tandem /usr/local/bin/lbctl /etc/sysctl.d/60-tandem.conf /etc/logrotate.d/tandem ' +
  '/usr/local/lib/systemd/system/lbd.service /etc/systemd/system/*/lbd.service 2>/dev/null; ' +
  'getent passwd tandem-lb';

/** As the unit of lbd starts it. */
const AS_LBD = 'setpriv --reuid tandem-lb --regid tandem-lb --init-groups';
const AS_AGENT = 'setpriv --reuid tandem-ha --regid tandem-ha --init-groups';

t.test('install, again, upgrade, check, uninstall', { skip }, async (t) => {
  const machine = await machineWith(t);
  const first = machine.run('/tree/scripts/install --config /root/pair.yaml --new-secret');
  t.match(first, { code: 0, stderr: '' });
  t.match(first.stdout, /Tandem \S+ is installed/);
  t.match(
    first.stdout,
    /\/etc\/tandem\/secret is new\. The other node needs the same.*\n {2}scp \S+:\/etc\/tandem\/secret /,
  );

  t.match(machine.run('lbctl check /etc/tandem/tandem.yaml').stdout, /good: pair "shop", checked as lb1/);
  t.match(machine.run('lbd --version').code, 0);
  t.match(machine.run('stat -c "%s" /etc/tandem/secret').stdout, '32');
  t.equal(machine.run(OWNERS).stdout, SPLIT);
  t.equal(
    machine.run('for user in tandem-lb tandem-ha tandem-net; do id -Gn $user; done').stdout,
    'tandem-lb tandem-conf\ntandem-ha tandem-conf\ntandem-net tandem-conf\n',
    'none of them is an operator',
  );
  t.match(
    machine.run('systemctl is-enabled lbd ha-agent tandem-kernel.socket').stdout,
    'enabled\nenabled\nenabled',
  );
  for (const [daemon, own, other] of [
    [AS_LBD, 'sync', 'heartbeat'],
    [AS_AGENT, 'heartbeat', 'sync'],
  ] as const) {
    t.match(machine.run(`${daemon} lbctl check /etc/tandem/tandem.yaml`), { code: 0, stderr: '' });
    const reads = (file: string) => machine.run(`${daemon} cat /etc/tandem/${file}`).code === 0;
    t.ok(reads(`secret.keys/${own}.key`), own);
    t.notOk(reads(`secret.keys/${other}.key`), other);
    t.notOk(reads('secret'), 'no service reads the secret');
  }
  const cached = 'NODE_COMPILE_CACHE=/opt/tandem/.cache NODE_DEBUG_NATIVE=COMPILE_CACHE';
  for (const [code, daemon] of [
    ['lbd/main.ts', AS_LBD],
    ['lbd/plane/data-plane.ts', AS_LBD],
    ['ha-agent/main.ts', AS_AGENT],
    ['lbd/kernel/helper/main.ts', 'setpriv --reuid tandem-net --regid tandem-net --init-groups'],
  ]) {
    const program = `/opt/tandem/node_modules/.bin/node /opt/tandem/${code} --version 2>&1`;
    const told = machine.run(`${cached} ${daemon} ${program}`).stdout;
    t.match(told, `V8 code cache for ESM file:///opt/tandem/${code} was accepted`);
    t.notMatch(told, /no such file|was not initialized/, `${code}: all of it is compiled already`);
  }
  t.not(machine.run(`setpriv --reuid nobody --regid nogroup --clear-groups cat /etc/tandem/secret`).code, 0);
  const complete =
    'source /usr/local/share/bash-completion/completions/lbctl; COMP_WORDS=(lbctl sw); COMP_CWORD=1; _lbctl; echo "$COMPREPLY"';
  t.match(machine.run(`bash -c '${complete}'`).stdout, 'switchover');

  const secret = machine.run('sha256sum /etc/tandem/secret').stdout;
  machine.run('echo "# mine" >> /etc/tandem/tandem.yaml; touch /opt/tandem/mark');
  t.match(machine.run('/tree/scripts/install').code, 0);
  t.match(machine.run('ls /opt/tandem/mark').code, 0, 'the same version changes nothing');

  machine.run(
    'rm /opt/tandem/README.md; echo old > /opt/tandem/.digest; systemctl -q disable lbd tandem-kernel.socket',
  );
  t.match(machine.run('/tree/scripts/install').code, 0);
  t.match(machine.run('ls /opt/tandem/README.md').code, 0, 'another version is replaced');
  t.equal(
    machine.run('systemctl is-enabled lbd ha-agent tandem-kernel.socket').stdout,
    'disabled\nenabled\ndisabled\n',
    'what an operator has disabled stays so',
  );
  t.match(machine.run('ls -d /opt/tandem*').stdout, '/opt/tandem\n', 'nothing is left beside it');
  t.match(machine.run('tail -n 1 /etc/tandem/tandem.yaml').stdout, '# mine', 'the config stays');
  t.equal(machine.run('sha256sum /etc/tandem/secret').stdout, secret, 'the secret stays');

  const checked = machine.run('/tree/scripts/install --check');
  t.equal(checked.code, 1);
  t.match(checked.stdout, /^ok +the version of this tree$/m);
  t.match(checked.stdout, /^MISSING +lbd runs$/m);

  t.match(machine.run('/tree/scripts/install --uninstall').code, 0);
  t.match(machine.run(TRACES).stdout, /^\/etc\/tandem\ntandem-lb:.*\n$/, 'config and users stay');
  t.match(machine.run('/tree/scripts/install --uninstall --purge').code, 0);
  t.equal(machine.run(TRACES).stdout, '');
  t.equal(machine.run('grep tandem /etc/passwd /etc/group').stdout, '', 'no user, no group');
  t.equal(
    machine.run(
      'find /etc/tmpfiles.d /usr/local/lib/systemd /usr/local/bin -name "*tandem*" -o -name lbd-kernel',
    ).stdout,
    '',
  );
});

t.test('without a config the example is put there and nothing starts', { skip }, async (t) => {
  const machine = await machineWith(t);
  const { code, stdout } = machine.run('/tree/scripts/install');
  t.equal(code, 0);
  t.match(stdout, 'edit /etc/tandem/tandem.yaml');
  t.match(machine.run('cmp /etc/tandem/tandem.yaml /tree/examples/pair.yaml').code, 0);
  t.not(machine.run('systemctl is-enabled lbd').code, 0);
});

t.test('a refusal is one clear line, and nothing is changed', { skip }, async (t) => {
  const bad = (from: string, to: string) => `sed 's/${from}/${to}/' /root/pair.yaml > /root/bad.yaml`;
  const install = '/tree/scripts/install --config';
  const cases: [what: string, command: string, expected: RegExp][] = [
    [
      'another distribution',
      `cp /etc/os-release /root; printf 'ID=fedora\\n' > /etc/os-release; ${install} /root/pair.yaml; code=$?; cp /root/os-release /etc; exit $code`,
      /^install: this is "fedora", expected Debian or Ubuntu\n$/,
    ],
    [
      'no root',
      `setpriv --reuid nobody --regid nogroup --clear-groups ${install} /dev/null`,
      /^install: \/dev\/null: there is no such file\n$|^install: needs root: sudo scripts\/install\n$/,
    ],
    [
      'a port that is taken',
      `/tree/node_modules/.bin/node -e 'require("net").createServer().listen(80, () => console.log(1))' > /root/taken & ` +
        `until [ -s /root/taken ]; do :; done; ${install} /root/pair.yaml; code=$?; kill $!; exit $code`,
      /^frontend web: cannot listen on \*:80: another process listens there.*\ninstall: .*nothing was changed\n$/,
    ],
    [
      'a missing interface',
      `${bad('interface: lo', 'interface: eth7')}; ${install} /root/bad.yaml`,
      /bad\.yaml:\d+:\d+: ha\.vips\.0\.interface: found eth7, but this host has only lo\ninstall: .*nothing was changed\n$/,
    ],
    [
      'a node that the config does not know',
      `${bad('lb1:', 'web1:')}; ${install} /root/bad.yaml`,
      /"?lb1"?.*\ninstall: .*nothing was changed\n$/,
    ],
    [
      'a short secret',
      `echo x > /root/short; ${install} /root/pair.yaml --secret /root/short`,
      /^install: \/root\/short has less than 32 bytes; nothing was changed\n$/,
    ],
    [
      'a pair whose secret nobody gave: the other node would make another one',
      `${install} /root/pair.yaml`,
      /^install: there is no \/etc\/tandem\/secret, and both nodes .* --new-secret on the first .*nothing was changed\n$/,
    ],
    [
      'a secret that is new and given',
      `${install} /root/pair.yaml --new-secret --secret /root/pair.yaml`,
      /^install: --secret and --new-secret exclude each other\nusage:/,
    ],
    [
      'another install',
      `mkdir -p /run/tandem-install; flock /run/tandem-install/lock ${install} /root/pair.yaml`,
      /^install: another install runs/,
    ],
    ['an unknown option', '/tree/scripts/install --frobnicate', /^install: found "--frobnicate"\nusage:/],
  ];
  const machine = await machineWith(t);
  for (const [what, command, expected] of cases) {
    const { code, stderr } = machine.run(command);
    t.not(code, 0, what);
    t.match(stderr, expected, what);
    t.equal(machine.run(TRACES).stdout, '', `${what}: nothing is left`);
  }
});

const OWNERS =
  'stat -c "%a %U:%G %n" /etc/tandem /etc/tandem/tandem.yaml /etc/tandem/secret /etc/tandem/secret.keys /etc/tandem/secret.keys/* ' +
  '/run/tandem /run/tandem/*';
/** Who may read what, and who may reach which socket. */
const SPLIT = `750 root:tandem-conf /etc/tandem
640 root:tandem-conf /etc/tandem/tandem.yaml
600 root:root /etc/tandem/secret
755 root:root /etc/tandem/secret.keys
640 root:tandem-ha /etc/tandem/secret.keys/heartbeat.key
640 root:tandem-lb /etc/tandem/secret.keys/sync.key
640 root:tandem-ha /etc/tandem/secret.keys/witness.key
755 root:root /run/tandem
2750 tandem-ha:tandem /run/tandem/ha
2750 tandem-lb:tandem /run/tandem/lb
2750 tandem-lb:tandem-ha /run/tandem/live
755 root:root /run/tandem/net
`;

/** systemd as far as the installer asks: it runs, and so does lbd; `lbctl` tells the role. */
const RUNNING = `mkdir -p /run/systemd/system
cat > /usr/bin/systemctl.new <<'END'
#!/bin/sh
echo "$@" >> /root/systemctl.log
END
chmod +x /usr/bin/systemctl.new; mv /usr/bin/systemctl.new /usr/bin/systemctl
printf '#!/bin/sh\\n:\\n' > /lib/systemd/systemd-sysctl`;

/** As systemd: what is enabled or started is there. */
const KNOWS_UNITS = `cat >> /usr/bin/systemctl <<'END'
case " $* " in
*" enable "* | *" start "*)
  for unit; do
    case $unit in
    -* | enable | start) ;;
    *.*) [ -e "/usr/local/lib/systemd/system/$unit" ] || exit 1 ;;
    *) [ -e "/usr/local/lib/systemd/system/$unit.service" ] || exit 1 ;;
    esac
  done
  ;;
esac
END`;

t.test('a first install where systemd runs enables and starts units that are there', { skip }, async (t) => {
  const machine = await machineWith(t);
  machine.run(RUNNING);
  machine.run(KNOWS_UNITS);
  t.match(machine.run('/tree/scripts/install --config /root/pair.yaml --new-secret'), {
    code: 0,
    stderr: '',
  });
  const log = machine.run('grep -v is-active /root/systemctl.log').stdout;
  t.match(log, /enable lbd ha-agent\n[\s\S]*start lbd ha-agent\n/);
});

t.test('a running node: the active one is left alone, the standby is upgraded', { skip }, async (t) => {
  const machine = await machineWith(t);
  t.match(machine.run('/tree/scripts/install --config /root/pair.yaml --new-secret').code, 0);
  machine.run(RUNNING);
  const role = (name: string) =>
    machine.run(
      `printf '#!/bin/sh\\necho "{"; echo "  \\\\"role\\\\": \\\\"${name}\\\\","\\n' > /usr/local/bin/lbctl; echo old > /opt/tandem/.digest`,
    );
  role('active');
  const refused = machine.run('/tree/scripts/install');
  t.equal(refused.code, 1);
  t.match(refused.stderr, /^install: this node is active .*lbctl switchover.*nothing was changed\n$/);
  t.match(machine.run('cat /opt/tandem/.digest').stdout, 'old');

  role('standby');
  t.match(machine.run('/tree/scripts/install').code, 0);
  t.match(machine.run('cat /root/systemctl.log').stdout, 'try-restart tandem-kernel.service lbd ha-agent');

  role('active');
  t.match(machine.run('/tree/scripts/install --force').code, 0);
});

t.test('an upgrade that does not start brings the old version back', { skip }, async (t) => {
  const machine = await machineWith(t);
  machine.run('/tree/scripts/install --config /root/pair.yaml --new-secret');
  machine.run(RUNNING);
  machine.run(`sed -i '$a [ "$1" != try-restart ]' /usr/bin/systemctl; echo old > /opt/tandem/.digest`);
  const { code, stderr } = machine.run('/tree/scripts/install --force');
  t.equal(code, 1);
  t.match(stderr, /^install: the new version does not start, so the old one is back/m);
  t.match(machine.run('cat /opt/tandem/.digest; ls -d /opt/tandem*').stdout, 'old\n/opt/tandem\n');
});

/**
 * Makes a node what a release left whose daemons were one user, tandem: with certificates that its group reads, state, logs,
 * sockets, and what a killed agent is to restore.
 */
const FORMER = `
set -e
systemctl -q disable tandem-kernel.socket
rm -rf /etc/tandem/secret.keys /run/tandem /etc/tmpfiles.d/tandem.conf /usr/local/lib/systemd/system/tandem-kernel.*
for user in tandem-lb tandem-ha tandem-net; do userdel $user; done
groupdel tandem-conf
useradd --system --gid tandem --home-dir /nonexistent --shell /usr/sbin/nologin tandem
cd /usr/local/lib/systemd/system
sed -i 's/^User=.*/User=tandem/; s/^Group=.*/Group=tandem/; s/^ReadWritePaths=.run.*/RuntimeDirectory=tandem/' lbd.service ha-agent.service
mkdir -p /etc/tandem/tls /srv/tls /var/log/tandem /var/lib/tandem
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=shop.example \
  -keyout /etc/tandem/tls/site.key -out /etc/tandem/tls/site.crt 2>/dev/null
cp /etc/tandem/tls/site.* /srv/tls/
touch /etc/tandem/users /var/log/tandem/access.log /var/lib/tandem/admin-states.json
chown -R root:tandem /etc/tandem /srv/tls
chmod -R u=rwX,g=rX,o= /etc/tandem /srv/tls
chown root:root /etc/tandem/tandem.yaml && chmod 644 /etc/tandem/tandem.yaml
install -d -m 750 -o tandem -g tandem /run/tandem
echo eth0/arp_ignore=0 > /run/tandem/former-settings
touch /run/tandem/lbd.sock /run/tandem/agent.sock
chown -hR tandem:tandem /run/tandem /var/log/tandem /var/lib/tandem
echo old > /opt/tandem/.digest`;
const TLS = `    tls: { certificates: [{ cert: tls/site.crt, key: tls/site.key }, { cert: /srv/tls/site.crt, key: /srv/tls/site.key }] }`;
const MOVED =
  'stat -c "%a %U:%G %n" /etc/tandem/tls /etc/tandem/tls/* /etc/tandem/users /srv/tls /srv/tls/* /var/lib/tandem/* /var/log/tandem/*';

async function formerNode(t: Test): Promise<Machine> {
  const machine = await machineWith(t);
  t.match(machine.run('/tree/scripts/install --config /root/pair.yaml --new-secret').code, 0);
  machine.run(
    `printf '%s\\n' "frontends:" "  web:" '    bind: ["*:443"]' "    mode: http" "    pool: web" '${TLS}' >/root/tls
    sed -i -e '/^frontends:/{r /root/tls' -e 'd}' /etc/tandem/tandem.yaml`,
  );
  t.match(machine.run(FORMER), { code: 0, stderr: '' });
  t.match(
    machine.run(`${OWNERS.replace('/etc/tandem/secret.keys /etc/tandem/secret.keys/*', '')}`).stdout,
    FORMER_OWNERS,
  );
  machine.run(RUNNING);
  machine.run(
    `printf '#!/bin/sh\\necho "{"; echo "  \\\\"role\\\\": \\\\"standby\\\\","\\n' > /usr/local/bin/lbctl`,
  );
  return machine;
}

const FORMER_OWNERS =
  /^750 root:tandem \/etc\/tandem\n644 root:root .*\n640 root:tandem \/etc\/tandem\/secret\n750 tandem:tandem \/run\/tandem\n/;

t.test(
  'the daemons of a former release, one user for all, become users of their own',
  { skip },
  async (t) => {
    const machine = await formerNode(t);
    machine.run('mkdir /srv/elsewhere; ln -s /srv/elsewhere /run/tandem/ha');
    const { code, stderr } = machine.run('/tree/scripts/install');
    t.match({ code, stderr }, { code: 0, stderr: '' });
    t.equal(machine.run('ls /srv/elsewhere').stdout, '', 'a link that the former user left is not followed');
    t.equal(machine.run(OWNERS).stdout, SPLIT);
    t.equal(
      machine.run(MOVED).stdout,
      `750 root:tandem-conf /etc/tandem/tls
640 root:tandem-lb /etc/tandem/tls/site.crt
640 root:tandem-lb /etc/tandem/tls/site.key
640 root:tandem-conf /etc/tandem/users
750 root:tandem-lb /srv/tls
640 root:tandem-lb /srv/tls/site.crt
640 root:tandem-lb /srv/tls/site.key
644 tandem-lb:tandem-lb /var/lib/tandem/admin-states.json
644 tandem-lb:tandem-lb /var/log/tandem/access.log
`,
    );
    t.equal(machine.run('stat -c "%U" /run/tandem/ha/former-settings').stdout, 'tandem-ha\n');
    t.equal(machine.run('find /run/tandem -name "*.sock"').stdout, '');
    t.match(
      machine.run('grep -v is-active /root/systemctl.log').stdout,
      /^stop lbd ha-agent\ndaemon-reload\n-q enable tandem-kernel.socket\nstart tandem-kernel.socket\nstart lbd ha-agent\n$/,
      'files change hands while nothing runs; nothing else is restarted',
    );
    t.match(machine.run(`${AS_LBD} lbctl check /etc/tandem/tandem.yaml`), { code: 0 });
    t.match(
      machine.run(`${AS_AGENT} lbctl check /etc/tandem/tandem.yaml`),
      {
        code: 1,
        stderr:
          /site\.crt: not readable for user id \d+ .*; lbd does not run as root: chown root:tandem-lb \S+site\.crt/,
      },
      "keys of certificates are lbd's alone",
    );
    t.equal(machine.run('id -gn tandem').stdout, 'tandem\n', 'the former user is there, for a way back');
    t.match(machine.run('/tree/scripts/install'), { code: 0, stdout: /is installed/ });
    t.equal(machine.run(OWNERS).stdout, SPLIT, 'again changes nothing');
  },
);

t.test('a move to users of their own that fails is taken back', { skip }, async (t) => {
  const machine = await formerNode(t);
  const before = machine.run(
    `${MOVED}; ${OWNERS.replace('/etc/tandem/secret.keys /etc/tandem/secret.keys/*', '')}`,
  ).stdout;
  machine.run(
    `sed -i '$a [ "$*" != "start lbd ha-agent" ] || [ -e /root/once ] || { touch /root/once; exit 1; }' /usr/bin/systemctl`,
  );
  const { code, stderr } = machine.run('/tree/scripts/install');
  t.equal(code, 1);
  t.match(stderr, /^install: the new version does not start, so the old one is back/m);
  t.equal(
    machine.run(`${MOVED}; ${OWNERS.replace('/etc/tandem/secret.keys /etc/tandem/secret.keys/*', '')}`)
      .stdout,
    before.replace(/.*\.sock\n/g, ''),
    'who owns what is as before',
  );
  t.match(machine.run('tail -n 1 /root/systemctl.log').stdout, 'start lbd ha-agent');
});

t.test(
  'a certificate that lbd could not read any more is said before anything is stopped',
  { skip },
  async (t) => {
    const machine = await formerNode(t);
    machine.run('groupadd pki; usermod -aG pki tandem; chown root:pki /srv/tls/site.key');
    const { code, stderr } = machine.run('/tree/scripts/install');
    t.equal(code, 1);
    t.match(
      stderr,
      /^install: the daemons get users of their own .*\n\/srv\/tls\/site\.key is not readable for lbd: chown root:tandem-lb \/srv\/tls\/site\.key && chmod 0640 \S+\n$/,
    );
    t.equal(machine.run('cat /opt/tandem/.digest').stdout, 'old\n');
    t.notMatch(machine.run('cat /root/systemctl.log').stdout, /stop|restart/);
    machine.run('usermod -aG pki tandem-lb');
    t.match(
      machine.run('/tree/scripts/install').stderr,
      /site\.key is not readable/,
      'a group of its own is seen',
    );
  },
);

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

t.test('an install that fails leaves no secret behind, whole or half', { skip }, async (t) => {
  const machine = await machineWith(t);
  // Enough for the programs, and nothing for /etc/tandem.
  machine.run(
    'mkdir /etc/tandem && mount -t tmpfs -o size=4k tmpfs /etc/tandem && head -c 4096 /dev/zero > /etc/tandem/full',
  );
  const { code, stderr } = machine.run(
    'TMPDIR=/root/tmp; mkdir $TMPDIR; export TMPDIR; /tree/scripts/install --config /root/pair.yaml --new-secret',
  );
  t.not(code, 0);
  t.match(stderr, /No space left/);
  t.equal(machine.run('ls -A /etc/tandem /root/tmp').stdout, '/etc/tandem:\nfull\n\n/root/tmp:\n');
  t.not(machine.run('TMPDIR=/root/tmp /tree/scripts/install --check').code, 0);
  t.equal(machine.run('ls -A /root/tmp').stdout, '', 'a check neither');
});

t.test('programs of the config that others may write are refused', { skip }, async (t) => {
  const machine = await machineWith(t);
  machine.run(`mkdir -p /srv/hooks && printf '#!/bin/sh\\n' > /srv/hooks/active && chmod -R 755 /srv/hooks
    sed 's,^ha:,ha:\\n  notify: { active: /srv/hooks/active },' /root/pair.yaml > /root/hooks.yaml
    sed 's/interface: lo }/interface: lo, provider: exec, command: ["\\/srv\\/hooks\\/active"] }/' /root/pair.yaml > /root/exec.yaml`);
  const install = (file: string) => machine.run(`/tree/scripts/install --config /root/${file} --new-secret`);
  for (const [change, who] of [
    ['chown 4321 /srv/hooks/active', /hooks\/active belongs to user id 4321/],
    ['chmod 775 /srv/hooks', /hooks may be written by group id 0/],
    ['chmod 757 /srv/hooks/active', /hooks\/active may be written by every user/],
  ] as const) {
    machine.run(change);
    for (const [file, what] of [
      ['hooks.yaml', 'ha.notify.active'],
      ['exec.yaml', 'ha.vips.0.command.0'],
    ] as const) {
      const { code, stderr } = install(file);
      t.equal(code, 1, change);
      t.match(stderr, `${what}: found `);
      t.match(stderr, 'which must belong to root, and nobody else may write it: ');
      t.match(stderr, who);
      t.match(stderr, /nothing was changed\n$/);
    }
    machine.run('chown -R 0:0 /srv/hooks; chmod -R 755 /srv/hooks');
  }
  t.equal(install('hooks.yaml').code, 0);
});

t.test('a Node of an operator: checked, kept by upgrades, and given up again', { skip }, async (t) => {
  const machine = await machineWith(t);
  const install = (more: string) =>
    machine.run(`/tree/scripts/install --config /root/pair.yaml --new-secret ${more}`);
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

t.test('where signatures are demanded, nothing runs that is not signed', { skip }, async (t) => {
  const machine = await machineWith(t);
  t.equal(machine.run(`${OWN_TREE}; /tree/scripts/install --config /root/pair.yaml --new-secret`).code, 0);
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

t.test('a witness on a third machine, and away again', { skip }, async (t) => {
  const machine = await Machine.start(t);
  const key = `${'1f'.repeat(32)}`;
  machine.run(`echo "shop ${key}" > /root/witness.key`);
  const first = machine.run('/tree/scripts/install --witness /root/witness.key');
  t.match(first, { code: 0, stderr: '' });
  t.match(first.stdout, /The witness of Tandem \S+ is installed/);
  t.match(machine.run('stat -c "%a %U:%G" /etc/tandem/witness.key').stdout, '640 root:tandem-witness');
  t.match(machine.run('systemctl is-enabled tandem-witness').stdout, 'enabled');
  t.not(
    machine.run('ls /etc/tandem/secret /usr/local/lib/systemd/system/lbd.service').code,
    0,
    'nothing of a node',
  );
  const daemon = 'setpriv --reuid tandem-witness --regid tandem-witness --clear-groups';
  const runs = machine.run(`${daemon} timeout 5 tandem-witness --listen 127.0.0.1:7473`);
  t.match(runs.stdout, /listens on port 7473, and grants leases once/, 'without privileges');
  const digests = 'sha256sum /etc/tandem/witness.key /opt/tandem/.digest';
  const before = machine.run(digests).stdout;
  machine.run('echo old > /opt/tandem/.digest');
  t.match(
    machine.run('/tree/scripts/install --witness /etc/tandem/witness.key'),
    { code: 0, stderr: '' },
    'upgraded with the key that it has',
  );
  t.equal(machine.run(digests).stdout, before);
  t.match(
    machine.run('/tree/scripts/install'),
    { code: 1, stderr: /this machine is a witness: .* --witness \/etc\/tandem\/witness\.key/ },
    'it is made no node by mistake',
  );
  t.not(machine.run('ls /etc/tandem/tandem.yaml').code, 0);
  t.match(machine.run('/tree/scripts/install --uninstall --purge'), { code: 0, stderr: '' });
  t.equal(machine.run(TRACES).stdout, '');
});
