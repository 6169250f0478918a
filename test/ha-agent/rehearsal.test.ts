import t from 'tap';
import { Rehearsal } from '../../ha-agent/rehearsal.ts';
import { CONFIG } from './story.ts';

const ROLES = ['init', 'standby', 'active', 'standby', 'active', 'standby'];

t.test('goes through a takeover on silence, a switchover, a takeover from a fault, and a stop', async (t) => {
  t.strictSame(new Rehearsal().play({ ...CONFIG, settleMs: 30_000 }), ROLES);
});

t.test('whatever the times are, and with a witness', async (t) => {
  const config = { ...CONFIG, intervalMs: 60_000, deadAfter: 100, witnessWaitMs: 600 };
  t.strictSame(new Rehearsal().play(config), ROLES);
});

t.test('with a witness that grants leases', async (t) => {
  t.strictSame(new Rehearsal().play({ ...CONFIG, leaseMs: 5_000 }), ROLES);
});

t.test('is due at once, and again after a minute', async (t) => {
  const rehearsal = new Rehearsal();
  t.strictSame(
    [0, 1, 59_999, 60_000, 60_001].map((now) => rehearsal.isDue(now)),
    [true, false, false, true, false],
  );
});
