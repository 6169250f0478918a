import t from 'tap';
import { machineWith, TRACES } from './helpers.ts';
import { skipMachine } from './machine.ts';

const skip = skipMachine();

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
