import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import t, { type Test } from 'tap';

const SCRIPT = join(import.meta.dirname, '../../scripts/upgrade-pair');

/** Runs the rest of its arguments on the "host" that it is called with, in a directory for each host. */
const SSH = `#!/bin/sh
while [ "\${1#-}" != "$1" ]; do shift 2; done
host=$1
shift
[ -d "$HOSTS/$host" ] || exit 255
cd "$HOSTS/$host" && PATH=$HOSTS/bin:$PATH exec sh -c "$*"
`;
/** `role` and `sync` of a host are files; a switchover exchanges the roles. */
const LBCTL = `#!/bin/sh
case $PWD in */lb1) peer=../lb2 ;; *) peer=../lb1 ;; esac
if [ "$1" = switchover ]; then
  echo switchover >>../log
  [ ! -e refuses ] || { echo 'lbctl: refused' >&2; exit 1; }
  mv role was && mv $peer/role role && mv was $peer/role
  exit
fi
if [ "$1" = upgrade-ready ]; then
  echo "asked \${PWD##*/}" >>../log
  [ ! -e busy ] || { echo 'x must not be restarted now'; exit "$(cat busy)"; }
  exit
fi
printf '{\\n  "node": "x",\\n  "role": "%s",\\n  "peer": {\\n    "role": "%s"\\n  },\\n' "$(cat role)" "$(cat $peer/role)"
printf '  "sync": {\\n    "state": "%s",\\n    "entries": 1\\n  }\\n}\\n' "$(cat sync)"
`;
const INSTALL = `#!/bin/sh
echo "install on \${PWD##*/} ($(cat role))\${*:+ $*}" >>../log
if [ -e flaps ]; then
  rm flaps
  mv role was && mv ../lb1/role role && mv was ../lb1/role
  exit 1
fi
[ ! -e broken ]
`;

function pair(t: Test): { hosts: string; run(...args: string[]): Promise<Outcome> } {
  const hosts = t.testdir({
    bin: { sudo: '#!/bin/sh\nexec "$@"\n', ssh: SSH, lbctl: LBCTL },
    new: { scripts: { install: INSTALL } },
    lb1: { role: 'active', sync: 'synced' },
    lb2: { role: 'standby', sync: 'synced' },
    log: '',
  });
  for (const file of ['bin/sudo', 'bin/ssh', 'bin/lbctl', 'new/scripts/install'])
    chmodSync(join(hosts, file), 0o755);
  const env = { HOSTS: hosts, PATH: `${hosts}/bin:${process.env.PATH}` };
  return {
    hosts,
    run: async (...args) => {
      const { exitCode, stderr } = await execa(SCRIPT, args, { env, reject: false });
      return { exitCode, stderr, log: readFileSync(join(hosts, 'log'), 'utf8') };
    },
  };
}

interface Outcome {
  readonly exitCode: number | undefined;
  readonly stderr: string;
  readonly log: string;
}

t.test('help is an answer', async (t) => {
  for (const flag of ['--help', '-h']) {
    const { exitCode, stdout, stderr } = await execa(SCRIPT, [flag], { reject: false });
    t.match(stdout, /^usage: scripts\/upgrade-pair .*\n[\s\S]*HOST/);
    t.same([exitCode, stderr], [0, '']);
  }
});

t.test('the standby first, then a switchover, then the other one', async (t) => {
  for (const order of [
    ['lb1', 'lb2'],
    ['lb2', 'lb1'],
  ]) {
    const { hosts, run } = pair(t);
    t.same(await run('-F', '/dev/null', `${hosts}/new`, ...order), {
      exitCode: 0,
      stderr: '',
      log: 'asked lb2\ninstall on lb2 (standby)\nswitchover\nasked lb1\ninstall on lb1 (standby)\n',
    });
  }
});

t.test('another Node for both', async (t) => {
  const { hosts, run } = pair(t);
  const { exitCode, log } = await run(
    '--runtime',
    '/opt/node/bin/node',
    '-F',
    '/dev/null',
    `${hosts}/new`,
    'lb1',
    'lb2',
  );
  t.equal(exitCode, 0);
  t.equal(
    log,
    'asked lb2\ninstall on lb2 (standby) --node /opt/node/bin/node\nswitchover\n' +
      'asked lb1\ninstall on lb1 (standby) --node /opt/node/bin/node\n',
  );
  t.match(await run('--runtime', 'pinned', `${hosts}/new`, 'lb1', 'lb2'), {
    exitCode: 0,
    log: /--node pinned/,
  });
  for (const path of ['node', '/opt/$(id)'])
    t.match(await run('--runtime', path, `${hosts}/new`, 'lb1', 'lb2'), {
      exitCode: 1,
      stderr: /expected an absolute path of plain characters/,
    });
});

t.test('a standby that was not upgraded: the active one is not touched', async (t) => {
  const { hosts, run } = pair(t);
  writeFileSync(join(hosts, 'lb2/broken'), '');
  const { exitCode, stderr, log } = await run(`${hosts}/new`, 'lb1', 'lb2');
  t.equal(exitCode, 1);
  t.match(stderr, 'lb2 was not upgraded');
  t.equal(log, 'asked lb2\ninstall on lb2 (standby)\n');
});

t.test('a role that moves while the standby installs is handed over again', async (t) => {
  const { hosts, run } = pair(t);
  writeFileSync(join(hosts, 'lb2/flaps'), '');
  t.match(await run(`${hosts}/new`, 'lb1', 'lb2'), {
    exitCode: 0,
    log:
      'asked lb2\ninstall on lb2 (standby)\nswitchover\nasked lb2\ninstall on lb2 (standby)\n' +
      'switchover\nasked lb1\ninstall on lb1 (standby)\n',
  });
});

t.test('a switchover that is refused ends it', async (t) => {
  const { hosts, run } = pair(t);
  writeFileSync(join(hosts, 'lb1/refuses'), '');
  const { exitCode, log } = await run(`${hosts}/new`, 'lb1', 'lb2');
  t.not(exitCode, 0);
  t.equal(log, 'asked lb2\ninstall on lb2 (standby)\nswitchover\n');
});

t.test('a node on which clients do not finish is not touched', async (t) => {
  const { hosts, run } = pair(t);
  writeFileSync(join(hosts, 'lb1/busy'), '1');
  const { exitCode, stderr, log } = await run(`${hosts}/new`, 'lb1', 'lb2');
  t.equal(exitCode, 1);
  t.match(stderr, 'x must not be restarted now; nothing more is changed');
  t.equal(log, 'asked lb2\ninstall on lb2 (standby)\nswitchover\nasked lb1\n');
});

t.test('a release that cannot be asked whether it is ready is upgraded as before', async (t) => {
  const { hosts, run } = pair(t);
  writeFileSync(join(hosts, 'lb1/busy'), '2');
  const { exitCode, log } = await run(`${hosts}/new`, 'lb1', 'lb2');
  t.equal(exitCode, 0);
  t.match(log, /asked lb1\ninstall on lb1/);
});

t.test('a pair that is not whole is left alone', async (t) => {
  const wrong: readonly (readonly [file: string, text: string])[] = [
    ['lb2/role', 'fault'],
    ['lb1/role', 'standby'],
    ['lb2/sync', 'connecting'],
  ];
  for (const [file, text] of wrong) {
    const { hosts, run } = pair(t);
    writeFileSync(join(hosts, file), text);
    const { exitCode, stderr, log } = await run(`${hosts}/new`, 'lb1', 'lb2');
    t.equal(exitCode, 1);
    t.match(stderr, 'expected an active and a standby node in step');
    t.match(stderr, text);
    t.equal(log, '');
  }
});

t.test('wrong usage', async (t) => {
  const { hosts, run } = pair(t);
  mkdirSync(join(hosts, 'a b'));
  t.match(await run(`${hosts}/new`, 'lb1'), { exitCode: 2, stderr: /usage/ });
  t.match(await run(`${hosts}/a b`, 'lb1', 'lb2'), { exitCode: 1, stderr: /expected an absolute path/ });
  t.match(await run(`${hosts}/new`, 'lb1', 'lb3'), { exitCode: 1, stderr: /lb3 is ""/ });
});
