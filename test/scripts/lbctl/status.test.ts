import t from 'tap';
import type { AgentStatus, BackendStatus, LeaseStatus, ReloadAnswer } from '../../../common/control.ts';
import { reloadText } from '../../../scripts/lbctl/reload.ts';
import {
  backendTable,
  heldText,
  leaseFacts,
  leavingFacts,
  peerFacts,
} from '../../../scripts/lbctl/status.ts';

const BACKEND: BackendStatus = {
  ...{ address: '10.0.0.1:80', state: 'ready', health: 'healthy', admin: 'ready', active: 0, weight: 3 },
  ...{ why: 'answered 200', since_ms: 65_000, requests: 10, errors: 1, latency_ms: 1.25 },
  ...{ failing_checks: [], checks: [] },
};

t.test('how long ago an operator set a backend to what it is', async (t) => {
  const ago = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString();
  const backends: Record<string, BackendStatus> = {
    s1: {
      ...BACKEND,
      admin: 'drain',
      state: 'drained',
      why: 'set to drain by the operator',
      admin_at: ago(74),
    },
    s2: { ...BACKEND, admin_at: ago(1) },
    s3: BACKEND,
    s4: { ...BACKEND, admin: 'maint', why: 'set to maint by the operator', admin_at: ago(-1) },
  };
  const text = backendTable({ web: { algorithm: 'random', backends } });
  t.match(text, /^web\/s1 .* set to drain by the operator 3d 2h ago$/m);
  t.match(text, /^web\/s2 .* answered 200; ready, weight 3 by the operator 1h 0m ago$/m);
  t.match(text, /^web\/s3 .* answered 200$/m);
  t.match(text, /^web\/s4 .* set to maint by the operator 0ms ago$/m, 'the clocks of the nodes differ');
});

t.test('what only a newer daemon knows is shown as it is', async (t) => {
  const backends = {
    s1: { ...BACKEND, state: 'resting' as BackendStatus['state'] },
    s2: { ...BACKEND, state: 'constructor' as BackendStatus['state'] },
  };
  const text = backendTable({ web: { algorithm: 'random', backends } });
  t.match(text, /^web\/s1 +10\.0\.0\.1:80 +resting /m);
  t.match(text, /^web\/s2 +10\.0\.0\.1:80 +constructor /m);
  const lease = { address: 'w:1', state: 'dozing' as LeaseStatus['state'], answered_ms_ago: 1, why: '' };
  t.match(leaseFacts(lease, []), ['w:1', 'dozing']);
  const answer = { outcome: 'postponed' as ReloadAnswer['outcome'], changes: [], problems: [], warnings: [] };
  t.equal(reloadText({ ok: true, lbd: answer, agent: null }), 'lbd: postponed');
});

t.test('an average that has faded to nothing is not shown as one', async (t) => {
  const backends = { s1: { ...BACKEND, latency_ms: 0.003 }, s2: { ...BACKEND, latency_ms: 0.06 } };
  const text = backendTable({ web: { algorithm: 'random', backends } });
  t.match(text, /^web\/s1 .* 3 +- +1 /m);
  t.match(text, /^web\/s2 .* 3 +0\.1ms +1 /m);
});

t.test('where a backend with a host name is, and how old that is', async (t) => {
  const named = (resolved: BackendStatus['resolved']): BackendStatus => ({
    ...BACKEND,
    address: 'a.test:80',
    resolved,
  });
  const addresses = ['10.0.0.1', '10.0.0.2', '10.0.0.3'];
  const backends: Record<string, BackendStatus> = {
    s1: named({ addresses, usable: addresses, age_ms: 5 }),
    s2: named({
      addresses: ['10.0.0.1'],
      usable: ['10.0.0.1'],
      age_ms: 35_000,
      trouble: 'no name server answers',
    }),
    s3: named({ addresses: [], usable: [], age_ms: 0, trouble: 'no name server answers' }),
  };
  const text = backendTable({ web: { algorithm: 'random', backends } });
  t.match(text, /^web\/s1 +a\.test:80 \(10\.0\.0\.1 10\.0\.0\.2 and 1 more\) .* answered 200$/m);
  t.match(
    text,
    /^web\/s2 +a\.test:80 \(10\.0\.0\.1\) .* answered 200; found 35s ago: no name server answers$/m,
  );
  t.match(text, /^web\/s3 +a\.test:80 \(no address\) .* answered 200$/m);
});

t.test('whether a VIP is here, and by whom', async (t) => {
  const vip = { address: '10.0.0.100/24', interface: 'eth1', held: false };
  t.equal(heldText(vip), 'not held');
  t.equal(
    heldText({ ...vip, copies: ['10.0.0.100/32 dev eth1'] }),
    'not held, but here by somebody else: 10.0.0.100/32 dev eth1',
  );
});

t.test('a peer that is heard, silent, or was never heard', async (t) => {
  const peer: AgentStatus['peer'] = {
    ...{ node: 'lb2', role: 'active', epoch: 2, seen_ms_ago: 40, alive: true, same_config: true },
    differs_in: [],
  };
  const line = (change: Partial<AgentStatus['peer']>) => peerFacts({ ...peer, ...change }).join(' · ');
  t.equal(line({}), 'lb2 · active · epoch 2 · heard 40ms ago · same config');
  t.equal(line({ same_config: false }), 'lb2 · active · epoch 2 · heard 40ms ago · another config');
  t.equal(line({ alive: false, seen_ms_ago: 2356 }), 'lb2 · silent for 2s · was active, epoch 2');
  t.equal(
    line({ alive: false, seen_ms_ago: undefined, role: 'unknown', epoch: 0, same_config: undefined }),
    'lb2 · never heard',
  );
});

t.test('what a reload has taken out, until it is gone', async (t) => {
  const facts = leavingFacts({ name: 'frontend web', connections: 3, left_ms: 25_000 });
  t.equal(facts.join(' · '), 'frontend web · 3 open · cut in 25s');
});

t.test('a witness of which nothing was heard knows no holder, as far as this node knows', async (t) => {
  const lease = { holder: 'nobody', left_ms: undefined, bound: true } as const;
  const groups = [{ name: 'default', lease }] as unknown as AgentStatus['groups'];
  const status: LeaseStatus = {
    ...{ address: '192.0.2.9:7473', state: 'away', answered_ms_ago: undefined },
    why: 'it has never answered; why so',
  };
  t.equal(
    leaseFacts(status, groups).join(' · '),
    '192.0.2.9:7473 · away · it has never answered; why so · holder of the lease not known',
  );
  t.equal(
    leaseFacts({ ...status, state: 'grants', answered_ms_ago: 90, why: '' }, groups).join(' · '),
    '192.0.2.9:7473 · grants leases · answered 90ms ago · lease held by nobody',
  );
});
