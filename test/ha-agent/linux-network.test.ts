import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { lackingForScene, runScene } from './scene.ts';

const SCENE = fileURLToPath(new URL('linux-network.scene.ts', import.meta.url));
const skip = lackingForScene(['nft', 'arping', 'ndptool']) ?? false;
const noRoot = process.getuid?.() === 0 ? false : 'only root can give up its permissions';

t.test('a real kernel: add, renew, watch, remove', { skip }, (t) => {
  const { status, stderr, found } = runScene(SCENE);
  t.equal(status, 0, stderr);
  const expected: Record<string, unknown> = {
    'missing interface': 'interface nope0 does not exist: left aside until it is there and up',
    'stale VIP after open': false,
    added: [true, true, ['192.0.2.100/24', 'fd00::100/64']],
    lease: true,
    tentative: false,
    'carrier lost': 'interface eth1 has no carrier',
    'its ~/.bashrc ran': false,
    monitor: 'ip monitor did not tell of a change; starting another one',
    removed: [false, false, true, 0],
    'second chance': [true, ''],
    parked: [true, false, []],
    'parked on lo': [true, false, ['1', '2']],
    'taken back': true,
    unparked: [false, ['0', '0']],
    'removed from lo': [false, ['0', '0']],
    forwards: true,
    'forwards no more': '',
    'overtaken for nft': [false, true],
    'overtaken for ip': [false, true],
    closed: [false, ['0', '0'], ''],
    'cleaned by the guardian': '[false,["0","0"],""]',
    'both killed': [true, ['1', '2'], 3],
    'mended by the next agent': [false, ['0', '0'], ['eth1/promote_secondaries=0']],
    'no longer listed': false,
    'made again': true,
    'remove without the interface': 'gone',
  };
  const [able, troubles, warnings] = found.get('without nft') as [boolean, string[], string[]];
  t.notOk(able);
  t.same(troubles, ['a switchover will break open connections: there is no program "nft"; install nftables']);
  t.same(warnings, ['a switchover breaks open connections: there is no program "nft"; install nftables']);
  for (const [name, value] of Object.entries(expected)) t.same(found.get(name), value, name);
  t.match(found.get('add without the interface'), /192\.0\.2\.100\/24 dev eth1 is not there: ./);
  t.equal(found.get('trouble'), undefined);
  t.end();
});

t.test('no permission: one clear line', { skip: skip || noRoot }, (t) => {
  const source = `
    import { LinuxNetwork } from ${JSON.stringify(new URL('../../ha-agent/linux-network.ts', import.meta.url).href)};
    const vip = { address: '192.0.2.100', prefix: 24, family: 4, interface: 'lo' };
    const groups = [{ name: 'default', vips: [vip], routes: [] }];
    const network = new LinuxNetwork({ groups, watched: [] }, '192.0.2.2', { onAdders() {}, onAbility() {}, onInterface() {}, onTrouble() {} });
    await network.open().catch((error) => console.log(error.message));
    await network.close();
  `;
  const args = [
    '-n',
    'setpriv',
    '--bounding-set',
    '-all',
    '--inh-caps',
    '-all',
    '--',
    process.execPath,
    '--input-type=module',
    '-e',
    source,
  ];
  const run = spawnSync('unshare', args, { encoding: 'utf8', timeout: 120_000 });
  t.match(run.stdout, 'no permission to change addresses; run as root or with CAP_NET_ADMIN', run.stderr);
  t.end();
});
