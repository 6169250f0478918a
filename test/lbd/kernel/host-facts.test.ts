import t from 'tap';
import { hostTroubles, readTracking } from '../../../lbd/kernel/host-facts.ts';
import { DEFAULT_TRACKING } from '../../../lbd/kernel/rules.ts';

t.test('what comes in the way of the kernel later', async (t) => {
  const troubles = (values: Record<string, number>) =>
    hostTroubles(new Set([4]), (path) => values[path.slice(path.lastIndexOf('/') + 1)]);
  const well = { ip_forward: 1, forwarding: 0, nf_conntrack_count: 89, nf_conntrack_max: 100 };
  t.strictSame(troubles(well), []);
  t.strictSame(troubles({}), [], 'what cannot be read is no trouble');
  t.match(troubles({ ...well, ip_forward: 0 }), [/does not forward IPv4 any more/]);
  t.match(troubles({ ...well, nf_conntrack_count: 90 }), [/nf_conntrack_max is 100/]);
});

t.test('how the kernel follows flows', async (t) => {
  const tracking = (values: Record<string, number>) =>
    readTracking((path) => values[path.slice(path.lastIndexOf('conntrack_') + 10)]);
  t.strictSame(tracking({}), DEFAULT_TRACKING, 'what cannot be read is as by default');
  t.strictSame(
    tracking({ acct: 1, tcp_timeout_last_ack: 5, tcp_timeout_fin_wait: 6, tcp_timeout_close_wait: 7 }),
    { lastAckS: 5, finWaitS: 6, closeWaitS: 7, countsBytes: true },
  );
});
