/** Runs inside a network namespace of its own, see `host-state.test.ts`; prints one JSON line a finding. */
import { readFileSync } from 'node:fs';
import type { VipRoute } from '../../common/model.ts';
import { Guardian } from '../../ha-agent/guardian.ts';
import { LinuxNetwork } from '../../ha-agent/linux-network.ts';
import { until } from '../../scripts/lab/wait.ts';
import { ip, neighbourOfScene, tell } from './scene-neighbour.ts';
import { group, vip } from './vips.ts';

const there = await neighbourOfScene();
const addresses = () => ip('-o', 'addr', 'show');

const VIP = vip('192.0.2.100/24');
const V6 = vip('fd00::100/64');
const ROUTE: VipRoute = {
  ...{ to: '0.0.0.0/0', family: 4, via: '192.0.2.3', interface: 'eth1', src: undefined, table: undefined },
};
const blue = group('blue', [VIP, V6], { routes: [ROUTE] });
let former: readonly string[] = [];
const troubles: string[] = [];
const handlers = {
  onInterface: () => {},
  onSettings: () => {},
  onAdders: () => {},
  onAbility: () => {},
  onTold: () => {},
  onFormerRoutes: (lines: readonly string[]) => {
    former = lines;
  },
  onTrouble: (text: string) => void troubles.push(text),
};

// What somebody has left here: keepalived's prefix, another interface.
ip('addr', 'add', '192.0.2.100/32', 'dev', 'eth1');
ip('addr', 'add', 'fd00::100/128', 'dev', 'lo');
ip('addr', 'add', '192.0.2.200/32', 'dev', 'eth1');
const host = new LinuxNetwork({ groups: [blue], watched: ['eth1'] }, '192.0.2.2', handlers);
await host.open();
tell('at the start', [/192\.0\.2\.100|fd00::100/.test(addresses()), addresses().includes('192.0.2.200')]);
tell(
  'said at the start',
  troubles.splice(0).filter((text) => text.includes('192.0.2.100')),
);

// The node's own address comes after the VIP, so that the VIP is the first of its network.
const network = host.group('blue');
await network.addVips();
ip('addr', 'add', '192.0.2.1/24', 'dev', 'eth1');
ip('addr', 'add', 'fd00::1/64', 'dev', 'eth1', 'nodad');
tell('own IPv6 address is the source', ip('-6', 'route', 'get', 'fd00::3').includes('src fd00::1'));
await network.removeVips();
tell('own address', addresses().includes('192.0.2.1/24'));

// Its own default route, whose place the VIP's takes.
ip('route', 'add', 'default', 'via', '192.0.2.9', 'dev', 'eth1', 'proto', 'static');
const defaults = () =>
  ip('route', 'show', 'default')
    .trim()
    .split('\n')
    .map((line) => line.split(' ')[2]);
await network.addVips();
await until('the route', () => defaults().includes('192.0.2.3'));
tell('told the guardian', former);
await network.removeVips();
tell('route is back', [defaults(), former]);

// Somebody adds a copy while it is not here, and while it is.
await until('the kernel to be listened to', () => {
  ip('addr', 'replace', '192.0.2.100/32', 'dev', 'eth1');
  return troubles.some((text) => text.includes('192.0.2.100/32'));
});
await until('the copy to be gone', () => !addresses().includes('192.0.2.100/'));
await until('it to be forgotten', () => network.copies.length === 0);
tell(
  'warned',
  host.warnings.some((text) => text.startsWith('192.0.2.100/32 dev eth1 was here, and not by this agent')),
);
await network.addVips();
ip('addr', 'add', '192.0.2.100/32', 'dev', 'lo');
await until('the copy to be gone', () => !addresses().includes('192.0.2.100/32'));
tell('the VIP stays', [addresses().includes('192.0.2.100/24'), [...network.held]]);
ip('addr', 'add', '192.0.2.100/30', 'dev', 'lo');
await network.removeVips();
tell('all removed', /192\.0\.2\.100|fd00::100/.test(addresses()));

// Who answers.
const answers = async () => (await network.probe(['192.0.2.3'])).answers.map(({ address }) => address);
tell('nobody has the VIP', await answers());
there('addr', 'add', '192.0.2.100/24', 'dev', 'cable');
const {
  answers: [answer],
} = await network.probe([]);
tell('somebody has the VIP', [answer?.address, there('link', 'show', 'cable').includes(answer?.by ?? '?')]);
tell('both', (await answers()).toSorted());
there('addr', 'del', '192.0.2.100/24', 'dev', 'cable');
tell('nobody any more', await answers());

// Somebody has them when they come here, and one that a reload brings.
const rivals = () => troubles.splice(0).filter((text) => text.startsWith('somebody else answers'));
const more = vip('192.0.2.101/24');
const cable = /link\/ether (\S+)/.exec(there('link', 'show', 'cable'))?.[1] ?? '?';
there('addr', 'add', '192.0.2.100/24', 'dev', 'cable');
there('addr', 'add', '192.0.2.101/24', 'dev', 'cable');
network.lookForRivals();
await until('the rival', () => troubles.some((text) => text.startsWith('somebody else answers')));
const rivalsBefore = rivals();
await network.addVips();
await host.configure({ groups: [{ ...blue, vips: [VIP, more] }], watched: ['eth1'] });
tell('rivals', [
  ...[rivalsBefore, rivals()].map((texts) => texts.map((text) => text.replace(cable, 'MAC'))),
  host.warnings.filter((text) => text.startsWith('somebody else')).length,
  addresses().includes('192.0.2.101/24'),
]);
there('addr', 'del', '192.0.2.100/24', 'dev', 'cable');
there('addr', 'del', '192.0.2.101/24', 'dev', 'cable');
await network.removeVips();
await host.configure({ groups: [blue], watched: ['eth1'] });

// A VIP that cannot be had is left aside, and taken once its interface is there.
const lame = vip('198.51.100.1/24', 'eth9');
await host.configure({ groups: [{ ...blue, vips: [VIP, lame] }], watched: ['eth1', 'eth9'] });
await network.addVips();
tell('left aside', [
  [...network.held],
  host.warnings
    .filter((text) => text.includes('eth9'))
    .map((text) => text.slice(0, 46))
    .toSorted(),
]);
// Somebody answers for the other one: what cannot be asked for does not hide it.
there('addr', 'add', '192.0.2.100/24', 'dev', 'cable');
await network.removeVips();
tell(
  'asked without it',
  (await network.probe([])).answers.map(({ address }) => address),
);
there('addr', 'del', '192.0.2.100/24', 'dev', 'cable');
await network.addVips();
tell(
  'refused while held',
  await host
    .configure({
      groups: [{ ...blue, vips: [VIP, lame, vip('198.51.100.2/24', 'eth8')] }],
      watched: ['eth1'],
    })
    .then(
      () => 'done',
      () => [...network.held],
    ),
);
ip('link', 'add', 'eth9', 'type', 'veth', 'peer', 'name', 'other9');
ip('link', 'set', 'eth9', 'up');
await until('the VIP', async () => {
  await network.renewVips();
  return network.held.size === 2;
});
await network.removeVips();

// The peer behind a router: its segments would come back.
const far = new LinuxNetwork({ groups: [group('far', [VIP])], watched: [] }, '203.0.113.2', handlers);
await far.open();
tell('behind a router', [
  far.group('far').secondChance,
  far.warnings.filter((text) => text.includes('router')),
]);
await far.close();

// The agent dies while it holds the VIP, and beside it there is a copy: the guardian removes both, and brings the route back.
const plan = { vips: [VIP, V6], routes: [ROUTE], groups: ['blue'], timeoutMs: 60_000, target: undefined };
const guardian = new Guardian(plan, { onFired: () => {}, onTrouble: (text) => troubles.push(text) });
const orphan = new LinuxNetwork({ groups: [blue], watched: [] }, '192.0.2.2', {
  ...handlers,
  onFormerRoutes: (lines) => guardian.setFormerRoutes(lines),
});
await orphan.open();
guardian.start();
await orphan.group('blue').addVips();
await until('the route', () => defaults().includes('192.0.2.3'));
await host.close();
ip('addr', 'add', '192.0.2.100/31', 'dev', 'lo');
guardian.close();
await until('all to be gone', () => !/192\.0\.2\.100|fd00::100/.test(addresses()));
await until('the route', () => defaults().join() === '192.0.2.9');
await orphan.close();
tell('settings', readFileSync('/proc/sys/net/ipv4/conf/eth1/promote_secondaries', 'utf8').trim());
