import t from 'tap';
import { AS_AGENT, AS_LBD, INSTALL, machineWith, OWNERS, RUNNING, SPLIT, TRACES } from './helpers.ts';
import { Machine, skipMachine } from './machine.ts';

const skip = skipMachine();

t.test('install, again, upgrade, check, uninstall', { skip }, async (t) => {
  const machine = await machineWith(t);
  const first = machine.run(INSTALL);
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
  t.match(machine.run(INSTALL), {
    code: 0,
    stderr: '',
  });
  const log = machine.run('grep -v is-active /root/systemctl.log').stdout;
  t.match(log, /enable lbd ha-agent\n[\s\S]*start lbd ha-agent\n/);
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
  t.match(runs.stdout, /listens on 127\.0\.0\.1:7473, and grants leases once/, 'without privileges');
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
