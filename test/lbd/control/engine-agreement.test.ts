import t from 'tap';
import { EngineAgreement } from '../../../lbd/control/engine-agreement.ts';
import { engineKey } from '../../../lbd/control/replicated.ts';
import { Registers } from '../../../lbd/session/registers.ts';

/** A pair whose registers are told to each other on demand. */
function pair() {
  const told: string[] = [];
  const make = (node: string, peer: string) => {
    const registers = new Registers(node);
    const tell = (level: string, text: string) => void told.push(`${node} ${level} ${text}`);
    return { registers, agreement: new EngineAgreement({ registers, node, peer, tell }) };
  };
  const [lb1, lb2] = [make('lb1', 'lb2'), make('lb2', 'lb1')];
  const sync = () => {
    for (let round = 0; round < 3; round++)
      for (const [from, to] of [
        [lb1, lb2],
        [lb2, lb1],
      ] as const) {
        for (const register of from.registers.entries()) to.registers.merge(register);
        to.agreement.look();
      }
  };
  return { lb1, lb2, sync, told, make };
}

const KERNEL = {
  frontend: 'db',
  engine: 'kernel',
  why: 'nothing of it needs lbd in the path of its bytes',
} as const;
const USER = { frontend: 'db', engine: 'user', why: 'this host does not forward IPv4' } as const;

t.test(
  'engine: auto that ends differently on the nodes is said on both, once, with both reasons',
  async (t) => {
    const { lb1, lb2, sync, told } = pair();
    lb1.agreement.chosen([KERNEL]);
    t.strictSame(lb1.agreement.warnings(), [], 'the other one has not said anything');
    lb2.agreement.chosen([USER]);
    sync();
    sync();
    const text =
      'frontend db: engine kernel on lb1 (nothing of it needs lbd in the path of its bytes), but user on lb2 (this host does not forward IPv4): its open connections end with the active role';
    t.strictSame(lb1.agreement.warnings(), [text]);
    t.equal(lb2.agreement.warnings().length, 1);
    t.equal(told.filter((line) => line.startsWith('lb1')).join(), `lb1 warn ${text}`);
    lb2.agreement.chosen([KERNEL]);
    sync();
    t.strictSame([lb1.agreement.warnings(), lb2.agreement.warnings()], [[], []]);
    t.equal(
      told.filter((line) => line.startsWith('lb1')).at(-1),
      'lb1 info both nodes have the same engines again',
    );
  },
);

t.test('a node that starts anew is not believed what it said before', async (t) => {
  const { lb1, lb2, sync, make } = pair();
  lb1.agreement.chosen([KERNEL]);
  lb2.agreement.chosen([USER]);
  sync();
  const anew = make('lb2', 'lb1');
  anew.agreement.chosen([KERNEL]);
  for (let round = 0; round < 3; round++) {
    for (const register of lb1.registers.entries()) anew.registers.merge(register);
    anew.agreement.look();
    for (const register of anew.registers.entries()) lb1.registers.merge(register);
    lb1.agreement.look();
  }
  t.strictSame([lb1.agreement.warnings(), anew.agreement.warnings()], [[], []]);
});

t.test('what a peer says is bounded, and what is not understood is nothing', async (t) => {
  const { lb1 } = pair();
  lb1.agreement.chosen([KERNEL]);
  for (const value of [null, 'user', { engine: 'both', why: 'x' }, { engine: 7, why: 'x' }]) {
    lb1.registers.set(engineKey('lb2', 'db'), value);
    t.strictSame(lb1.agreement.warnings(), []);
  }
  lb1.registers.set(engineKey('lb2', 'db'), { engine: 'user', why: `\u001b[2J${'x'.repeat(3000)}` });
  const [line] = lb1.agreement.warnings();
  t.ok(line!.length < 700 && !line!.includes('\u001b'));
});

t.test('a node that is alone has nobody to differ from', async (t) => {
  const registers = new Registers('lb1');
  const agreement = new EngineAgreement({ registers, node: 'lb1', peer: undefined, tell: () => t.fail() });
  agreement.chosen([KERNEL]);
  t.strictSame([agreement.warnings(), registers.entries()], [[], []]);
});
