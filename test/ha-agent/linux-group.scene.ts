/** Runs inside a network namespace of its own, see `linux-group.test.ts`; prints one JSON line a finding. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VipRoute } from '../../common/model.ts';
import { Announcer } from '../../ha-agent/announcer.ts';
import { Guardian } from '../../ha-agent/guardian.ts';
import { LinuxNetwork } from '../../ha-agent/linux-network.ts';
import { until } from '../../scripts/lab/wait.ts';
import { ip, neighbourOfScene, tell } from './scene-neighbour.ts';
import { group, vip } from './vips.ts';

const there = await neighbourOfScene();
const directory = mkdtempSync(join(tmpdir(), 'tandem-scene-'));
process.on('exit', () => rmSync(directory, { recursive: true }));

ip('addr', 'add', '192.0.2.1/24', 'dev', 'eth1');
there('addr', 'add', 'fd00::3/64', 'dev', 'cable', 'nodad');

const calls = join(directory, 'calls');
const command = join(directory, 'move');
const gate = join(directory, 'refuse');
writeFileSync(
  command,
  `#!/bin/sh\n[ -e ${gate} ] && { echo "no credentials" >&2; exit 3; }\necho "$@" >> ${calls}\n`,
);
chmodSync(command, 0o755);
const called = () => (existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : []);

const route = (to: string, more: Partial<VipRoute> = {}): VipRoute => ({
  ...{ to, family: 4, via: undefined, interface: 'eth1', src: undefined, table: undefined },
  ...more,
});
const PLAIN = vip('192.0.2.100/24');
const V6 = vip('fd00::100/64');
const blue = group('blue', [PLAIN, V6], {
  routes: [
    route('10.9.0.0/16', { via: '192.0.2.3', src: '192.0.2.100', table: 77 }),
    route('fd09::/32', { family: 6, via: 'fd00::3' }),
  ],
});
const EXEC = vip('203.0.113.7/32', 'eth1', { provider: 'exec', command: [command, 'zone a'] });
const green = group('green', [
  vip('198.51.100.9/24', 'eth1', { prefixRoute: false }),
  vip('198.51.100.10/32', 'lo', { provider: 'lo' }),
  EXEC,
]);

const told: (readonly string[])[] = [];
const troubles: string[] = [];
const events = {
  onInterface: () => {},
  onSettings: () => {},
  onAdders: () => {},
  onFormerRoutes: () => {},
  onAbility: () => {},
  onTold: (addresses: readonly string[]) => void told.push(addresses),
  onTrouble: (text: string) => void troubles.push(text),
};
const host = new LinuxNetwork({ groups: [blue, green], watched: ['eth1'] }, '192.0.2.2', events);
await host.open();
const [one, two] = [host.group('blue'), host.group('green')];

// The neighbour believes that both addresses are on another machine.
const OTHER = '02:00:00:00:00:99';
const mac = /link\/ether (\S+)/.exec(ip('link', 'show', 'eth1'))?.[1] ?? '';
const believeOther = () => {
  for (const address of [PLAIN.address, V6.address])
    there('neigh', 'replace', address, 'lladdr', OTHER, 'dev', 'cable', 'nud', 'reachable');
};
believeOther();
await one.addVips();
one.announce();
const knows = (address: string) => there('neigh', 'show', address).includes(mac);
const known = () => until('the neighbour to learn', () => knows(PLAIN.address) && knows(V6.address));
await known();
tell('announced', troubles);

// By each of its two ways alone.
const interfaces = JSON.parse(ip('-json', 'addr', 'show', 'dev', 'eth1'));
for (const programs of [
  ['bash', 'socat'],
  ['bash', 'arping', 'ndptool'],
]) {
  const path = process.env.PATH;
  const bin = mkdtempSync(join(tmpdir(), 'tandem-bin-'));
  for (const name of [...programs, 'timeout'])
    symlinkSync(
      execFileSync('bash', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim(),
      join(bin, name),
    );
  const words: string[] = [];
  const announcer = new Announcer((text) => words.push(text));
  process.env.PATH = bin;
  await announcer.open();
  announcer.learn(interfaces);
  if (!programs.includes('socat')) await until('it to miss socat', () => words.length > 0);
  process.env.PATH = path;
  believeOther();
  announcer.announce([PLAIN, V6]);
  await known();
  tell(`announced by ${programs.join()}`, [words, announcer.warnings([PLAIN, V6])]);
  announcer.close();
  rmSync(bin, { recursive: true });
}

const routes = () => `${ip('route', 'show', 'table', 'all')}${ip('-6', 'route', 'show', 'table', 'all')}`;
await until('the routes', () => routes().includes('10.9.0.0/16') && routes().includes('fd09::/32'));
tell('routes', /10\.9\.0\.0\/16 via 192\.0\.2\.3 dev eth1 table 77 .*src 192\.0\.2\.100/.test(routes()));
ip('route', 'del', '10.9.0.0/16', 'table', '77');
await one.addVips();
await until('the route to be renewed', () => routes().includes('10.9.0.0/16'));
await one.addVips();
tell('groups apart', [[...one.held], [...two.held]]);

writeFileSync(gate, '');
await two.addVips();
const lo = () => ip('-o', 'addr', 'show', 'dev', 'lo');
tell('kinds', [
  /198\.51\.100\.9\/24/.test(ip('-o', 'addr', 'show', 'dev', 'eth1')),
  routes().includes('198.51.100.0/24'),
  lo().includes('198.51.100.10/32'),
  [...two.held],
]);
// The command is refused, again and again: in the end the VIP is a fault, and meanwhile nothing waits.
let fault = '';
const renew = () => two.addVips().catch((error: Error) => (fault = error.message));
while (fault === '') {
  await renew();
  await new Promise((resolve) => setTimeout(resolve, 50));
}
tell('refused command', [fault, troubles.splice(0)]);
rmSync(gate);
await until('the command to be called', () => called().length > 0);
// The file has its line before the command has ended.
do {
  fault = '';
  await renew();
  await new Promise((resolve) => setTimeout(resolve, 20));
} while (fault !== '');
tell('command', [called(), fault, told.at(-1)]);
await two.removeVips();
tell('command afterwards', [called(), told.at(-1), [...two.held]]);
tell('what stays', [[...one.held].length, routes().includes('10.9.0.0/16')]);

await one.removeVips();
tell('removed', [/fd09|10\.9/.test(routes()), lo().includes('198.51.100.10')]);

// A route that cannot be made is a warning, and the VIPs are there.
const lame = group('blue', [PLAIN], { routes: [route('10.8.0.0/16', { via: '172.31.0.1' })] });
await host.configure({ groups: [lame, green], watched: ['eth1'] });
await one.addVips();
await until('the trouble', () => troubles.length > 0);
tell('lame route', [
  [...one.held],
  troubles.splice(0),
  host.warnings.filter((line) => line.includes('route')),
]);

// A change of which one part cannot be carried out: what is held stays, what came for it leaves.
const OTHERS = vip('192.0.2.111/24');
const onHost = () => [...ip('-o', 'addr', 'show', 'dev', 'eth1').matchAll(/192\.0\.2\.1\d\d/g)].join();
const plain = group('blue', [PLAIN]);
await host.configure({ groups: [plain, green], watched: ['eth1'] });
const more = { ...plain, vips: [OTHERS, PLAIN, vip('192.0.2.110/24', 'eth9')] };
const refusal = await host
  .configure({ groups: [{ ...green, routes: [route('10.7.0.0/16')] }, more], watched: ['eth1'] })
  .catch((error: Error) => error.message);
tell('impossible', [refusal, [...one.held], onHost(), one.config.vips.length, two.config.routes.length]);
await host.configure({ groups: [{ ...plain, vips: [OTHERS, PLAIN] }, green], watched: ['eth1'] });
tell('possible', onHost().split(',').toSorted());
// From one group to another, where this host has both.
const given = { ...green, vips: [...green.vips, OTHERS] };
await two.addVips();
await host.configure({ groups: [given, plain], watched: ['eth1'] });
tell('given', onHost().split(',').toSorted());
await two.removeVips();
await host.configure({ groups: [plain, green], watched: ['eth1'] });

// Two groups that finish on this host at the same time share the settings of the interface.
const quiet = () => readFileSync('/proc/sys/net/ipv4/conf/eth1/arp_ignore', 'utf8').trim();
await two.addVips();
await one.parkVips();
await two.parkVips();
const both = quiet();
await one.unparkVips();
const still = quiet();
await two.unparkVips();
tell('shared settings', [both, still, quiet()]);
await one.forward();
await two.forward();
const tables = () => execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' }).trim().split('\n');
tell('tables', tables());
await two.unforward();
tell('tables of one', tables());

// A group leaves by reload.
await one.addVips();
await host.configure({ groups: [green], watched: ['eth1'] });
tell('group gone', [ip('-o', 'addr', 'show', 'dev', 'eth1').includes(PLAIN.address), tables()]);

// The agent is killed: its guardian removes routes and rules too, and calls the command where that brought the address.
await host.close();
rmSync(calls);
const plan = {
  ...{ vips: [...blue.vips, ...green.vips], routes: blue.routes, groups: ['blue', 'green'] },
  ...{ timeoutMs: 60_000, target: undefined },
};
const guardian = new Guardian(plan, { onFired: () => {}, onTrouble: (text) => troubles.push(text) });
const orphan = new LinuxNetwork({ groups: [blue, green], watched: [] }, '192.0.2.2', {
  ...events,
  onTold: (addresses) => guardian.setTold(addresses),
});
await orphan.open();
guardian.start();
await orphan.group('blue').addVips();
await orphan.group('green').addVips();
await orphan.group('blue').forward();
await until('the command', () => called().length === 1);
await until('the routes', () => routes().includes('10.9.0.0/16') && routes().includes('fd09::/32'));
guardian.close();
await until('the guardian to call the command', () => called().length === 2);
const left = () => `${ip('-o', 'addr', 'show')}${routes()}${tables().join()}`;
const traces = /192\.0\.2\.100|fd00::100|198\.51\.100|203\.0\.113|10\.9\.|fd09|tandem/;
await until('nothing to be left', () => !traces.test(left()));
tell('cleaned by the guardian', called());
await orphan.close();
tell('troubles', troubles);
