import t from 'tap';
import type { BackendStatus } from '../../../common/control.ts';
import { backendTable, heldText } from '../../../scripts/lbctl/status.ts';

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

t.test('whether a VIP is here, and by whom', async (t) => {
  const vip = { address: '10.0.0.100/24', interface: 'eth1', held: false };
  t.equal(heldText(vip), 'not held');
  t.equal(
    heldText({ ...vip, copies: ['10.0.0.100/32 dev eth1'] }),
    'not held, but here by somebody else: 10.0.0.100/32 dev eth1',
  );
});
