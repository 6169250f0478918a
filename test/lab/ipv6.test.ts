import { randomBytes } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import t from 'tap';
import { type AgentStatus, type LbdStatus, SOCKETS } from '../../common/control.ts';
import { control } from '../../common/control-client.ts';
import { DAEMONS, Daemon } from '../../scripts/lab/daemon.ts';
import { SHARED } from '../../scripts/lab/holder.ts';
import {
  ADDRESS,
  address6,
  BACKENDS,
  HOSTS,
  INTERFACE,
  NODES,
  type NodeName,
  PREFIX,
  VIP,
} from '../../scripts/lab/hosts.ts';
import { Lab } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { startOrigin } from '../../scripts/lab/origins.ts';
import { METRICS_PORT, pairConfig } from '../../scripts/lab/pair-config.ts';
import { until } from '../../scripts/lab/wait.ts';
import { HEARTBEAT_MS } from './calm.ts';
import { statusCode } from './status-code.ts';

const VIP6 = 'fd84::100';

/** The lab's config with nothing but IPv6 in it. */
function config(): string {
  let text = pairConfig({ heartbeatMs: HEARTBEAT_MS, metrics: `[::1]:${METRICS_PORT}` })
    .replace('group: 239.255.84.1', 'group: "ff02::84"')
    .replaceAll(`${VIP}/${PREFIX}`, `"${VIP6}/64"`);
  for (const node of NODES)
    text = text.replaceAll(`address: ${ADDRESS[node]}`, `address: "${address6(node)}"`);
  for (const host of BACKENDS) text = text.replaceAll(`${ADDRESS[host]}:`, `[${address6(host)}]:`);
  return text;
}

t.test('a pair on a network of IPv6 alone', { skip: skipLab() }, async (t) => {
  const lab = await Lab.up();
  t.teardown(() => lab.down());
  for (const host of HOSTS) await lab.exec(host, ['ip', '-4', 'addr', 'flush', 'dev', INTERFACE]);
  for (const host of BACKENDS) await startOrigin(lab, host, ['--host', '::']);
  const outside = mkdtempSync(lab.outside(join(SHARED, 'pair-')));
  const directory = join(SHARED, basename(outside));
  t.notMatch(config(), /\d+\.\d+\.\d+\.\d+/);
  writeFileSync(join(outside, 'tandem.yaml'), config());
  writeFileSync(join(outside, 'secret'), randomBytes(48), { mode: 0o600 });
  const daemons = NODES.flatMap((node) =>
    DAEMONS.map((name) => new Daemon(lab, name, node, directory, join(directory, 'tandem.yaml'))),
  );
  for (const daemon of daemons) daemon.start();

  const ask = <T>(node: NodeName, daemon: 'agent' | 'lbd') => {
    for (const each of daemons) each.requireRunning();
    return control<T>(join(outside, node, SOCKETS[daemon]), 'GET', '/v1/status');
  };
  const holders = async () => {
    const texts = await Promise.all(
      NODES.map((node) => lab.exec(node, ['ip', '-6', '-o', 'addr', 'show', 'dev', INTERFACE])),
    );
    return NODES.filter((_, i) => texts[i]!.includes(` ${VIP6}/`));
  };
  const whole = () =>
    until('the pair is whole', async () => {
      const agents = await Promise.all(NODES.map((node) => ask<AgentStatus>(node, 'agent')));
      const lbds = await Promise.all(NODES.map((node) => ask<LbdStatus>(node, 'lbd')));
      const active = agents.find(({ role, vips }) => role === 'active' && vips.every(({ held }) => held));
      const found = [
        ...agents.map(({ role, peer }) => `${role}, hears ${peer.alive}`),
        ...agents.flatMap(({ paths }) => paths.map(({ name, state, why }) => `${name} ${state} ${why}`)),
        ...lbds.map(({ sync }) => `${sync.state} ${sync.why}`),
      ];
      const well =
        active !== undefined &&
        agents.some(({ role }) => role === 'standby') &&
        agents.every(({ paths }) => paths.every(({ state }) => state === 'up')) &&
        lbds.every(({ sync }) => sync.state === 'synced') &&
        (await holders()).join() === active.node;
      if (!well) throw new Error(found.join('; '));
      return active;
    });
  const answered = () => statusCode(lab, VIP6);

  const first = await whole();
  t.match(
    first.paths.map(({ name }) => name),
    [`multicast [ff02::84]:7470 on ${INTERFACE}`, /^unicast \[fd84::1[12]\]:7471$/, 'sync'],
  );
  await until('the VIP to be served', async () => (await answered()) === '200');
  const from = first.node as NodeName;
  const to = NODES.find((node) => node !== from)!;

  await lab.cut(from);
  await until(`${to} to serve`, async () =>
    (await ask<AgentStatus>(to, 'agent')).vips.every(({ held }) => held),
  );
  await until('clients to be answered', async () => (await answered()) === '200');
  await lab.heal(from);
  t.equal((await whole()).node, to);
  t.equal(await answered(), '200');
});
