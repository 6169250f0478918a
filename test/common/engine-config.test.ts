import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import { problemsIn } from './config-helper.ts';

function text(frontend: string, pool = '', more = ''): string {
  return `frontends: { f: { bind: ["*:5000"], pool: p, ${frontend} } }
pools: { p: { ${pool && `${pool}, `}backends: { s1: { address: "10.0.0.1:80" } } } }
${more}`;
}

t.test('what does not go together', async (t) => {
  const kernel = 'mode: tcp, engine: kernel';
  for (const [given, expected] of [
    [text('engine: kernel'), 'frontends.f.engine: is for modes tcp and udp only'],
    [text('mode: http, snat: none'), 'frontends.f.snat: is for modes tcp and udp only'],
    [text('mode: tcp, engine: user, snat: none'), 'frontends.f.snat: is for engine kernel and auto only'],
    [text('mode: tcp, engine: fast'), 'frontends.f.engine'],
    [
      text(kernel, 'algorithm: least-connections'),
      'pools.p.algorithm: the kernel cannot do that, and frontend "f" has engine kernel: take out algorithm least-connections of pool p',
    ],
    [text(`${kernel}, accept_proxy: [10.0.0.0/8]`), 'frontends.f.accept_proxy: the kernel cannot'],
    [text(`${kernel}, max_connections: 7`), 'frontends.f.max_connections: the kernel cannot'],
    [text(`${kernel}, limits: { per_source: 7 }`), 'frontends.f.limits.per_source: the kernel cannot'],
    [text(`${kernel}, timeouts: { idle: 1m }`), 'nf_conntrack_'],
    [text(`${kernel}, access_log: { stdout: true }`), 'frontends.f.access_log: the kernel cannot'],
    [text(kernel, '', 'access_log: { stdout: true }'), '"access_log: false" in frontends.f does without'],
    [text(kernel, 'send_proxy: v2'), 'pools.p.send_proxy: the kernel cannot'],
    [text(kernel, 'outlier: true'), 'pools.p.outlier: the kernel cannot'],
    [text(kernel, 'slow_start: 5s'), 'pools.p.slow_start: the kernel cannot'],
    [text(kernel, 'limits: { connections: 5 }'), 'pools.p.limits: the kernel cannot'],
    [text(kernel, 'tls: {}'), 'pools.p.tls: the kernel cannot'],
    [
      text(kernel, 'algorithm: consistent-hash, hash: { load_factor: 2 }'),
      'pools.p.hash.load_factor: the kernel cannot',
    ],
    [text(kernel).replace('10.0.0.1:80', 'db.example:80'), 'the host name db.example of backend s1'],
  ] as const)
    t.match(problemsIn(given).join('\n'), expected, expected);
});

t.test('defaults', async (t) => {
  const engine = (frontend: string) =>
    parseConfig(text(frontend), '/etc/tandem/tandem.yaml').frontends[0]!.engine;
  t.equal(engine('mode: http'), undefined);
  t.strictSame(engine('mode: tcp'), { engine: 'auto', snat: undefined, onBackendDown: 'cut', userOnly: [] });
  t.strictSame(engine('mode: tcp, engine: kernel, snat: none, on_backend_down: keep'), {
    engine: 'kernel',
    snat: 'none',
    onBackendDown: 'keep',
    userOnly: [],
  });
});
