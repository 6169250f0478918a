import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { chooseEngines, type HostFacts, mayHaveKernel } from '../../../lbd/kernel/choice.ts';

const FACTS: HostFacts = {
  trouble: '',
  forwards: { 4: true, 6: true },
  forwardDrops: [],
  networks: [
    { interface: 'eth0', address: '192.0.2.1', prefix: 24, family: 4 },
    { interface: 'eth1', address: '10.0.0.1', prefix: 24, family: 4 },
  ],
};

const CLUSTER = `cluster: { name: c, nodes: { lb1: { address: 192.0.2.1 }, lb2: { address: 192.0.2.2 } } }
ha: { vips: [{ address: 192.0.2.100/24, interface: eth0 }, { address: "fd00::100/64", interface: eth0 }] }
`;

interface Case {
  readonly alone?: boolean;
  readonly frontend?: string;
  readonly bind?: string;
  readonly pool?: string;
  readonly backends?: readonly string[];
  readonly facts?: Partial<HostFacts>;
}

function choose({
  alone,
  frontend = '',
  bind = '"*:5000"',
  pool = '',
  backends = ['192.0.2.21:9'],
  facts,
}: Case) {
  const list = backends.map((address, i) => `s${i}: { address: "${address}" }`).join(', ');
  const text = `${alone ? '' : CLUSTER}frontends: { f: { mode: tcp, bind: [${bind}], pool: p${frontend && `, ${frontend}`} } }
pools: { p: { ${pool && `${pool}, `}backends: { ${list} } } }
`;
  const config = parseConfig(text, '/etc/tandem/tandem.yaml', { hostname: 'lb1' });
  return chooseEngines(config, { ...FACTS, ...facts })[0]!;
}

t.test('what the kernel gets', async (t) => {
  t.match(choose({}), {
    engine: 'kernel',
    warning: undefined,
    service: {
      name: 'f',
      protocol: 'tcp',
      ports: [[5000, 5000]],
      addresses: ['192.0.2.100'],
      family: 4,
      source: 'vip',
      onBackendDown: 'cut',
      backends: [{ name: 's0', address: '192.0.2.21', port: 9 }],
    },
  });
  t.match(choose({ bind: '"*:5000-5002", "*:5005"' }).service?.ports, [
    [5000, 5002],
    [5005, 5005],
  ]);
  t.match(choose({ backends: ['[fd00::21]:9'] }).service, { addresses: ['fd00::100'], family: 6 });
  t.match(choose({ alone: true, backends: ['203.0.113.9:9'] }).service, { addresses: [], source: 'host' });
  t.match(choose({ alone: true, bind: '"192.0.2.1:5000"' }).service, { addresses: ['192.0.2.1'] });
  t.match(choose({ frontend: 'snat: none', backends: ['10.0.0.21:9'] }).service, { source: 'none' });
  t.match(choose({ frontend: 'snat: vip', backends: ['10.0.0.21:9'] }).service, { source: 'vip' });
  t.match(choose({ frontend: 'on_backend_down: keep' }).service, { onBackendDown: 'keep' });
  t.match(choose({ alone: true, pool: 'stick: { source: ip }' }), { engine: 'kernel' });
});

const USER: readonly (readonly [what: string, given: Case, why: RegExp])[] = [
  ['asked for', { frontend: 'engine: user' }, /as the config says/],
  [
    'an algorithm',
    { pool: 'algorithm: least-connections' },
    /it needs algorithm least-connections of pool p, which/,
  ],
  [
    'all of a few things',
    { pool: 'slow_start: 1s, send_proxy: v1' },
    /it needs send_proxy of pool p, slow_start of pool p, which the kernel cannot do$/,
  ],
  [
    'more than anybody reads',
    { backends: Array.from({ length: 23 }, (_, i) => `h${i}.test:9`) },
    /host name h19\.test of backend s19 of pool p and 3 more \(with "engine: kernel" lbctl check names them all\), which/,
  ],
  ['a limit', { frontend: 'max_connections: 10' }, /max_connections/],
  ['a host name', { backends: ['db.example:9'] }, /the host name db\.example of backend s0/],
  ['both families', { backends: ['192.0.2.21:9', '[fd00::21]:9'] }, /has IPv4 and IPv6 backends/],
  ['a bind that is no VIP', { bind: '"192.0.2.1:5000"' }, /no VIP of IPv4/],
  ['no nft', { facts: { trouble: 'there is no program "nft"' } }, /there is no program "nft"/],
  ['no forwarding', { facts: { forwards: { 4: false, 6: true } } }, /net\.ipv4\.ip_forward=1/],
  ['a backend on this host', { backends: ['192.0.2.1:9'] }, /s0 \(192\.0\.2\.1\) is this host itself/],
  [
    'a backend that is far',
    { backends: ['10.0.0.21:9'] },
    /s0 \(10\.0\.0\.21\) is not on the network of 192\.0\.2\.100/,
  ],
  [
    'a firewall',
    { facts: { forwardDrops: ['ip filter FORWARD'] } },
    /chain ip filter FORWARD of this host drops/,
  ],
  ['a stick in a pair', { pool: 'stick: { source: ip }' }, /stuck/],
];

t.test('what lbd does itself, and why', async (t) => {
  for (const [what, given, why] of USER) {
    const choice = choose(given);
    t.match(choice, { engine: 'user', why, service: undefined }, what);
    t.equal(choice.warning, undefined, `${what}: nothing to warn of`);
  }
});

t.test('engine kernel goes as far as it can, and warns', async (t) => {
  t.match(choose({ frontend: 'engine: kernel', facts: { forwardDrops: ['ip filter FORWARD'] } }), {
    engine: 'kernel',
    warning: /frontend f: chain ip filter FORWARD/,
  });
  t.match(choose({ frontend: 'engine: kernel', facts: { forwards: { 4: false, 6: false } } }), {
    engine: 'user',
    warning: /frontend f: engine kernel cannot be had, lbd moves the bytes: this host does not forward IPv4/,
  });
  t.match(choose({ frontend: 'engine: kernel', pool: 'stick: { source: ip }' }), {
    engine: 'kernel',
    warning: undefined,
  });
});

t.test('a host is not looked at where the config alone decides', async (t) => {
  const may = (frontend: string, backend: string) =>
    mayHaveKernel(
      parseConfig(
        `frontends: { f: { bind: ["*:5000"], pool: p, ${frontend} } }\npools: { p: { backends: { s: { address: "${backend}:9" } } } }\n`,
        '/etc/tandem/tandem.yaml',
      ),
    );
  t.equal(may('mode: tcp', '192.0.2.21'), true);
  t.equal(may('mode: http', '192.0.2.21'), false);
  t.equal(may('mode: tcp, engine: user', '192.0.2.21'), false);
  t.equal(may('mode: tcp', '127.0.0.1'), false);
  t.equal(may('mode: tcp, max_connections: 1', '192.0.2.21'), false);
});
