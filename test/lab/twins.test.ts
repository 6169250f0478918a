import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type AgentStatus, type ControlEvent, SOCKETS } from '../../common/control.ts';
import { control } from '../../common/control-client.ts';
import { DAEMONS } from '../../scripts/lab/daemon.ts';
import { INTERFACE, NODES, type NodeName, VIP } from '../../scripts/lab/hosts.ts';
import { NODE, ROOT } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import type { Pair } from '../../scripts/lab/pair.ts';
import { until } from '../../scripts/lab/wait.ts';
import { startPair } from './fault-run.ts';

/** A third machine, with address and cable of its own, that runs as a node of the pair. */
const MACHINE = 'witness';
const CLAIMED = /another machine claims the name of this node/;

class Twin {
  readonly #socket: string;
  readonly #pair: Pair;

  constructor(t: Test, pair: Pair, node: NodeName) {
    const directory = join(pair.directory, `twin-${randomUUID()}`);
    mkdirSync(pair.lab.outside(directory));
    this.#pair = pair;
    this.#socket = pair.lab.outside(join(directory, SOCKETS.agent));
    const flags = ['--config', pair.configFile, '--node', node, '--run-dir', directory];
    for (const name of DAEMONS)
      pair.lab.spawn(MACHINE, [NODE, '--disable-sigusr1', join(ROOT, name, 'main.ts'), ...flags], {
        stdio: 'ignore',
      });
    t.teardown(() => this.end());
  }

  status(): Promise<AgentStatus> {
    return control<AgentStatus>(this.#socket, 'GET', '/v1/status');
  }

  /** Whether it has ever had the VIP. */
  async served(): Promise<boolean> {
    const events = await control<ControlEvent[]>(this.#socket, 'GET', '/v1/events');
    return events.some(({ text }) => text.startsWith('the VIPs are on this node'));
  }

  async holds(): Promise<boolean> {
    const text = await this.#pair.lab.exec(MACHINE, ['ip', '-o', 'addr', 'show', 'dev', INTERFACE]);
    return text.includes(` ${VIP}/`);
  }

  end(): void {
    this.#pair.lab.killAll(MACHINE);
  }
}

const other = (node: NodeName) => NODES.find((name) => name !== node)!;

/** Both machines of one name say so, and so does their peer. */
async function allSay(pair: Pair, twin: Twin, node: NodeName): Promise<void> {
  for (const status of [() => pair.status(node), () => twin.status()])
    await until('a machine to find the other one out', async () =>
      CLAIMED.test((await status()).warnings.join()),
    );
  await until('the peer to say it', async () =>
    (await pair.events()).some(
      (event) =>
        event.node === other(node) && event.text.includes('two machines that claim the name of the peer'),
    ),
  );
}

t.test('two machines with one node name', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t);

  await t.test('one comes with the name of the active node: nothing moves', async (t) => {
    const active = pair.active();
    const before = pair.ownership.changes.length;
    const twin = new Twin(t, pair, active);
    await allSay(pair, twin, active);
    t.equal(pair.ownership.changes.length, before);
    t.notOk(await twin.served());
    t.not((await twin.status()).role, 'active');
    twin.end();
    await pair.whole();
    t.equal(pair.active(), active);
  });

  await t.test('one comes with that of the standby, and the active node dies: only one serves', async (t) => {
    const active = pair.active();
    const standby = other(active);
    const twin = new Twin(t, pair, standby);
    await allSay(pair, twin, standby);
    t.notOk(await twin.served());
    await pair.lab.cut(active);
    const owners = async () => [
      ...(pair.ownership.holders().includes(standby) ? [standby] : []),
      ...((await twin.holds()) ? ['the twin'] : []),
    ];
    const [first] = await until('one of them to serve', async () => {
      const now = await owners();
      return now.length > 0 && now;
    });
    await until('both to know it', async () => {
      const roles = [(await pair.status(standby)).role, (await twin.status()).role];
      return roles.toSorted().join() === 'active,fault';
    });
    t.strictSame(await owners(), [first]);
    if (first === standby) t.notOk(await twin.served(), 'and never the other one');
    twin.end();
    await pair.lab.heal(active);
    await pair.whole();
  });
});
