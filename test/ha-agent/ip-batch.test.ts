import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { IpBatch } from '../../ha-agent/ip-batch.ts';
import { tempDir } from '../common/temp-dir.ts';

/** A program in place of `ip`; the shell script sees the lines in `$line` and their number in `$n`. */
function program(t: Test, body: string): string {
  const path = join(tempDir(t), 'ip');
  const loop = `#!/bin/bash\nn=0\nwhile read -r line; do n=$((n+1))\n${body}\ndone\n`;
  writeFileSync(path, loop);
  chmodSync(path, 0o755);
  return path;
}

/** Answers as `ip -json -force -batch -` of iproute2 6.1 does. */
const LIKE_IP = `
case $line in
  'addr show dev lo') echo '[{"ifname":"lo","link_type":"loopback","addr_info":[]}]' ;;
  'addr show dev nope') { echo 'Device "nope" does not exist.'; echo "Command failed -:$n"; } >&2 ;;
  addr\\ show*) echo "[{\\"ifname\\":\\"\${line##* }\\",\\"addr_info\\":[{}]}]" ;;
  addr*) ;;
  *) { echo "Object \\"$line\\" is unknown, try \\"ip help\\"."; echo "Command failed -:$n"; } >&2 ;;
esac`;

t.test('answers and errors belong to their job, also when jobs overlap', async (t) => {
  const ip = new IpBatch(program(t, LIKE_IP));
  t.teardown(() => ip.close());
  const [one, two, three] = await Promise.all([
    ip.run(['addr del x', 'addr show dev eth1']),
    ip.run(['addr show dev nope']),
    ip.run(['addr show dev lo', 'addr show dev eth2']),
  ]);
  t.match(one, { objects: [{ ifname: 'eth1' }], errors: [], complete: true });
  t.same(two, { objects: [], errors: ['Device "nope" does not exist.'], complete: true });
  t.match(three, { objects: [{ ifname: 'lo' }, { ifname: 'eth2' }], errors: [] });
});

t.test('a listing that fails is not an empty one', async (t) => {
  const mute = LIKE_IP.replace(
    'addr\\ show*)',
    "'addr show dev eth7') echo 'Dump terminated' >&2 ;;\n  addr\\ show*)",
  );
  const ip = new IpBatch(program(t, mute));
  t.teardown(() => ip.close());
  t.match(await ip.run(['addr show dev eth7']), { objects: [], complete: false });
  t.match(await ip.run(['addr show dev eth7', 'addr show dev nope']), { complete: false });
  t.match(await ip.run(['addr show dev eth1', 'addr show dev nope']), { complete: true });
});

const BROKEN: readonly (readonly [name: string, body: string, why: RegExp])[] = [
  ['dies', 'exit 1', /ip ended unexpectedly/],
  ['prints no JSON', 'echo oops', /not JSON/],
  ['hangs', ':', /did not answer within/],
];

for (const [name, body, why] of BROKEN)
  t.test(`an ip that ${name} fails the job, not the agent`, async (t) => {
    const ip = new IpBatch(program(t, body));
    t.teardown(() => ip.close());
    await t.rejects(ip.run(['addr show dev eth1']), { code: 'IP_FAILED', message: why });
  });

t.test('an ip that died is started again', async (t) => {
  const flag = join(tempDir(t), 'flag');
  const ip = new IpBatch(program(t, `[ -e ${flag} ] || { touch ${flag}; exit 1; }\n${LIKE_IP}`));
  t.teardown(() => ip.close());
  await t.rejects(ip.run(['addr show dev eth1']));
  t.match(await ip.run(['addr show dev eth1']), { objects: [{ ifname: 'eth1' }] });
});

t.test('no ip at all: says what to install', async (t) => {
  const ip = new IpBatch('/no/such/ip');
  t.teardown(() => ip.close());
  await t.rejects(ip.run([]), { message: 'there is no program "ip"; install iproute2' });
});
