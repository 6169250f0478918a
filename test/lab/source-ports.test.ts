import t from 'tap';
import { SOURCE_PORTS } from '../../lbd/flow/source-ports.ts';
import { Helper } from '../../scripts/lab/helper.ts';
import { ADDRESS, CLIENT_ADDRESSES, VIP } from '../../scripts/lab/hosts.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { until } from '../../scripts/lab/wait.ts';
import { ONE_OF_A_PAIR, setUp } from './kernel-node.ts';

const PORT = 5353;
/** Of each address; two have more flows than the kernel has source ports. */
const [FIRST, LAST] = [20_000, 54_999];
const SETTINGS = '/proc/sys/net/netfilter/nf_conntrack_';

const CONFIG = `${ONE_OF_A_PAIR}admin: { metrics: false }
frontends: { dns: { bind: ["*:${PORT}"], mode: udp, engine: kernel, pool: dns } }
pools: { dns: { health: { type: none }, backends: { s1: { address: "${ADDRESS.s1}:${PORT}" } } } }
`;

t.test('source ports of the VIP run out, and lbd says so', { skip: skipLab() }, async (t) => {
  const { lab, node } = await setUp(t, CONFIG, async (lab) => {
    await lab.exec('lb1', ['tee', `${SETTINGS}udp_timeout`], '3600');
    // Nobody listens: the backend shall not say so.
    await lab.exec(
      's1',
      ['nft', '-f', '-'],
      'table inet mute { chain in { type filter hook input priority 0; udp dport 5353 drop; }; }',
    );
  });
  await until('the flows to be followed', async () => (await node.status()).flows?.state !== 'failed');
  const filler = new Helper(lab, 'client', [
    ...['test/lab/port-filler.ts', VIP, `${PORT}`, `${FIRST}`, `${LAST}`],
    ...CLIENT_ADDRESSES.slice(0, 2),
  ]);
  await until('a warning before it is too late', async () => {
    const { warnings } = await node.status();
    return warnings.some((line) =>
      /^frontend dns: \d+ open flows to backend s1, and the kernel has/.test(line),
    );
  });
  await filler.line();
  const { flows, warnings } = await until('what the kernel dropped', async () => {
    const status = await node.status();
    return (status.flows?.insert_failed ?? 0) > 0 && status;
  });
  t.equal(flows?.frontends.dns?.s1?.limit, SOURCE_PORTS);
  // A few datagrams may be lost on their way.
  const { active = 0 } = flows?.frontends.dns?.s1 ?? {};
  t.ok(active > 0.95 * SOURCE_PORTS && active <= SOURCE_PORTS, `${active} fit`);
  t.match(warnings.join('\n'), /the kernel dropped new flows, \d+ since the start/);
  await node.tells(/source ports for them/);
});
