import t, { type Test } from 'tap';
import { FAULTS } from '../../scripts/lab/faults.ts';
import { INTERFACE, NODES } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';

/**
 * Of a router that answers for every address but that of who asks: the proxy ARP of private VLANs.
 *
 * @param delay by which it answers late at most, in hundredths of a second
 */
const proxy = (delay: number) => [
  'net.ipv4.ip_forward=1',
  `net.ipv4.conf.${INTERFACE}.proxy_arp_pvlan=1`,
  `net.ipv4.conf.${INTERFACE}.send_redirects=0`,
  `net.ipv4.neigh.${INTERFACE}.proxy_delay=${delay}`,
];

/** Of Linux, unless it is set. */
const DEFAULT_DELAY = 80;

/** Both nodes lose their power, and one gets it back beside such a router. */
async function aloneBeside(t: Test, delay: number) {
  const pair = await startPair(t);
  const boots = [];
  for (const node of NODES) boots.push(await FAULTS.power.inflict(pair, node));
  await pair.lab.exec('s3', ['sysctl', '-qw', ...proxy(delay)]);
  await boots[0]!();
  const [alone] = NODES;
  // It is active before it has the VIP.
  await pair.ownership.until(
    'the node that is alone serves',
    () => pair.ownership.holders().join() === alone,
  );
  await until('it to say who answers for everybody', async () =>
    /answers for addresses that it does not have/.test((await pair.status(alone)).warnings.join('\n')),
  );
  return { pair, alone };
}

t.test('a router that answers for everybody is no other owner of the VIP', { skip: skipLab() }, async (t) => {
  const { pair } = await aloneBeside(t, 0);
  t.notOk(
    (await pair.events()).some(({ text }) => /^not taking over: .* answers for /.test(text)),
    'nobody waited for it',
  );
});

t.test('nor is one that answers late, each time by another time', { skip: skipLab() }, async (t) => {
  const { pair, alone } = await aloneBeside(t, DEFAULT_DELAY);
  t.notOk(
    (await pair.events()).some(({ text }) => /lives and serves, though it is not heard/.test(text)),
    'nobody yielded to it',
  );
  t.strictSame(pair.ownership.holders(), [alone]);
});
