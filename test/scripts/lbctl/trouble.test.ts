import t from 'tap';
import type { NodeView } from '../../../scripts/lbctl/status.ts';
import { troublesOf } from '../../../scripts/lbctl/trouble.ts';

const backend = (state: string) => ({ state, weight: 1, why: 'connection refused' });
const lbd = (change: object = {}) => ({
  status: {
    sync: { state: 'synced' },
    workers: { wanted: 2, running: 2 },
    config: { reload_error: undefined },
    pools: { web: { backends: { s1: backend('ready'), s2: backend('drained'), s3: backend('maint') } } },
    ...change,
  },
  error: null,
});
const agent = (change: object = {}) => ({
  status: {
    peer: { node: 'lb2', alive: true },
    groups: [{ name: 'default', role: 'active', why: '', vips: [{ address: '192.0.2.100/24', held: true }] }],
    paths: [{ name: 'unicast', state: 'up' }],
    guardian: { alive: true },
    ...change,
  },
  error: null,
});
const troubles = (one: object, other: object) =>
  troublesOf({ lbd: one, agent: other } as unknown as NodeView);

t.test('what is well, and what an operator wants so, is no trouble', async (t) => {
  t.same(troubles(lbd(), agent()), []);
  t.same(
    troubles(lbd({ sync: { state: 'off' } }), { status: null, error: 'ha-agent is not running' }),
    [],
    'a single lbd',
  );
});

t.test('each thing that is down is told', async (t) => {
  const pools = { web: { backends: { s1: backend('down'), s2: backend('ejected') } } };
  t.same(troubles(lbd({ pools }), agent()), [
    'pool web has no backend that takes clients: 1 down, 1 ejected',
    'web/s1 is down: connection refused',
    'web/s2 is ejected: connection refused',
  ]);
  t.same(troubles({ status: null, error: 'lbd is not running' }, agent()), ['lbd is not running']);
  t.same(troubles(lbd(), { status: null, error: 'ha-agent is not running' }), ['ha-agent is not running']);
  t.same(troubles(lbd({ workers: { wanted: 2, running: 1 } }), agent()), ['1 of 2 workers run']);
  t.same(troubles(lbd({ config: { reload_error: 'f:1:1 bad' } }), agent()), [
    'the config file is refused: f:1:1 bad',
  ]);
  const bad = agent({
    peer: { node: 'lb2', alive: false },
    groups: [
      {
        name: 'a',
        role: 'fault',
        why: 'eth1 has no carrier',
        vips: [{ address: '192.0.2.1/24', held: false }],
      },
      { name: 'b', role: 'active', why: '', vips: [{ address: '192.0.2.2/24', held: false }] },
    ],
    paths: [{ name: 'unicast', state: 'down' }],
    guardian: { alive: false },
    witness: { state: 'silent', why: 'no answer' },
  });
  t.same(troubles(lbd(), bad), [
    'group a is in fault: eth1 has no carrier',
    '192.0.2.2/24 is not held',
    'lb2 is silent',
    'path unicast is down',
    'the guardian is not running',
    'the witness is silent: no answer',
  ]);
});

t.test('a pool that takes no clients is down, whatever the reason of each backend', async (t) => {
  const pool = (...backends: object[]) => ({
    web: { backends: Object.fromEntries(backends.map((it, i) => [`s${i}`, it])) },
  });
  const of = (pools: object) => troubles(lbd({ pools }), agent());
  const idle = { state: 'ready', weight: 0, why: 'weight 0: no new clients' };
  t.same(of(pool(backend('drained'), backend('draining'), backend('drained'))), [
    'pool web has no backend that takes clients: 2 drained, 1 draining',
  ]);
  t.same(of(pool(backend('maint'))), ['pool web has no backend that takes clients: 1 maint']);
  t.same(of(pool(idle, backend('maint'))), [
    'pool web has no backend that takes clients: 1 of weight 0, 1 maint',
  ]);
  t.same(of(pool()), ['pool web has no backend that takes clients']);
  t.same(of(pool(backend('drained'), backend('starting'))), [], 'it is not known yet');
  t.same(of(pool(idle, backend('ready'))), []);
  const panic = { web: { strain: { panic: true }, ...pool(backend('down')).web } };
  t.same(of(panic), ['web/s0 is down: connection refused'], 'all are used in a panic');
});

t.test('a frontend or pool whose TLS files cannot be used is down', async (t) => {
  t.same(troubles(lbd({ left_out: ['frontend shop', 'pool secret'] }), agent()), [
    'frontend shop serves nobody: its TLS files cannot be used',
    'pool secret serves nobody: its TLS files cannot be used',
  ]);
  t.same(troubles(lbd({ left_out: [] }), agent()), []);
});
