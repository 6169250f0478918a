import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { loadConfig, parseConfig } from '../../common/config.ts';
import { ConfigError } from '../../common/errors.ts';
import { jsonSchema } from '../../common/json-schema.ts';
import { PAIR, problemsIn } from './config-helper.ts';

const SINGLE = `
frontends: { web: { bind: "*:80", pool: web } }
pools: { web: { backends: { s1: { address: "10.0.0.1:80" } } } }
`.trimStart();

/** SINGLE with settings added to its frontend and its pool. */
function single(frontend: string, pool = ''): string {
  const before = (settings: string, key: string) => () => (settings === '' ? key : `${settings}, ${key}`);
  return SINGLE.replace('bind:', before(frontend, 'bind:')).replace('backends:', before(pool, 'backends:'));
}

t.test('defaults of the smallest file', async (t) => {
  const config = parseConfig(SINGLE, '/etc/tandem/tandem.yaml', { cpus: 3 });
  t.match(config, {
    file: '/etc/tandem/tandem.yaml',
    cluster: undefined,
    ha: undefined,
    sync: { port: 7472, flowMarks: 0 },
    sessions: { capacity: 1048576 },
    workers: 3,
    admin: { metrics: { host: '127.0.0.1', port: 9600 } },
    digest: /^[0-9a-f]{64}$/,
  });
  t.strictSame(config.frontends[0], {
    name: 'web',
    bind: [{ host: '*', port: 80 }],
    mode: 'http',
    routes: [],
    pool: 'web',
    maxConnections: 50_000,
    timeouts: { headMs: 10_000, bodyMs: 30_000, keepAliveMs: 75_000, idleMs: 300_000 },
    limits: { headBytes: 16_384, fields: 100, minRate: 240, perSource: undefined },
    acceptProxy: [],
    tls: undefined,
    hsts: undefined,
    redirect: undefined,
    accessLog: undefined,
  });
  t.strictSame(config.pools[0], {
    name: 'web',
    algorithm: 'round-robin',
    hash: { key: { from: 'source' }, loadFactor: 1.25 },
    stick: undefined,
    health: {
      ...{ type: 'tcp', intervalMs: 10_000, timeoutMs: 5000, fall: 3, rise: 2, path: '/', method: 'GET' },
      ...{ host: undefined, expect: [[200, 399]], port: undefined, send: '', receive: '' },
    },
    tls: undefined,
    drainTimeoutMs: 30_000,
    timeouts: { connectMs: 5000, responseMs: 60_000, idleMs: 60_000, totalMs: 0, keepAliveMs: 60_000 },
    connections: { maxAgeMs: 0 },
    retry: {
      ...{ connect: true, reset: false, timeout: false, statuses: [] },
      ...{ attempts: 2, budgetShare: 0.2, budgetMin: 3 },
    },
    outlier: undefined,
    limits: { connections: 0, pending: 0, requests: 0 },
    slowStartMs: 0,
    panicShare: 0,
    sendProxy: undefined,
    queue: { length: 256, timeoutMs: 5_000 },
    backends: [{ name: 's1', address: { host: '10.0.0.1', port: 80 }, weight: 1, maxConnections: undefined }],
  });
});

t.test('defaults of a pair', async (t) => {
  const config = parseConfig(PAIR, '/etc/tandem/tandem.yaml', { node: 'lb2' });
  t.strictSame(config.cluster, {
    name: 'shop',
    secretFile: '/etc/tandem/secret',
    self: { name: 'lb2', address: '192.0.2.2' },
    peer: { name: 'lb1', address: '192.0.2.1' },
  });
  const vips = [
    {
      ...{ address: '192.0.2.100', prefix: 24, family: 4, interface: 'eth1' },
      ...{ prefixRoute: true, provider: 'interface', command: [] },
    },
  ];
  t.strictSame(config.ha, {
    heartbeat: { intervalMs: 100, deadAfter: 3 },
    paths: [
      { type: 'multicast', group: '239.255.84.1', port: 7470, interface: 'eth1' },
      { type: 'unicast', port: 7471 },
    ],
    groups: [
      {
        name: 'default',
        vips,
        routes: [],
        priority: { lb1: 100, lb2: 100 },
        preemptDelayMs: undefined,
      },
    ],
    vips,
    garp: { count: 5, refreshMs: 60_000 },
    track: { lbd: true, interfaces: ['eth1'], settleMs: 30_000 },
    notify: { active: undefined, standby: undefined, fault: undefined },
    witness: undefined,
  });
});

t.test('a range of ports is each of them', async (t) => {
  const { bind } = parseConfig(SINGLE.replace('*:80', '[::1]:5000-5002'), '/f').frontends[0]!;
  t.strictSame(
    bind,
    [5000, 5001, 5002].map((port) => ({ host: '::1', port })),
  );
});

t.test('mode udp has times of its own', async (t) => {
  const text = single('mode: udp', 'health: { type: udp, send: "hex:00ff", receive: ok }');
  const config = parseConfig(text, '/f');
  t.equal(config.frontends[0]!.timeouts.idleMs, 120_000);
  t.match(config.pools[0]!.health, { type: 'udp', send: '\0\xff', receive: 'ok' });
});

t.test('every form of a setting', async (t) => {
  const poolWith = (settings: string) => parseConfig(single('', settings), '/f').pools[0]!;
  for (const [settings, key, value] of [
    ['stick: { cookie: SERVERID }', 'stick', { type: 'insert', cookie: 'SERVERID' }],
    ['stick: { cookie: J, learn: true }', 'stick', { type: 'learn', cookie: 'J', expireMs: 1_800_000 }],
    ['stick: { source: ip, expire: 1h }', 'stick', { type: 'source', expireMs: 3_600_000, prefix6: 64 }],
    ['stick: { source: ip, prefix6: 56 }', 'stick', { type: 'source', expireMs: 1_800_000, prefix6: 56 }],
    ['algorithm: consistent-hash, hash: { key: path }', 'hash', { key: { from: 'path' }, loadFactor: 1.25 }],
    [
      'algorithm: consistent-hash, hash: { key: { header: X-User }, load_factor: 0 }',
      'hash',
      { key: { from: 'header', name: 'x-user' }, loadFactor: 0 },
    ],
    [
      'algorithm: consistent-hash, hash: { key: { cookie: User }, load_factor: 2 }',
      'hash',
      { key: { from: 'cookie', name: 'User' }, loadFactor: 2 },
    ],
  ] as const)
    t.strictSame(poolWith(settings)[key], value, settings);

  for (const [expect, ranges] of [
    ['200', [[200, 200]]],
    ['200-299', [[200, 299]]],
    [
      '[200, 300-399]',
      [
        [200, 200],
        [300, 399],
      ],
    ],
  ] as const)
    t.strictSame(poolWith(`health: { type: http, expect: ${expect} }`).health.expect, ranges, expect);
  t.strictSame(poolWith('health: { type: deep }').health.expect, [[200, 299]]);
  t.equal(poolWith('health: { type: none }').health.type, 'none');
  t.equal(
    poolWith('health: { interval: 1s }').health.timeoutMs,
    1000,
    'the default timeout fits the interval',
  );

  const ha = (settings: string) =>
    parseConfig(PAIR.replace('ha: {', `ha: { ${settings},`), '/f', { node: 'lb1' }).ha!;
  t.equal(ha('preempt: { delay: 30s }').groups[0]!.preemptDelayMs, 30_000);
  t.equal(ha('preempt: false').groups[0]!.preemptDelayMs, undefined);
  t.strictSame(ha('settle: 0s, track: { lbd: false, interfaces: [eth9] }').track, {
    ...{ lbd: false, interfaces: ['eth9'] },
    settleMs: 0,
  });

  t.equal(parseConfig(`${SINGLE}admin: { metrics: false }`, '/f').admin.metrics, undefined);
  t.equal(parseConfig(`${SINGLE}workers: 5`, '/f').workers, 5);
  t.equal(parseConfig(SINGLE, '/f', { cpus: 999 }).workers, 64);
  t.equal(parseConfig(`${SINGLE}direct_io: false`, '/f').directIo, false);
  t.notOk('directIo' in parseConfig(`${SINGLE}direct_io: true`, '/f'));
  t.equal(parseConfig(`${SINGLE}sessions: { capacity: 5000 }`, '/f').sessions.capacity, 8192);
  t.equal(parseConfig(`${SINGLE}sessions: { capacity: 16777216 }`, '/f').sessions.capacity, 16_777_216);
});

t.test('routes', async (t) => {
  const matchOf = (match: string) =>
    parseConfig(single(`routes: [{ match: { ${match} }, pool: web }]`), '/f').frontends[0]!.routes[0]!.match;
  const none = { hosts: [], path: undefined, methods: [], headers: [], cookies: [], query: [] };
  for (const [text, part] of [
    ['path: /api/', { path: { prefix: '/api/' } }],
    ['path: { exact: /x }', { path: { exact: '/x' } }],
    ["path: { regex: '^/x$' }", { path: { regex: /^\/x$/ } }],
    ['host: WWW.Example.org', { hosts: ['www.example.org'] }],
    ['host: [a.org, "*.b.org"]', { hosts: ['a.org', '*.b.org'] }],
    ['method: [get, POST]', { methods: ['GET', 'POST'] }],
    ['header: { X-A: v }', { headers: [{ name: 'x-a', value: { exact: 'v' } }] }],
    ['cookie: { C: true }', { cookies: [{ name: 'C', value: { present: true } }] }],
    ['query: { q: { prefix: p } }', { query: [{ name: 'q', value: { prefix: 'p' } }] }],
  ] as const)
    t.strictSame(matchOf(text), { ...none, ...part }, text);
});

t.test('one value out of place, one line that says it all', async (t) => {
  for (const [text, expected] of [
    ['', '1:1 found nothing, expected a mapping (key: value)'],
    ['- 1', '1:1 found a list, expected a mapping (key: value)'],
    [`${SINGLE}worker: 3`, '3:1 unknown key "worker"; did you mean "workers"?'],
    [`${SINGLE}workers: 65`, '3:10 workers: found the number 65, expected a whole number from 1 to 64'],
    [`${SINGLE}direct_io: auto`, '3:12 direct_io: found "auto", expected true or false'],
    [`${SINGLE}workers: atuo`, /expected auto or .*; did you mean "auto"\?/],
    [single('mode: sctp'), '1:27 frontends.web.mode: found "sctp", expected one of http, tcp, udp'],
    [single('accept_proxy: 10.0.0.1/8'), /found "10\.0\.0\.1\/8", expected a network or an IP address/],
    [single('', 'send_proxy: v3'), /found "v3", expected one of v1, v2/],
    [
      single('', 'health: { type: udp, send: "hex:0" }'),
      /found "hex:0", expected a text, or bytes such as "hex:00ff"/,
    ],
    [SINGLE.replace('*:80', '*:90-80'), /found "\*:90-80", expected ADDRESS:PORT/],
    [SINGLE.replace('*:80', '*:1-1025'), /found "\*:1-1025", expected ADDRESS:PORT/],
    [SINGLE.replace('*:80', '*:65530-65536'), /found "\*:65530-65536", expected ADDRESS:PORT/],
    [single('pools: web'), /unknown key "pools"; did you mean "pool"\?/],
    [single('colour: red'), /unknown key "colour", expected one of bind, mode, /],
    [
      single('', 'algorithm: least-conn'),
      /found "least-conn", expected one of .*; did you mean "least-connections"\?/,
    ],
    [single('', 'algoritm: random'), '2:17 pools.web: unknown key "algoritm"; did you mean "algorithm"?'],
    [
      single('', 'health: { interval: 10 }'),
      /found the number 10, expected a duration from 100ms to 1h, such as/,
    ],
    [single('', 'health: { interval: 1d }'), /found "1d", expected a duration/],
    [single('', 'health: { fall: 0 }'), /found the number 0, expected a whole number from 1 to 100/],
    [
      single('', 'health: { type: http, expect: 99 }'),
      /found the number 99, expected a whole number from 100 to 599/,
    ],
    [single('', 'health: { type: http, expect: 299-200 }'), /found "299-200", expected a range/],
    [
      single('', 'algorithm: consistent-hash, hash: { load_factor: 1 }'),
      /expected 0 \(off\) or a number from 1\.01 to 10/,
    ],
    [single('limits: { head: 64KB }'), /found "64KB", expected a size from 1KiB to 64KiB/],
    [single('limits: { head: 1MiB }'), /found "1MiB", expected a size/],
    [single('routes: [{ match: {}, pool: web }]'), /expected at least one of host, path, method/],
    [
      single('routes: [{ match: { path: api }, pool: web }]'),
      /found "api", expected a path that starts with "\/"/,
    ],
    [
      single('routes: [{ match: { path: { exact: /a, prefix: /b } }, pool: web }]'),
      /found a mapping, expected a path/,
    ],
    [
      single('routes: [{ match: { path: { regex: "(" } }, pool: web }]'),
      /expected a regular expression \(Invalid/,
    ],
    [
      single('routes: [{ match: { path: { regex: "^/(?!api)" } }, pool: web }]'),
      /found "\^\/\(\?!api\)", expected a regular expression without lookahead and lookbehind, not "\(\?!" as at character 3/,
    ],
    [
      single('routes: [{ match: { header: { X-A: { regex: "(a)\\\\1" } } }, pool: web }]'),
      /expected a regular expression without backreferences, not "\\1" as at character 4/,
    ],
    [
      single('routes: [{ match: { cookie: { a: { regex: "(a|b){1000}" } } }, pool: web }]'),
      /expected a regular expression of at most 512 steps/,
    ],
    [single('routes: [{ match: { host: "a.org:80" }, pool: web }]'), /expected a host name without a port/],
    [single('routes: [{ match: { header: { "a b": x } }, pool: web }]'), /found the name "a b", expected/],
    [SINGLE.replace('"*:80"', '"example.org:80"'), /found "example.org:80", expected ADDRESS:PORT/],
    [SINGLE.replace('"*:80"', '80'), /found the number 80, expected a list of ADDRESS:PORT/],
    [SINGLE.replace('10.0.0.1:80', '10.0.0.1'), /found "10.0.0.1", expected HOST:PORT/],
    ...['224.0.0.1:80', '255.255.255.255:80', '0.0.0.0:80', '[ff02::1]:80', '*:80'].map(
      (address) =>
        [
          SINGLE.replace('10.0.0.1:80', address),
          `2:44 pools.web.backends.s1.address: found "${address}", expected HOST:PORT`,
        ] as const,
    ),
    [
      SINGLE.replace('s1: {', '"s 1": {'),
      '2:29 pools.web.backends.s 1: found the name "s 1", expected a name of 1 to',
    ],
    [
      SINGLE.replace('s1: {', 's1: { weight: 257,'),
      /found the number 257, expected a whole number from 0 to 256/,
    ],
    [SINGLE.replace(/frontends.*\n/, ''), '1:1 frontends: missing, expected a mapping of names'],
    [PAIR.replace('name: shop', 'nmae: shop'), /^1:12 cluster: unknown key "nmae"; did you mean "name"\?/],
    [PAIR.replace('name: shop, ', ''), /cluster\.name: missing, expected a name/],
    [PAIR.replace('192.0.2.2', '224.0.0.1'), /found "224\.0\.0\.1", expected the node's own IP address/],
    [PAIR.replace('/24', '/33'), /found "192\.0\.2\.100\/33", expected an IP address with its prefix/],
    [
      PAIR.replace('interface: eth1', 'interface: much-too-long-name'),
      /expected the name of a network interface/,
    ],
    [PAIR.replace('ha: {', 'ha: { heartbeat: { dead_after: 1 },'), /expected a whole number from 2 to 100/],
    [PAIR.replace('ha: {', 'ha: { settle: 11m,'), /expected a duration from 0ms to 10m/],
    [
      PAIR.replace('ha: {', 'ha: { paths: [{ type: multicast, group: 10.0.0.1 }],'),
      /expected a multicast address/,
    ],
    ...['ff01::7470', 'ff11::7470', 'ff10::1'].map(
      (group) =>
        [
          PAIR.replace('ha: {', `ha: { paths: [{ type: multicast, group: "${group}" }],`),
          new RegExp(
            `^\\d+:\\d+ ha\\.paths\\.0\\.group: found "${group}", expected .*not ff01::, which stays`,
          ),
        ] as const,
    ),
    [
      PAIR.replace('ha: {', 'ha: { settle: false,'),
      /found the boolean false, expected a duration from 0ms to 10m, .*; 0s turns it off/,
    ],
    [
      single('', 'health: http'),
      /found "http", expected a mapping \(key: value\), such as \{ type: http, path: \/healthz \}$/,
    ],
    [
      PAIR.replace(/vips: \[\{.*?\}\]/, 'vips: [192.0.2.100/24]'),
      /ha\.vips\.0: found "192\.0\.2\.100\/24", expected a mapping \(key: value\), such as \{ address: /,
    ],
    [
      PAIR.replace('ha: {', 'ha: { paths: [{ type: multcast }],'),
      /multicast or unicast; did you mean "multicast"\?/,
    ],
    [
      PAIR.replace('ha: {', 'ha: { preempt: true,'),
      /found the boolean true, expected false or { delay: 30s }/,
    ],
    [
      PAIR.replace('ha: {', 'ha: { notify: { active: run.sh },'),
      /expected the absolute path of an executable/,
    ],
  ] as const) {
    const found = problemsIn(text);
    t.equal(found.length, 1, `${found.join(' | ')}`);
    if (typeof expected === 'string') t.equal(found[0]?.slice(0, expected.length), expected);
    else t.match(found[0], expected);
  }
});

t.test('all problems at once, in the order of the file', async (t) => {
  const found = problemsIn(`
workers: 0
frontends:
  web: { bind: ["*:80"], pool: wbe, mode: sctp }
  alt: { bind: ["*:81"], pool: api }
pools:
  web: { algoritm: random, backends: {} }
  api: { stick: {}, backends: { s1: { address: "10.0.0.1:80" } } }
`);
  t.strictSame(
    found.map((line) => line.replace(/^(\d+:\d+ [^ ]+).*/, '$1')),
    [
      '2:10 workers:',
      '4:32 frontends.web.pool:',
      '4:43 frontends.web.mode:',
      '7:10 pools.web:',
      '8:10 pools.api.stick:',
    ],
  );
});

t.test('whatever is written, it is a config or a list of problems with places', async () => {
  const text = readFileSync(join(import.meta.dirname, '../../examples/pair.yaml'), 'utf8');
  const piece = fc.constantFrom(
    '',
    ' ',
    '\n',
    '*',
    '&x ',
    '[',
    '}',
    '"',
    ': ',
    '- ',
    'null',
    '-1',
    '1e9',
    '{}',
    '[]',
    '!!t ',
  );
  const edit = fc.tuple(fc.nat(text.length), fc.nat(20), piece);
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
      const edited = edits.reduce(
        (all, [at, cut, put]) => all.slice(0, at) + put + all.slice(at + cut),
        text,
      );
      return problemsIn(edited).every((line) => /^\d+:\d+ [^\n]+$/.test(line));
    }),
    { numRuns: 200 },
  );
});

t.test('which node this is', async (t) => {
  const self = (options: object) => parseConfig(PAIR, '/f', options).cluster?.self.name;
  t.equal(self({ node: 'lb2', hostname: 'lb1' }), 'lb2');
  t.equal(self({ hostname: 'lb2' }), 'lb2');
  t.equal(self({ hostname: 'lb2.example.org' }), 'lb2');
  t.equal(self({ hostname: 'laptop', anyNode: true }), 'lb1');
  t.throws(
    () => self({ hostname: 'laptop' }),
    /host's name "laptop" is not among the nodes \(lb1, lb2\): start with --node lb1 or --node lb2, or give the host/,
  );
  t.throws(
    () => self({ node: 'lb3', anyNode: true }),
    /there is no node "lb3", as --node says; did you mean "lb1"\?: start with --node lb1 or --node lb2/,
  );
  t.throws(() => self({ node: 'constructor' }), /there is no node "constructor"/);
});

t.test('the digest is of what both nodes must share', async (t) => {
  const digest = (text: string, file = '/f', node = 'lb1', cpus = 2) =>
    parseConfig(text, file, { node, cpus }).digest;
  const base = digest(PAIR);
  t.equal(digest(PAIR, '/elsewhere/g', 'lb2', 8), base, 'node, place of the file and cores do not count');
  t.equal(digest(`# comment\n${PAIR}`), base, 'nor do comments');
  t.equal(digest(`${PAIR}sync: { port: 7472 }`), base, 'nor a default that is written out');
  const two = (a: string, b: string) => PAIR.replace('backends: {', `backends: { ${a}, ${b},`);
  const [a, b] = ['a: { address: "h:1" }', 'b: { address: "h:2" }'];
  t.equal(digest(two(a, b)), digest(two(b, a)), 'nor the order of names');
  t.not(digest(`${PAIR}sync: { port: 7473 }`), base);
  t.not(digest(PAIR.replace('10.0.0.1', '10.0.0.2')), base);
  const regex = (r: string) =>
    PAIR.replace('pool: web', `routes: [{ match: { path: { regex: ${r} } }, pool: web }]`);
  t.not(digest(regex('a')), digest(regex('b')), 'a regular expression counts');
});

t.test('the result is frozen and can be posted to a worker', async (t) => {
  const config = parseConfig(single("routes: [{ match: { path: { regex: '^/x' } }, pool: web }]"), '/f');
  t.ok(Object.isFrozen(config) && Object.isFrozen(config.pools[0]!.backends[0]!.address));
  t.strictSame(structuredClone(config), config);
});

t.test('files', async (t) => {
  const directory = t.testdir({ 'good.yaml': SINGLE, 'binary.yaml': Buffer.from([0xff, 0xfe, 0x00, 0x41]) });
  t.equal(loadConfig(join(directory, 'good.yaml')).file, join(directory, 'good.yaml'));
  const refused = (name: string, text: RegExp) =>
    t.throws(() => loadConfig(join(directory, name)), { code: 'CONFIG', message: text }, name);
  refused('none.yaml', /none\.yaml: no such file/);
  refused('binary.yaml', /not valid UTF-8/);
  refused('.', /expected a regular file/);
  writeFileSync(join(directory, 'big.yaml'), '#'.repeat(1024 * 1024 + 1));
  refused('big.yaml', /larger than 1048576 bytes/);
  mkdirSync(join(directory, 'sub'));
  if (process.geteuid?.() !== 0) {
    chmodSync(join(directory, 'good.yaml'), 0);
    refused('good.yaml', /not readable for user id/);
  }
  t.throws(() => loadConfig(join(directory, 'none.yaml')), ConfigError);
});

t.test('JSON Schema for editors', async (t) => {
  const schema = jsonSchema() as { properties: Record<string, { properties?: object }>; required: string[] };
  t.strictSame(Object.keys(schema.properties).toSorted(), [
    ...[
      'access_log',
      'admin',
      'cluster',
      'direct_io',
      'frontends',
      'ha',
      'pools',
      'resolver',
      'sessions',
      'sync',
      'workers',
    ],
  ]);
  t.strictSame(schema.required, ['frontends', 'pools']);
  t.match(JSON.stringify(schema), /"least-connections"/);
  t.match(schema, { additionalProperties: false, patternProperties: { '^x-': {} } });
});

t.test('a value in quotes that should have none: the hint says so', async (t) => {
  for (const [pool, hint] of [
    [
      'outlier: "true"',
      /pools\.web\.outlier: found "true", expected true, false or .*; without the quotes\?$/,
    ],
    [
      'health: { fall: "3" }',
      /health\.fall: found "3", expected a whole number from .*; without the quotes\?$/,
    ],
  ] as const)
    t.match(problemsIn(single('', pool))[0], hint, pool);
});
