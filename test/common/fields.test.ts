import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import { problemsIn } from './config-helper.ts';

const withBackend = (address: string) =>
  `frontends: { web: { bind: "*:81", pool: web } }\npools: { web: { backends: { s1: { address: "${address}" } } } }\n`;

t.test('a backend may have any name that resolvers take', async (t) => {
  for (const [address, host] of [
    ['my_app:8080', 'my_app'],
    ['_http._tcp.example.org:80', '_http._tcp.example.org'],
    ['svc.ns.svc.cluster.local.:80', 'svc.ns.svc.cluster.local.'],
    ['10.0.0.1:80', '10.0.0.1'],
    ['[::ffff:10.0.0.1]:80', '::ffff:10.0.0.1'],
  ] as const) {
    const [pool] = parseConfig(withBackend(address), '/f', { cpus: 1 }).pools;
    t.equal(pool!.backends[0]!.address.host, host, address);
  }
});

t.test('a backend is one host: groups, broadcasts and addresses of nobody are refused', async (t) => {
  for (const address of [
    ...['224.0.0.1:80', '239.1.2.3:80', '255.255.255.255:80', '240.0.0.1:80', '0.0.0.0:80', '0.1.2.3:80'],
    ...[
      '[::]:80',
      '[ff02::1]:80',
      '[::ffff:224.0.0.1]:80',
      '[::ffff:0.0.0.0]:80',
      '[::ffff:255.255.255.255]:80',
    ],
    ...['.:80', 'a..:80', '1.2.3.4.:80', '-a:80'],
  ])
    t.match(
      problemsIn(withBackend(address)),
      [/pools\.web\.backends\.s1\.address: found ".*", expected HOST:PORT/],
      address,
    );
});
