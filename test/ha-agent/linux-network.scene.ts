/** Runs inside a network namespace of its own, see `linux-network.test.ts`; prints one JSON line a finding. */
import { execFileSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Guardian } from '../../ha-agent/guardian.ts';
import { LinuxNetwork } from '../../ha-agent/linux-network.ts';
import { SettingsFile } from '../../ha-agent/settings-file.ts';
import { until } from '../../scripts/lab/wait.ts';
import { group, vip } from './vips.ts';

// It changes addresses, rules and settings: never on the machine itself.
if (process.env.TANDEM_SCENE !== 'own namespace') throw new Error('run linux-network.test.ts instead');

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' });
const addresses = () => ip('-o', 'addr', 'show', 'dev', 'eth1');
const tell = (name: string, value: unknown) => console.log(JSON.stringify([name, value]));

ip('link', 'set', 'lo', 'up');
ip('link', 'add', 'eth1', 'type', 'veth', 'peer', 'name', 'other');
ip('link', 'set', 'eth1', 'up');
ip('link', 'set', 'other', 'up');
ip('addr', 'add', '192.0.2.1/24', 'dev', 'eth1');
ip('addr', 'add', '192.0.2.100/24', 'dev', 'eth1');

const home = mkdtempSync(join(tmpdir(), 'tandem-home-'));
process.once('exit', () => rmSync(home, { recursive: true }));
writeFileSync(join(home, '.bashrc'), 'echo >~/ran');
process.env.HOME = home;
delete process.env.SHLVL;

const vips = [vip('192.0.2.100/24'), vip('fd00::100/64')];
const groups = [group('default', vips)];
const guardianPlan = { vips, routes: [], groups: ['default'], timeoutMs: 60_000, target: undefined };
const bus = new EventEmitter();
const host = new LinuxNetwork({ groups, watched: ['eth1', 'nope0'] }, '192.0.2.2', {
  onAdders: () => {},
  onFormerRoutes: () => {},
  onAbility: () => {},
  onTold: () => {},
  onSettings: (former) => tell('settings', former),
  onInterface: (name, up, why) => bus.emit(up ? `${name} up` : `${name} down`, why),
  onTrouble: (text) => {
    // A busy machine may be slow, which is said and harms nothing here.
    const usual = /monitor|slow/.exec(text)?.[0] ?? 'trouble';
    const known = text.includes('nope0') ? 'missing interface' : usual;
    tell(known, text);
  },
});

const nope = once(bus, 'nope0 up');
await host.open();
const network = host.group('default');
await nope;
tell('stale VIP after open', addresses().includes('192.0.2.100'));

await network.addVips();
const text = addresses();
tell('added', [text.includes('192.0.2.100/24'), text.includes('fd00::100/64'), [...network.held]]);
tell('lease', /192\.0\.2\.100\/24.*valid_lft [0-2]sec/.test(text));
tell('tentative', /fd00::100.*tentative/.test(text));
await network.addVips();
network.announce();

const down = once(bus, 'eth1 down');
ip('link', 'set', 'other', 'down');
tell('carrier lost', (await down)[0]);
const up = once(bus, 'eth1 up');
ip('link', 'set', 'other', 'up');
await up;

const monitors = () =>
  readdirSync('/proc').filter((pid) => {
    try {
      const isHere = readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net');
      return isHere && readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('ip\0-oneline\0monitor');
    } catch {
      return false;
    }
  });
tell('its ~/.bashrc ran', existsSync(join(home, 'ran')));
const [stalled] = monitors();
process.kill(Number(stalled), 'SIGSTOP');
// A look that was under way already may find a change before it is missed.
for (let isOther = false; !isOther; isOther = monitors().some((pid) => pid !== stalled))
  for (const state of ['down', 'up']) {
    const unheard = once(bus, `eth1 ${state}`);
    ip('link', 'set', 'other', state);
    await unheard;
  }
await until('the one that stood still has ended', () => !monitors().includes(stalled!));

await network.removeVips();
const after = addresses();
tell('removed', [
  after.includes('192.0.2.100'),
  after.includes('fd00::100'),
  after.includes('192.0.2.1/24'),
  network.held.size,
]);
await network.removeVips();

const lo = () => ip('-o', 'addr', 'show', 'dev', 'lo');
const arp = () =>
  ['arp_ignore', 'arp_announce'].map((name) =>
    readFileSync(`/proc/sys/net/ipv4/conf/eth1/${name}`, 'utf8').trim(),
  );
const rules = () => execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' });
tell('second chance', [network.secondChance, rules()]);
await network.addVips();
tell('parked', [await network.parkVips(), addresses().includes('192.0.2.100'), [...network.held]]);
tell('parked on lo', [
  /192\.0\.2\.100\/32.*valid_lft [0-2]sec/.test(lo()),
  lo().includes('fd00::100'),
  arp(),
]);
await network.renewParked();
await network.addVips();
const held = addresses().includes('192.0.2.100/24');
await until('nothing to be parked', () => !lo().includes('192.0.2.100') && arp().join() === '0,0');
tell('taken back', held);
await network.parkVips();
await network.unparkVips();
tell('unparked', [lo().includes('192.0.2.100'), arp()]);
await network.addVips();
await network.parkVips();
await network.removeVips();
tell('removed from lo', [lo().includes('192.0.2.100'), arp()]);
await network.forward();
await network.forward();
tell('forwards', /ip daddr 192\.0\.2\.100.*jump strangers/.test(rules()));
await network.unforward();
await network.unforward();
tell('forwards no more', rules());

// A renewal that waits for nft, or whose answer is on its way, and a hand-over right behind it.
for (const waits of ['for nft', 'for ip']) {
  await network.addVips();
  const rules = waits === 'for nft' ? network.forward() : undefined;
  const renewal = network.addVips();
  const parked = network.parkVips();
  await Promise.allSettled([rules, renewal, parked]);
  tell(`overtaken ${waits}`, [addresses().includes('192.0.2.100'), lo().includes('192.0.2.100/32')]);
  await network.unparkVips();
  await network.unforward();
}

await network.addVips();
await host.configure({ groups: [group('default', vips.slice(0, 1))], watched: ['eth1'] });
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
ip('addr', 'add', '192.0.2.1/24', 'dev', 'eth1');
await back;
await network.addVips();
tell('made again', addresses().includes('192.0.2.100/24'));
await network.forward();
await network.parkVips();
await host.close();
tell('closed', [lo().includes('192.0.2.100'), arp(), rules()]);

// The agent is killed while connections finish and rules forward: its guardian cleans up.
const guardian = new Guardian(guardianPlan, {
  onFired: () => {},
  onTrouble: (text) => tell('trouble', text),
});
const orphan = new LinuxNetwork({ groups, watched: [] }, '192.0.2.2', {
  onAdders: () => {},
  onFormerRoutes: () => {},
  onAbility: () => {},
  onTold: () => {},
  onInterface: () => {},
  onSettings: (former) => guardian.setSettings(former),
  onTrouble: (text) => tell('trouble', text),
});
await orphan.open();
guardian.start();
await orphan.group('default').addVips();
await orphan.group('default').parkVips();
await orphan.group('default').forward();
guardian.replace(guardianPlan);
guardian.close();
const traces = () => JSON.stringify([lo().includes('192.0.2.100'), arp(), rules()]);
const clean = JSON.stringify([false, ['0', '0'], '']);
await until('the guardian to clean up', () => traces() === clean).catch(() => {});
tell('cleaned by the guardian', traces());
await orphan.close();

// Agent and guardian are killed together: the next agent finds in a file what to restore.
const scratch = mkdtempSync(join(tmpdir(), 'tandem-settings-'));
const left = new SettingsFile(join(scratch, 'former'), (text) => tell('trouble', text));
const handlers = {
  onAdders: () => {},
  onFormerRoutes: () => {},
  onAbility: () => {},
  onTold: () => {},
  onInterface: () => {},
  onSettings: (former: readonly string[]) => left.write(former),
  onTrouble: (text: string) => tell('trouble', text),
};
const killed = new LinuxNetwork({ groups, watched: [] }, '192.0.2.2', handlers);
await killed.open();
await killed.group('default').addVips();
await killed.group('default').parkVips();
tell('both killed', [lo().includes('192.0.2.100'), arp(), left.read().length]);
const next = new LinuxNetwork({ groups, watched: [] }, '192.0.2.2', handlers, left.read());
await next.open();
tell('mended by the next agent', [lo().includes('192.0.2.100'), arp(), left.read()]);
await next.close();
await killed.close();
rmSync(scratch, { recursive: true });

// Without nftables connections have no second chance, and all else works.
const tools = mkdtempSync(join(tmpdir(), 'tandem-tools-'));
for (const name of ['ip', 'bash', 'socat', 'arping', 'ndptool']) {
  const found = execFileSync('bash', ['-c', `command -v ${name} || true`], { encoding: 'utf8' }).trim();
  if (found !== '') symlinkSync(found, join(tools, name));
}
process.env.PATH = tools;
const troubles: string[] = [];
const plain = new LinuxNetwork({ groups, watched: [] }, '192.0.2.2', {
  onAdders: () => {},
  onFormerRoutes: () => {},
  onAbility: () => {},
  onTold: () => {},
  onInterface: () => {},
  onSettings: () => {},
  onTrouble: (text) => troubles.push(text),
});
await plain.open();
tell('without nft', [
  plain.group('default').secondChance,
  troubles,
  plain.warnings.filter((line) => line.includes('switchover')),
]);
await plain.close();
rmSync(tools, { recursive: true });
