import { fileURLToPath } from 'node:url';
import t from 'tap';
import { lackingForScene, runScene } from './scene.ts';

const SCENE = fileURLToPath(new URL('linux-group.scene.ts', import.meta.url));
const skip = lackingForScene(['nft', 'socat', 'arping', 'ndptool', 'nsenter']) ?? false;
const NO_SOCAT =
  'there is no program "socat" (socat), so each announcement to the neighbours starts a program of its own';
const BLUE = ['192.0.2.100/24', 'fd00::100/64'];
const GREEN = ['198.51.100.9/24', '198.51.100.10/32', '203.0.113.7/32'];

t.test('a real kernel: groups, neighbours, routes, commands', { skip }, (t) => {
  const { status, stderr, found } = runScene(SCENE);
  t.equal(status, 0, stderr);
  for (const [name, value] of Object.entries({
    announced: [],
    'announced by bash,socat': [[], []],
    'announced by bash,arping,ndptool': [[NO_SOCAT], [NO_SOCAT]],
    routes: true,
    'groups apart': [BLUE, []],
    kinds: [true, false, true, GREEN],
    command: [['zone a add 203.0.113.7'], '', ['203.0.113.7']],
    'command afterwards': [['zone a add 203.0.113.7', 'zone a remove 203.0.113.7'], [], []],
    'what stays': [2, true],
    removed: [false, false],
    'shared settings': ['1', '1', '0'],
    tables: ['table ip tandem_second_chance_blue', 'table ip tandem_second_chance_green'],
    'tables of one': ['table ip tandem_second_chance_blue'],
    'group gone': [false, ['']],
    'cleaned by the guardian': ['zone a add 203.0.113.7', 'zone a remove 203.0.113.7'],
    troubles: [],
  }))
    t.strictSame(found.get(name), value, name);
  const failed = 'the command of 203.0.113.7 failed to add it: no credentials';
  t.strictSame(found.get('refused command'), [failed, [failed]], 'told once, a fault in the end');
  const [held, troubles, warnings] = found.get('lame route') as [string[], string[], string[]];
  t.strictSame(held, ['192.0.2.100/24']);
  t.match(troubles, [/^a route \(10\.8\.0\.0\/16\) was not added: /]);
  t.match(warnings, [/^group blue: a route \(10\.8\.0\.0\/16\) was not added: /]);
  const [refusal, ...after] = found.get('impossible') as unknown[];
  t.match(refusal, /^192\.0\.2\.110\/24 dev eth9 is not there: Cannot find device "eth9"/);
  t.strictSame(after, [['192.0.2.100/24'], '192.0.2.100', 1, 0], 'and nothing has changed');
  t.strictSame(found.get('possible'), ['192.0.2.100', '192.0.2.111']);
  t.strictSame(found.get('given'), ['192.0.2.100', '192.0.2.111'], 'no VIP is dropped on its way');
  t.end();
});
