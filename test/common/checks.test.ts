import t from 'tap';
import { MAX_BACKENDS, MAX_FRONTENDS } from '../../common/checks.ts';
import { backendId } from '../../common/hash.ts';
import * as shared from '../../lbd/shared/shared.ts';
import { PAIR, problemsIn } from './config-helper.ts';

/** The single-node part, with the pool and the frontend given. */
function single(frontends: string, pools = 'web: { backends: { s1: { address: "10.0.0.1:80" } } }'): string {
  return `frontends: { ${frontends} }\npools: { ${pools} }\n`;
}
const WEB = 'web: { bind: ["*:80"], pool: web }';
const TCP = 'web: { bind: ["*:80"], mode: tcp, pool: web }';
const UDP = 'web: { bind: ["*:80"], mode: udp, pool: web }';
const UDP_POOL = 'web: { health: { type: none }, backends: { s1: { address: "10.0.0.1:80" } } }';
const pool = (settings: string) => `web: { ${settings}, backends: { s1: { address: "10.0.0.1:80" } } }`;

t.test('what only HTTP has is no mistake in a pool that a frontend of mode http uses as well', async (t) => {
  const both = `${TCP}, app: { bind: ["*:81"], routes: [{ match: { path: /a/ }, pool: web }], pool: web }`;
  t.strictSame(problemsIn(single(both, pool('connections: { max_age: 10m }'))), []);
});

t.test('what goes together', async (t) => {
  for (const [name, text, expected] of [
    ['cluster without ha', PAIR.replace(/ha:.*\n/, ''), '"cluster" needs "ha" beside it'],
    ['ha without cluster', PAIR.replace(/cluster:.*\n/, ''), '"ha" needs "cluster" beside it'],
    ['one node', PAIR.replace(/, lb2: { address: 192.0.2.2 }/, ''), 'found 1 node, expected exactly two'],
    ['three nodes', PAIR.replace('lb2:', 'lb3: { address: 192.0.2.3 }, lb2:'), 'found 3 nodes'],
    ['same address twice', PAIR.replace('192.0.2.2', '192.0.2.1'), 'which is the address of "lb1" too'],
    ['IPv4 and IPv6 nodes', PAIR.replace('192.0.2.2', '"fd00::2"'), 'expected the same IP version as "lb1"'],
    [
      'VIP twice',
      PAIR.replace('vips: [', 'vips: [{ address: 192.0.2.100/32, interface: eth0 }, '),
      '192.0.2.100 is listed twice',
    ],
    ['VIP is a node', PAIR.replace('192.0.2.100/24', '192.0.2.2/24'), 'the own address of node "lb2"'],
    ['VIP is the network', PAIR.replace('192.0.2.100/24', '192.0.2.0/24'), 'network or broadcast'],
    [
      'same path twice',
      PAIR.replace('ha: {', 'ha: { paths: [{ type: unicast }, { type: unicast, port: 7000 }],'),
      'ha.paths.1: this path is listed twice',
    ],
    [
      'same port for both kinds',
      PAIR.replace('ha: {', 'ha: { paths: [{ type: multicast }, { type: unicast, port: 7470 }],'),
      'port 7470 is used by ha.paths.0',
    ],
    ['no frontend', 'frontends: {}\npools: {}\n', 'found no frontend'],
    ['no pool and no route', single('web: { bind: ["*:80"] }'), 'neither "pool" nor "routes"'],
    ['no backend', single(WEB, 'web: { backends: {} }'), 'found no backend'],
    [
      'timeout above interval',
      single(WEB, pool('health: { interval: 1s, timeout: 2s }')),
      'found 2s, which must not exceed the interval (1s)',
    ],
    [
      'path of a tcp check',
      single(WEB, pool('health: { path: /h }')),
      'is for type http and deep only, found type tcp',
    ],
    [
      'hash without consistent-hash',
      single(WEB, pool('hash: { key: path }')),
      'consistent-hash only, found round-robin',
    ],
    ['stick to nothing', single(WEB, pool('stick: {}')), 'expected { cookie: NAME }'],
    ['stick to both', single(WEB, pool('stick: { cookie: A, source: ip }')), 'expected { cookie: NAME }'],
    [
      'a network of cookies',
      single(WEB, pool('stick: { cookie: A, learn: true, prefix6: 64 }')),
      'is for "source: ip" only',
    ],
    [
      "an attribute of a cookie that is the application's",
      single(WEB, pool('stick: { cookie: { name: A, path: / }, learn: true }')),
      'expected its name alone',
    ],
    [
      'a cookie that no browser keeps',
      single(WEB, pool('stick: { cookie: { name: A, same_site: none, secure: false } }')),
      'browsers drop a cookie with "same_site: none" that is not secure',
    ],
    ['learn an address', single(WEB, pool('stick: { source: ip, learn: true }')), 'is for cookies only'],
    [
      'an inserted cookie expires',
      single(WEB, pool('stick: { cookie: A, expire: 1m }')),
      'an inserted cookie is not stored',
    ],
    ['routes in tcp', single(TCP.replace('pool:', 'routes: [], pool:')), 'routes: is for mode http only'],
    [
      'head timeout in tcp',
      single(TCP.replace('pool:', 'timeouts: { head: 1s }, pool:')),
      'timeouts.head: is for mode http',
    ],
    ...['trusted_proxies: 10.0.0.0/8', 'client_field: Forwarded', 'add_fields: []'].map(
      (key): [string, string, string] => [
        `${key} in tcp`,
        single(TCP.replace('pool:', `${key}, pool:`)),
        `${key.split(':')[0]}: is for mode http only`,
      ],
    ),
    [
      'a field that nobody may send',
      single(WEB.replace('pool:', 'client_field: Forwarded, pool:')),
      'client_field: needs "trusted_proxies"',
    ],
    ['cookie in tcp', single(TCP, pool('stick: { cookie: A }')), 'frontend "web" uses this pool in mode tcp'],
    [
      'path hash in tcp',
      single(TCP, pool('algorithm: consistent-hash, hash: { key: path }')),
      '"path" is for mode http only',
    ],
    [
      'age of connections in tcp',
      single(TCP, pool('connections: { max_age: 10m }')),
      'pools.web.connections.max_age: is for mode http only, and frontend "web" uses this pool in mode tcp',
    ],
    ['limits of a head in tcp', single(TCP.replace('pool:', 'limits: { head: 2KiB }, pool:')), 'limits.head'],
    ['udp without a word on health', single(UDP), 'needs "health: { type: … }"'],
    [
      'PROXY header on datagrams',
      single(UDP.replace('pool:', 'accept_proxy: [10.0.0.0/8], pool:'), UDP_POOL),
      'accept_proxy: is for modes http and tcp only',
    ],
    [
      'PROXY header in datagrams',
      single(UDP, `${UDP_POOL.slice(0, -2)}, send_proxy: v1 }`),
      'send_proxy: is for',
    ],
    [
      'flows that wait for a handshake',
      single(UDP, `${UDP_POOL.slice(0, -2)}, limits: { pending: 5 } }`),
      'limits.pending: no handshake is waited for, and frontend "web" uses this pool in mode udp',
    ],
    ['datagrams that wait', single(UDP, `${UDP_POOL.slice(0, -2)}, queue: {} }`), 'a datagram does not wait'],
    ...['consecutive_5xx: 3', 'latency_factor: 5'].map((key): [string, string, string] => [
      `${key} of datagrams`,
      single(UDP, `${UDP_POOL.slice(0, -2)}, outlier: { ${key} } }`),
      'a datagram is no answer of HTTP, and frontend "web" uses this pool in mode udp',
    ]),
    [
      'datagrams that are sent again',
      single(UDP, `${UDP_POOL.slice(0, -2)}, retry: { attempts: 1 } }`),
      'retry: is for modes http and tcp only, and frontend "web" uses this pool in mode udp',
    ],
    ['cookie in udp', single(UDP, `${UDP_POOL.slice(0, -2)}, stick: { cookie: A } }`), 'in mode udp'],
    ['udp check without a question', single(WEB, pool('health: { type: udp }')), 'type udp needs "send"'],
    ['a question of a tcp check', single(WEB, pool('health: { send: x }')), 'is for type udp only'],
  ] as const) {
    const found = problemsIn(text);
    t.equal(found.length, 1, `${name}: one problem`);
    t.ok(found[0]?.includes(expected), `${name}: ${found[0]}`);
    t.match(found[0], /^\d+:\d+ /, `${name}: a place`);
  }
});

t.test('listeners', async (t) => {
  const two = (a: string, b: string) =>
    single(`a: { bind: ["${a}"], pool: web }, b: { bind: ["${b}"], pool: web }`);
  for (const [a, b, taken] of [
    ['*:80', '*:80', true],
    ['*:80', '[::]:80', true],
    ['*:80', '0.0.0.0:80', true],
    ['192.0.2.1:80', '192.0.2.1:80', true],
    ['[2001:db8::1]:80', '[2001:db8:0::1]:80', true],
    ['*:80', '*:81', false],
    ['*:80', '192.0.2.1:80', false],
    ['0.0.0.0:80', '[::1]:80', false],
    ['*:80-89', '*:89', true],
    ['*:80-89', '0.0.0.0:85-95', true],
    ['*:80-89', '*:90-99', false],
  ] as const) {
    const found = problemsIn(two(a, b));
    t.equal(found.length, taken ? 1 : 0, `${a} and ${b}`);
    if (taken) t.match(found[0], /frontends\.b\.bind\.0: .* is taken by frontends\.a\.bind/);
  }
  const both = `${single('a: { bind: ["*:53"], mode: udp, pool: web }, b: { bind: ["*:53"], mode: tcp, pool: web }', UDP_POOL)}`;
  t.strictSame(problemsIn(both), [], 'TCP and UDP do not share their ports');
  t.match(
    problemsIn(
      PAIR.replace('bind: ["*:80"]', 'mode: udp, bind: ["*:7470-7471"]').replace(
        'backends:',
        'health: { type: none }, backends:',
      ),
    ),
    [/ha\.paths\.0: .* is taken by frontends\.web/, /ha\.paths\.1: .* is taken/],
    'the heartbeat needs its own',
  );
  const metrics = 'web: { bind: ["*:9600"], pool: web }';
  t.match(problemsIn(single(metrics)), [/admin\.metrics: 127\.0\.0\.1:9600 is taken by frontends\.web/]);
  t.strictSame(problemsIn(`${single(metrics)}admin: { metrics: false }`), []);
  t.match(problemsIn(PAIR.replace('*:80', '192.0.2.2:7472')), [/sync\.port: 192\.0\.2\.2:7472 is taken/]);
});

t.test('no more than the workers have rows for, with room for a reload that renames all', async (t) => {
  t.equal(MAX_BACKENDS * 2, shared.MAX_SLOTS);
  t.equal(MAX_FRONTENDS * 2, shared.MAX_FRONTENDS);
  const many = Array.from({ length: MAX_BACKENDS + 1 }, (_, i) => `s${i}: { address: "10.0.0.1:${i + 1}" }`);
  t.match(problemsIn(single(WEB, `web: { backends: { ${many.join(', ')} } }`)), [
    /found 4097 backends, expected at most 4096/,
  ]);
  const frontends = (count: number) =>
    Array.from({ length: count }, (_, i) => `f${i}: { bind: ["127.0.0.1:${i + 1}"], pool: web }`).join(', ');
  const pool = `web: { backends: { ${many.slice(1).join(', ').replaceAll('10.0.0.1', '10.0.0.2')} } }`;
  t.strictSame(problemsIn(single(frontends(512), pool)), []);
  t.match(problemsIn(single(frontends(513), pool)), [/found 513 frontends, expected at most 512/]);
});

t.test('two backends with the same internal number', async (t) => {
  const seen = new Map<number, string>();
  for (let i = 0; ; i++) {
    const id = backendId('web', `n${i}`);
    const twin = seen.get(id);
    seen.set(id, `n${i}`);
    if (twin === undefined) continue;
    const backends = `${twin}: { address: "a:1" }, n${i}: { address: "a:2" }`;
    t.match(problemsIn(single(WEB, `web: { backends: { ${backends} } }`)), [
      /same internal number as "web\/n/,
    ]);
    break;
  }
});
