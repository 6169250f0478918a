import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import { poolProtocolOf } from '../../common/protocols.ts';

const config = (pool: string, mode = 'http') =>
  parseConfig(
    `{ frontends: { web: { bind: ["*:80"], mode: ${mode}, pool: web } }, pools: { web: { ${pool}, backends: { a: { address: "127.0.0.1:81" } } } } }`,
    '/t.yaml',
    { cpus: 1 },
  );

t.test('what is the default leaves the completed config as it was', (t) => {
  const plain = config('algorithm: random');
  t.equal(config('algorithm: random, protocol: http/1.1').digest, plain.digest);
  t.notOk('protocol' in plain.pools[0]!);
  t.not(config('algorithm: random, protocol: h2').digest, plain.digest);
  t.end();
});

t.test('auto is HTTP/1.1 where no ALPN can choose', (t) => {
  t.equal(poolProtocolOf(config('protocol: auto').pools[0]!), 'http/1.1');
  t.equal(poolProtocolOf(config('protocol: auto, tls: { verify: false }').pools[0]!), 'auto');
  t.equal(poolProtocolOf(config('protocol: h2').pools[0]!), 'h2');
  t.end();
});

t.test('what does not go together', (t) => {
  t.throws(() => config('protocol: h2, send_proxy: v2'), /many share a connection/);
  t.throws(() => config('protocol: h2', 'tcp'), /is for mode http only/);
  t.throws(() => config('connections: { streams: 8 }'), /needs "protocol: h2"/);
  t.throws(() => config('protocol: h3'), /h2/);
  t.end();
});
