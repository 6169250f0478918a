import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { doorsOf } from '../../../lbd/control/own-doors.ts';

const HOST = new Set(['192.0.2.7', 'fd00::7']);

/** @param pools address of the backend by pool */
function doors(frontends: string, pools: Readonly<Record<string, string>>) {
  const backends = Object.entries(pools).map(
    ([name, address]) => `${name}: { health: { type: none }, backends: { s1: { address: "${address}" } } }`,
  );
  const text = `frontends: { ${frontends} }\npools: { ${backends.join(', ')} }`;
  return doorsOf(parseConfig(text, '/test.yaml', { cpus: 1 }), HOST);
}

t.test('an address of this host leads to the frontend that listens on all of them', async (t) => {
  for (const [bind, address] of [
    ['*:5000', '192.0.2.7'],
    ['0.0.0.0:5000', '192.0.2.7'],
    ['[::]:5000', '192.0.2.7'],
    ['*:5000', 'fd00::7'],
    ['*:5000', '::ffff:192.0.2.7'],
    ['*:4990-5010', '192.0.2.7'],
  ] as const)
    for (const mode of ['http', 'tcp', 'udp'])
      t.equal(
        doors(`in: { bind: "${bind}", mode: ${mode}, pool: p }`, { p: '10.0.0.1:1' })('p', address, 5000),
        'in',
        `${mode} ${bind} ${address}`,
      );
  const web = doors('in: { bind: "0.0.0.0:5000", mode: tcp, pool: p }', { p: '10.0.0.1:1' });
  t.equal(web('p', '192.0.2.7', 5001), undefined, 'another port');
  t.equal(web('p', '192.0.2.8', 5000), undefined, 'another host');
  t.equal(web('p', 'fd00::7', 5000), undefined, 'another IP version');
});

t.test('a port of the other protocol leads nowhere', async (t) => {
  const of = doors('in: { bind: "*:5000", mode: tcp, pool: p }, dns: { bind: "*:53", mode: udp, pool: q }', {
    ...{ p: '192.0.2.7:53', q: '192.0.2.7:5000' },
  });
  t.equal(of('p', '192.0.2.7', 53), undefined);
  t.equal(of('q', '192.0.2.7', 5000), undefined);
});

t.test('two frontends whose pools lead to each other are a loop, a chain is none', async (t) => {
  const frontends = 'a: { bind: "*:5000", mode: tcp, pool: p }, b: { bind: "*:6000", mode: tcp, pool: q }';
  const ring = doors(frontends, { p: '192.0.2.7:6000', q: '192.0.2.7:5000' });
  t.equal(ring('p', '192.0.2.7', 6000), 'b');
  t.equal(ring('q', '192.0.2.7', 5000), 'a');
  const chain = doors(frontends, { p: '192.0.2.7:6000', q: '10.0.0.1:80' });
  t.equal(chain('p', '192.0.2.7', 6000), undefined);
});

t.test('a name that leads to a frontend from which an address leads back is a loop', async (t) => {
  const frontends = 'a: { bind: "*:5000", mode: tcp, pool: p }, b: { bind: "*:6000", mode: tcp, pool: q }';
  const of = doors(frontends, { p: 'b.test:6000', q: '192.0.2.7:5000' });
  t.equal(of('p', '192.0.2.7', 6000), 'b');
});

t.test('the frontend on one address takes what comes there, not the one on all of them', async (t) => {
  const frontends =
    'all: { bind: "*:5000", mode: tcp, pool: p }, one: { bind: "192.0.2.7:5000", mode: tcp, pool: q }';
  const of = doors(frontends, { p: '192.0.2.7:5000', q: '10.0.0.1:80' });
  t.equal(of('p', '192.0.2.7', 5000), undefined);
});
