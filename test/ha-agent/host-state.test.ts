import { fileURLToPath } from 'node:url';
import t from 'tap';
import { lackingForScene, runScene } from './scene.ts';

const SCENE = fileURLToPath(new URL('host-state.scene.ts', import.meta.url));
const skip = lackingForScene(['nft', 'nsenter']) ?? false;

t.test('a real kernel: what else is on the host', { skip }, (t) => {
  const { status, stderr, found } = runScene(SCENE);
  t.equal(status, 0, stderr);
  const expected: Record<string, unknown> = {
    'at the start': [false, true],
    'said at the start': [
      '192.0.2.100/32 dev eth1 was here at the start, and not by this agent: removed, or both nodes would answer for it',
    ],
    'own IPv6 address is the source': true,
    'own address': true,
    'told the guardian': ['route add 0.0.0.0/0 via 192.0.2.9 dev eth1 proto 4'],
    'route is back': [['192.0.2.9'], []],
    warned: true,
    'the VIP stays': [true, ['192.0.2.100/24', 'fd00::100/64']],
    'all removed': false,
    'nobody has the VIP': ['192.0.2.3'],
    'somebody has the VIP': ['192.0.2.100', true],
    both: ['192.0.2.100', '192.0.2.3'],
    'nobody any more': ['192.0.2.3'],
    rivals: [
      ['somebody else answers for 192.0.2.100: MAC'],
      ['somebody else answers for 192.0.2.101: MAC'],
      2,
      true,
    ],
    'left aside': [
      ['192.0.2.100/24'],
      ['198.51.100.1/24 dev eth9 is left aside, tried ', 'interface eth9 does not exist: left aside unti'],
    ],
    'asked without it': ['192.0.2.100'],
    'refused while held': ['192.0.2.100/24'],
    'behind a router': [
      false,
      [
        'a switchover breaks open connections: not available there: 203.0.113.2 is on another network, behind the router 192.0.2.9, which would send the segments back',
      ],
    ],
    settings: '0',
  };
  for (const [name, value] of Object.entries(expected)) t.same(found.get(name), value, name);
  t.end();
});
