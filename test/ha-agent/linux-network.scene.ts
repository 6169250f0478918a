/** Runs inside a network namespace of its own, see `linux-network.test.ts`; prints one JSON line a finding. */
import { execFileSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import type { VipConfig } from '../../common/model.ts';
import { LinuxNetwork } from '../../ha-agent/linux-network.ts';

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' });
const addresses = () => ip('-o', 'addr', 'show', 'dev', 'eth1');
const tell = (name: string, value: unknown) => console.log(JSON.stringify([name, value]));

ip('link', 'set', 'lo', 'up');
ip('link', 'add', 'eth1', 'type', 'veth', 'peer', 'name', 'other');
ip('link', 'set', 'eth1', 'up');
ip('link', 'set', 'other', 'up');
ip('addr', 'add', '192.0.2.1/24', 'dev', 'eth1');
ip('addr', 'add', '192.0.2.100/24', 'dev', 'eth1');

const vips: readonly VipConfig[] = [
  { address: '192.0.2.100', prefix: 24, family: 4, interface: 'eth1' },
  { address: 'fd00::100', prefix: 64, family: 6, interface: 'eth1' },
];
const bus = new EventEmitter();
const network = new LinuxNetwork(vips, ['eth1', 'nope0'], {
  onInterface: (name, up, why) => bus.emit(up ? `${name} up` : `${name} down`, why),
  onTrouble: (text) => tell('trouble', text),
});

const missing = once(bus, 'nope0 down');
await network.open();
tell('missing interface', (await missing)[0]);
tell('stale VIP after open', addresses().includes('192.0.2.100'));

await network.addVips();
const text = addresses();
tell('added', [text.includes('192.0.2.100/24'), text.includes('fd00::100/64'), [...network.held]]);
tell('lease', /192\.0\.2\.100\/24.*valid_lft [12]sec/.test(text));
tell('tentative', /fd00::100.*tentative/.test(text));
await network.addVips();
network.announce();

const down = once(bus, 'eth1 down');
ip('link', 'set', 'other', 'down');
tell('carrier lost', (await down)[0]);
const up = once(bus, 'eth1 up');
ip('link', 'set', 'other', 'up');
await up;

await network.removeVips();
const after = addresses();
tell('removed', [
  after.includes('192.0.2.100'),
  after.includes('fd00::100'),
  after.includes('192.0.2.1/24'),
  network.held.size,
]);
await network.removeVips();

await network.addVips();
await network.configure(vips.slice(0, 1), ['eth1']);
tell('no longer listed', addresses().includes('fd00::100'));

ip('link', 'del', 'eth1');
tell(
  'add without the interface',
  await network.addVips().then(
    () => 'added',
    (error: Error) => error.message,
  ),
);
tell(
  'remove without the interface',
  await network.removeVips().then(
    () => 'gone',
    (error: Error) => error.message,
  ),
);
const back = once(bus, 'eth1 up');
ip('link', 'add', 'eth1', 'type', 'veth', 'peer', 'name', 'other');
ip('link', 'set', 'eth1', 'up');
ip('link', 'set', 'other', 'up');
await back;
await network.addVips();
tell('made again', addresses().includes('192.0.2.100/24'));
await network.close();
