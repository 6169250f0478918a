import t from 'tap';
import { PAIR, problemsIn } from './config-helper.ts';

const loops = (text: string) => problemsIn(text).filter((line) => line.includes('round for ever'));
const config = (frontends: string, pools: string, more = '') =>
  `frontends: { ${frontends} }\npools: { ${pools} }\n${more}`;
const pool = (name: string, address: string) => `${name}: { backends: { s1: { address: "${address}" } } }`;

t.test('a backend that is the frontend itself is refused', async (t) => {
  for (const [bind, address] of [
    ['127.0.0.1:8080', '127.0.0.1:8080'],
    ['127.0.0.1:8080', 'localhost:8080'],
    ['*:8080', '127.0.0.1:8080'],
    ['*:8080', '127.9.9.9:8080'],
    ['*:8080', '[::1]:8080'],
    ['*:8080', 'LOCALHOST.:8080'],
    ['0.0.0.0:8080', '127.0.0.1:8080'],
    ['[::]:8080', '127.0.0.1:8080'],
    ['10.0.0.9:8080-8090', '10.0.0.9:8085'],
    ['*:8080', '[::ffff:127.0.0.1]:8080'],
  ] as const)
    t.match(
      loops(config(`web: { bind: "${bind}", pool: web }`, pool('web', address))),
      [
        /^2:\d+ pools\.web\.backends\.s1\.address: found \S+, where frontends\.web listens: what it gets would go round for ever$/,
      ],
      `${bind} ${address}`,
    );
});

t.test('what is no loop passes', async (t) => {
  for (const [bind, address] of [
    ['127.0.0.1:8080', '127.0.0.1:8081'],
    ['127.0.0.1:8080', '127.0.0.2:8080'],
    ['*:8080', '10.0.0.9:8080'],
    ['0.0.0.0:8080', '[::1]:8080'],
  ] as const)
    t.same(
      problemsIn(config(`web: { bind: "${bind}", pool: web }`, pool('web', address))),
      [],
      `${bind} ${address}`,
    );
  const chain = 'tls: { bind: "*:8443", mode: tcp, pool: one }, web: { bind: "127.0.0.1:8080", pool: two }';
  t.same(
    problemsIn(config(chain, `${pool('one', '127.0.0.1:8080')}, ${pool('two', '10.0.0.1:80')}`)),
    [],
    'a chain',
  );
  const narrow =
    'all: { bind: "*:8080", mode: tcp, pool: one }, one: { bind: "127.0.0.1:8080", mode: tcp, pool: two }';
  t.same(
    problemsIn(config(narrow, `${pool('one', '127.0.0.1:8080')}, ${pool('two', '10.0.0.1:80')}`)),
    [],
    'who listens on the one address takes it',
  );
  const udp = 'web: { bind: "*:8080", pool: web }, dns: { bind: "*:53", mode: udp, pool: dns }';
  const health = 'dns: { health: { type: none }, backends: { s1: { address: "127.0.0.1:8080" } } }';
  t.same(problemsIn(config(udp, `${pool('web', '10.0.0.1:80')}, ${health}`)), [], 'another protocol');
});

t.test('a ring of frontends is refused, at each of its backends', async (t) => {
  const ring =
    'a: { bind: "*:8081", pool: one }, b: { bind: "*:8082", routes: [{ match: { path: /x }, pool: two }], pool: three }';
  const pools = `${pool('one', '127.0.0.1:8082')}, ${pool('two', '127.0.0.1:8081')}, ${pool('three', '10.0.0.1:80')}`;
  t.match(loops(config(ring, pools)), [
    /pools\.one\.backends\.s1\.address: found 127\.0\.0\.1:8082, where frontends\.b listens, which leads back to frontends\.a: /,
    /pools\.two\.backends\.s1\.address: found 127\.0\.0\.1:8081, where frontends\.a listens, which leads back to frontends\.b: /,
  ]);
});

t.test('of a pair, the addresses of both nodes are its own', async (t) => {
  for (const node of ['192.0.2.1', '192.0.2.2'])
    t.equal(loops(PAIR.replace('10.0.0.1:80', `${node}:80`)).length, 1, node);
  t.same(problemsIn(PAIR.replace('10.0.0.1:80', '192.0.2.2:81')), []);
});
