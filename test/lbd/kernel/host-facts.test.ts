import t from 'tap';
import { hostTroubles } from '../../../lbd/kernel/host-facts.ts';

t.test('what comes in the way of the kernel later', async (t) => {
  const troubles = (values: Record<string, number>) =>
    hostTroubles(new Set([4]), (path) => values[path.slice(path.lastIndexOf('/') + 1)]);
  const well = { ip_forward: 1, forwarding: 0, nf_conntrack_count: 89, nf_conntrack_max: 100 };
  t.strictSame(troubles(well), []);
  t.strictSame(troubles({}), [], 'what cannot be read is no trouble');
  t.match(troubles({ ...well, ip_forward: 0 }), [/does not forward IPv4 any more/]);
  t.match(troubles({ ...well, nf_conntrack_count: 90 }), [/nf_conntrack_max is 100/]);
});
