import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { backendId, hashText, poolId } from '../../../common/hash.ts';
import { Backend } from '../../../lbd/dispatch/backend.ts';
import { Pool } from '../../../lbd/dispatch/pool.ts';
import type { RequestHead } from '../../../lbd/http/h1/request-head.ts';
import type { ResponseHead } from '../../../lbd/http/h1/response-head.ts';
import type { SessionTable } from '../../../lbd/session/table.ts';
import {
  createSharedBuffers,
  GATE_CLOSED,
  GATE_OPEN,
  GATE_STUCK,
  SharedState,
} from '../../../lbd/shared/shared.ts';
import { sessionTable } from '../worker-context.ts';

const NAMES = ['s1', 's2', 's3'];

/** A pool of three, all open with weight 1. */
function pool(
  settings: string,
  sessions = table(),
): { pool: Pool; shared: SharedState; sessions: SessionTable } {
  const config = parseConfig(
    `
frontends: { web: { bind: ["127.0.0.1:80"], mode: http, pool: web } }
pools:
  web:
    ${settings}
    backends: { ${NAMES.map((name, i) => `${name}: { address: "127.0.0.1:${i + 1}" }`).join(', ')} }
`,
    '/test.yaml',
    { cpus: 1 },
  ).pools[0]!;
  const shared = new SharedState(createSharedBuffers(1), 0);
  const backends = config.backends.map((backend, slot) => new Backend('web', backend, slot, shared));
  for (const { slot } of backends) shared.setGate(slot, GATE_OPEN, 1);
  return { pool: new Pool(config, backends, shared, sessions, 0), shared, sessions };
}

function table(): SessionTable {
  return sessionTable();
}

/** A request with these fields. */
function request(fields: Readonly<Record<string, string>>, path = '/'): RequestHead {
  return { path, header: (name: string) => fields[name] } as unknown as RequestHead;
}

/** A response that sets this cookie. */
function setting(name: string, value: string): ResponseHead {
  return { cookie: (asked: string) => (asked === name ? value : undefined) } as unknown as ResponseHead;
}

function choose(it: Pool, address: string, value?: string, tried?: readonly number[]): number {
  return it.choose(address, hashText(address), value, 0, tried);
}

t.test('inserted cookie', async (t) => {
  const { pool: it, shared } = pool('stick: { cookie: SERVERID }');

  t.equal(it.cookieText(1, 'http'), 'SERVERID=s2; Path=/; HttpOnly; SameSite=Lax');
  const value = it.stickValue(request({ cookie: 'a=b; SERVERID=s2; c=d' }));
  t.equal(value, 's2');
  t.equal(it.stickValue(request({})), undefined);
  t.equal(it.stickValue(request({ cookie: 'NOTSERVERID=s2' })), undefined);

  const cases: [value: string | undefined, gate: 'open' | 'stuck' | 'closed' | 'weight 0', stuck: boolean][] =
    [
      ['s2', 'open', true],
      ['s2', 'stuck', true],
      ['s2', 'weight 0', true],
      ['s2', 'closed', false],
      [undefined, 'open', false],
      ['', 'open', false],
      ['s9', 'open', false],
      ['constructor', 'open', false],
      ['S2', 'open', false],
    ];
  for (const [cookie, gate, stuck] of cases)
    await t.test(`${cookie} with s2 ${gate}`, async (t) => {
      const at = gate === 'stuck' ? GATE_STUCK : gate === 'closed' ? GATE_CLOSED : GATE_OPEN;
      shared.setGate(1, at, gate === 'weight 0' ? 0 : 1);
      const picked = choose(it, '192.0.2.1', cookie);
      t.equal(it.stuck, stuck);
      if (stuck) t.equal(picked, 1);
      else t.ok(picked >= 0);
      if (gate !== 'open') t.not(choose(it, '192.0.2.1'), 1, 'no new client goes there');
    });
});

t.test(
  'a backend that has just failed is not chosen again, and is well again for the next request',
  async (t) => {
    const { pool: it } = pool('stick: { cookie: SERVERID }');
    t.not(choose(it, '192.0.2.1', 's2', [1]), 1);
    t.equal(it.stuck, false, 'so the client gets a new cookie');
    t.equal(it.available(1), true);
    t.equal(choose(it, '192.0.2.1', 's2'), 1);
    t.equal(choose(it, '192.0.2.1', undefined, [0, 1, 2]), -1);
  },
);

t.test('learnt cookie', async (t) => {
  const { pool: it, shared, sessions } = pool('stick: { cookie: JSESSIONID, learn: true, expire: 10m }');
  t.equal(it.cookieText(0, 'http'), '', 'nothing is inserted');

  choose(it, '192.0.2.1', 'made-up');
  t.equal(it.stuck, false);
  t.equal(sessions.size, 0, 'a value that no backend has set is not worth an entry');

  it.learn(1, setting('OTHER', 'x'));
  it.learn(1, setting('JSESSIONID', ''));
  t.equal(sessions.size, 0);
  it.learn(1, setting('JSESSIONID', 'abc'));
  t.equal(sessions.size, 1);
  for (let i = 0; i < 3; i++) t.equal(choose(it, `192.0.2.${i}`, 'abc'), 1, 'from any address');
  t.ok(it.stuck);

  shared.setGate(1, GATE_STUCK, 1);
  t.equal(choose(it, '192.0.2.1', 'abc'), 1);
  shared.setGate(1, GATE_CLOSED, 1);
  const other = choose(it, '192.0.2.1', 'abc');
  t.not(other, 1);
  shared.setGate(1, GATE_OPEN, 1);
  t.equal(choose(it, '192.0.2.1', 'abc'), other, 'the entry has moved');
  it.learn(1, setting('JSESSIONID', 'abc'));
  t.equal(choose(it, '192.0.2.1', 'abc'), 1, 'the backend that sets it again has it');
});

t.test('source address', async (t) => {
  const { pool: it, shared, sessions } = pool('stick: { source: ip, expire: 10m }');
  const mine = choose(it, '192.0.2.1');
  t.equal(it.stuck, false);
  t.equal(choose(it, '192.0.2.1'), mine);
  t.ok(it.stuck);
  t.equal(choose(it, '::ffff:192.0.2.1'), mine, 'the same client on a dual-stack socket');
  t.equal(sessions.size, 1);
  shared.setGate(mine, GATE_CLOSED, 1);
  const other = choose(it, '192.0.2.1');
  t.not(other, mine);
  shared.setGate(mine, GATE_OPEN, 1);
  t.equal(choose(it, '192.0.2.1'), other);

  for (const slot of [0, 1, 2]) shared.setGate(slot, GATE_CLOSED, 1);
  t.equal(choose(it, '192.0.2.1'), -1);
  for (const slot of [0, 1, 2]) shared.setGate(slot, GATE_OPEN, 1);
  t.equal(choose(it, '192.0.2.1'), other, 'that no backend was there moves nothing');

  t.ok(choose(it, 'not an address') >= 0, 'still served, by the algorithm');
  t.equal(it.stuck, false);
});

t.test('a client with a whole IPv6 network is one entry, and cannot flush the table', async (t) => {
  const { pool: it, sessions } = pool('stick: { source: ip }');
  const mine = choose(it, '2001:db8::1');
  for (let i = 1; i <= 5000; i++)
    if (choose(it, `2001:db8::${i.toString(16)}:1`) !== mine) t.fail(`address ${i} is another client`);
  t.equal(sessions.size, 1);
  choose(it, '2001:db8:0:1::1');
  t.equal(sessions.size, 2, 'another network is another client');
  choose(it, '192.0.2.1');
  choose(it, '192.0.2.2');
  t.equal(sessions.size, 4, 'of IPv4 each address is one');

  const wide = pool('stick: { source: ip, prefix6: 48 }');
  t.equal(choose(wide.pool, '2001:db8:0:2::1'), choose(wide.pool, '2001:db8:0:1::1'));
  t.equal(wide.sessions.size, 1);
  const whole = pool('stick: { source: ip, prefix6: 128 }');
  choose(whole.pool, '2001:db8::1');
  choose(whole.pool, '2001:db8::2');
  t.equal(whole.sessions.size, 2);
});

t.test('a session that a release left by the whole IPv6 address is kept, until it moves', async (t) => {
  const sessions = table();
  const former = pool('stick: { source: ip, prefix6: 128 }', sessions).pool;
  const clients = ['2001:db8::1', '2001:db8::2'];
  const before = clients.map((client) => choose(former, client));
  const { pool: it, shared } = pool('stick: { source: ip }', sessions);
  t.same(
    clients.map((client) => choose(it, client)),
    before,
  );
  t.equal(sessions.size, 2);
  shared.setGate(before[0]!, GATE_CLOSED, 1);
  const other = choose(it, clients[0]!);
  t.not(other, before[0]);
  shared.setGate(before[0]!, GATE_OPEN, 1);
  t.equal(choose(it, clients[0]!), other, 'it does not come back to the one that it left');
  t.equal(choose(it, '2001:db8::3'), other, 'the network has an entry now');
});

t.test('an entry outlives a reload, and one that names no backend of the pool is replaced', async (t) => {
  const sessions = table();
  const mine = choose(pool('stick: { source: ip }', sessions).pool, '192.0.2.1');
  const after = pool('stick: { source: ip }', sessions).pool;
  t.equal(choose(after, '192.0.2.1'), mine);
  sessions.keyOfSource(poolId('web'), '192.0.2.1');
  sessions.store(backendId('web', 'gone'), 60_000);
  const other = choose(after, '192.0.2.1');
  t.equal(after.stuck, false);
  t.equal(choose(after, '192.0.2.1'), other);
  t.ok(after.stuck);
});

t.test('without a stick rule nothing is stored', async (t) => {
  const { pool: it, sessions } = pool('algorithm: round-robin');
  t.same(new Set([0, 1, 2].map(() => choose(it, '192.0.2.1'))).size, 3);
  t.equal(sessions.size, 0);
  it.learn(0, setting('JSESSIONID', 'abc'));
  t.equal(sessions.size, 0);
});

t.test('hash keys', async (t) => {
  const keyed = (key: string) => `algorithm: consistent-hash\n    hash: { key: ${key} }`;
  const cases: [settings: string, head: RequestHead, key: number][] = [
    ['algorithm: round-robin', request({}, '/a'), 0],
    [keyed('source'), request({}, '/a'), 0],
    [keyed('path'), request({}, '/a'), hashText('/a')],
    [keyed('{ header: X-User }'), request({ 'x-user': 'ann' }), hashText('ann')],
    [keyed('{ header: X-User }'), request({}), hashText('')],
    [keyed('{ cookie: id }'), request({ cookie: 'x=y; id=7' }), hashText('7')],
  ];
  for (const [settings, head, key] of cases) t.equal(pool(settings).pool.hashKey(head), key, settings);
});

t.test('the algorithms that hash the source agree for one address', async (t) => {
  for (const settings of ['algorithm: ip-hash', 'algorithm: consistent-hash']) {
    const one = pool(settings).pool;
    const two = pool(settings).pool;
    const picks = Array.from({ length: 50 }, (_, i) => choose(one, `192.0.2.${i}`));
    t.strictSame(
      picks,
      picks.map((_, i) => choose(two, `192.0.2.${i}`)),
      settings,
    );
    t.ok(new Set(picks).size > 1);
  }
});
