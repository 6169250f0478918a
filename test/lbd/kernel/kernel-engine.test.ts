import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { READY } from '../../../lbd/kernel/choice.ts';
import { KernelEngine, type KernelGate } from '../../../lbd/kernel/kernel-engine.ts';
import type { KernelOrder } from '../../../lbd/kernel/kernel-host.ts';
import { LocalHost } from '../../../lbd/kernel/local-host.ts';
import { GATE_CLOSED, GATE_OPEN, GATE_STUCK } from '../../../lbd/shared/shared.ts';
import { fakeHost } from './fake-host.ts';

const config = (engine: string) =>
  parseConfig(
    `frontends: { f: { bind: ["*:5000"], mode: tcp, pool: p, engine: ${engine} } }
pools: { p: { backends: { a: { address: "192.0.2.21:9" }, b: { address: "192.0.2.22:9" } } } }
`,
    '/etc/tandem/tandem.yaml',
  );

/** An engine on a host that only remembers what it was told. */
function setUp() {
  const { scripts, deletions, host, parts, handlers } = fakeHost();
  const news: string[] = [];
  const chosen: string[] = [];
  const gates = new Map<string, KernelGate>(
    ['a', 'b'].map((name) => [`p/${name}`, { gate: GATE_OPEN, weight: 1, state: 'ready' }]),
  );
  const waiting: (() => void)[] = [];
  const engine = new KernelEngine({
    gate: (id) => gates.get(id)!,
    tell: (level, text) => {
      news.push(`${level}: ${text}`);
      for (const wake of waiting.splice(0)) wake();
    },
    onFrontends: (frontends) => news.push(`frontends: ${frontends.map(({ name }) => name).join()}`),
    onChosen: (choices) => chosen.push(choices.map(({ frontend, engine }) => `${frontend} ${engine}`).join()),
    host: (events) => new LocalHost(events, parts),
  });
  const told = async (what: RegExp) => {
    while (!news.some((line) => what.test(line))) await new Promise<void>((resolve) => waiting.push(resolve));
  };
  return { engine, scripts, deletions, news, chosen, gates, host, told, handlers };
}

t.test('the map follows health, and the flows of a dead backend are cut', async (t) => {
  const { engine, scripts, deletions, news, gates, told } = setUp();
  await engine.apply(config('kernel'));
  t.match(news, ['info: frontend f: engine kernel: as the config says', 'frontends: f']);
  t.match(scripts[0], /^add table inet tandem_lb\nflush table/);
  await engine.refresh();
  t.equal(scripts.length, 1, 'nothing changed, nothing is done');

  gates.set('p/b', { gate: GATE_STUCK, weight: 1, state: 'draining' });
  await engine.refresh();
  t.match(scripts[1], /delete element inet tandem_lb places\/p { 1 }/);
  t.strictSame(deletions, [], 'a drain leaves flows alone');

  gates.set('p/b', { gate: GATE_CLOSED, weight: 1, state: 'down' });
  await engine.refresh();
  await told(/p\/b: 2 flows in the kernel were cut/);
  t.strictSame(deletions, ['-D -f ipv4 -p tcp --dst-nat 192.0.2.22 --reply-port-src 9 --orig-port-dst 5000']);
  await engine.refresh();
  t.equal(deletions.length, 1, 'once');
  await engine.close();
});

t.test('a host that refuses the rules', async (t) => {
  for (const [wanted, level] of [
    ['auto', 'info'],
    ['kernel', 'warn'],
  ] as const) {
    const { engine, host, news, chosen } = setUp();
    host.broken = 'nft: Error: Could not process rule: No such file or directory';
    await engine.apply(config(wanted));
    t.strictSame(chosen, ['f user'], 'the peer is told what came of it');
    t.match(engine.engine('f'), { engine: 'user', why: /No such file/ });
    t.match(engine.warnings().length, wanted === 'kernel' ? 1 : 0);
    t.ok(
      news.some((line) => line.startsWith(`${level}: frontend f: engine`)),
      news.join('\n'),
    );
    await engine.close();
  }
});

t.test('later failures leave the rules in force, are told once, and are tried again', async (t) => {
  const { engine, scripts, host, news, gates, told } = setUp();
  await engine.apply(config('kernel'));
  host.broken = 'nft: Error: Out of memory';
  gates.set('p/a', { gate: GATE_CLOSED, weight: 1, state: 'maint' });
  await engine.refresh();
  await engine.refresh();
  t.equal(news.filter((line) => line.includes('Out of memory')).length, 1);
  t.match(engine.warnings(), [/the old ones are in force: nft: Error: Out of memory/]);
  t.match(engine.engine('f'), { engine: 'kernel' });
  host.broken = '';
  await told(/in force again/);
  t.match(scripts.at(-1), /flush table/, 'the whole table, since nobody knows what is there');
  t.strictSame(engine.warnings(), []);
  await engine.close();
});

t.test('another program', async (t) => {
  const { engine, scripts, news, handlers, told } = setUp();
  await engine.apply(config('kernel'));
  handlers().onChange({ pid: 1, program: 'nft' });
  await engine.refresh();
  t.equal(scripts.length, 1, 'our own changes are none');
  handlers().onChange({ pid: 2, program: 'firewalld' });
  await told(/firewalld \(process 2\) changed table tandem_lb \(it was gone\); it is put right/);
  await engine.refresh();
  t.match(scripts.at(-1), /flush table/);
  t.match(engine.warnings(), [/another program changed table tandem_lb, which was put right; so far 1/]);
  t.equal(news.filter((line) => line.includes('firewalld')).length, 1);
  await engine.close();
});

t.test('a table that no frontend needs', async (t) => {
  const leftover = setUp();
  leftover.host.table = true;
  await leftover.engine.apply(config('user'));
  t.strictSame(
    leftover.scripts,
    ['add table inet tandem_lb\ndelete table inet tandem_lb\n'],
    'is removed at a start',
  );
  await leftover.engine.close();

  const shared = setUp();
  shared.host.table = shared.host.claimed = true;
  await shared.engine.apply(config('user'));
  t.strictSame(shared.scripts, [], 'stays where another lbd of the host uses it');
  t.match(shared.news[0], /another lbd/);
  await shared.engine.close();

  const moved = setUp();
  await moved.engine.apply(config('kernel'));
  t.equal(moved.host.claimed, true);
  await moved.engine.apply(config('user'));
  t.match(moved.scripts[1], /delete element inet tandem_lb everywhere4 { tcp . 5000 }/);
  t.notMatch(moved.scripts[1], /delete table|delete chain inet tandem_lb prerouting/, 'stays for open flows');
  t.match(moved.engine.engine('f'), { engine: 'user' });
  await moved.engine.close();
});

/** An engine whose host only keeps what it is ordered; `look` says when it may be looked at. */
function withOrders(look: () => Promise<void>) {
  const orders: KernelOrder[] = [];
  const engine = new KernelEngine({
    gate: () => ({ gate: GATE_OPEN, weight: 1, state: 'ready' }),
    tell: () => {},
    onFrontends: () => {},
    host: () => ({
      began: true,
      facts: () => look().then(() => READY),
      keep: async (order) => {
        orders.push(order);
        return undefined;
      },
      setYoung: () => {},
      cut: async () => 0,
      removeLeftover: async () => true,
      warnings: () => [],
      close: async () => {},
    }),
  });
  return { engine, orders };
}

t.test('changes of one moment are ordered together', async (t) => {
  const { engine, orders } = withOrders(async () => {});
  await engine.apply(config('kernel'));
  await Promise.all(Array.from({ length: 1000 }, () => engine.refresh()));
  t.ok(orders.length <= 3, `${orders.length} orders`);
  await engine.close();
});

t.test('an order never names frontends of another config', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let looks = 0;
  const { engine, orders } = withOrders(() => (looks++ === 0 ? Promise.resolve() : promise));
  const before = config('kernel');
  await engine.apply(before);
  const after = parseConfig(
    `frontends: { g: { bind: ["*:5001"], mode: tcp, pool: p, engine: kernel } }
pools: { p: { backends: { a: { address: "192.0.2.21:9" } } } }
`,
    '/etc/tandem/tandem.yaml',
  );
  const applied = engine.apply(after);
  await engine.refresh();
  resolve();
  await applied;
  for (const { config: its, frontends } of orders)
    t.strictSame(frontends, its === after ? ['g'] : ['f'], 'of its own config');
  t.strictSame(orders.at(-1)!.frontends, ['g']);
  await engine.close();
});
