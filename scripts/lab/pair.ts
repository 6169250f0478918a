import { randomBytes } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type * as Control from '../../common/control.ts';
import type { AgentStatus, ControlEvent, LbdStatus } from '../../common/control.ts';
import { control } from '../../common/control-client.ts';
import { DAEMONS, Daemon, type DaemonName } from './daemon.ts';
import { SHARED } from './holder.ts';
import { NODES, type NodeName, VIP } from './hosts.ts';
import { type Lab, NODE, type Output } from './lab.ts';
import { Neighbour } from './neighbour.ts';
import { OwnershipWatch } from './ownership.ts';
import { MULTICAST_PORT, type PairConfigOptions, pairConfig } from './pair-config.ts';
import type { Part, TestedPair, TimelineEvent } from './tested-pair.ts';
import { PATIENCE_MS, until } from './wait.ts';

export interface PairOptions extends PairConfigOptions {
  /** Source tree of its programs; without it, this one. */
  readonly tree?: string;
  /** How long its start may take. */
  readonly wholeWithinMs?: number;
}

/** Programs that the agents run, which may be hindered. */
export interface AgentHelpers {
  /** @returns a directory on the node that comes first in its agent's PATH */
  path(node: NodeName): string;
}

/** Tandem itself in the lab: two nodes, each with its two daemons. */
export class Pair implements TestedPair {
  readonly lab: Lab;
  readonly onePath = `udp dport ${MULTICAST_PORT}`;
  /** On the hosts. */
  readonly directory: string;
  readonly configFile: string;
  readonly daemons: Readonly<Record<NodeName, Readonly<Record<DaemonName, Daemon>>>>;
  readonly ownership: OwnershipWatch;
  readonly #neighbour: Neighbour;
  /** By node, time and text, so that what was read before a daemon died stays. */
  readonly #events = new Map<string, TimelineEvent>();

  private constructor(
    lab: Lab,
    directory: string,
    ownership: OwnershipWatch,
    neighbour: Neighbour,
    helpers: AgentHelpers | undefined,
  ) {
    this.lab = lab;
    this.#neighbour = neighbour;
    this.directory = directory;
    this.configFile = join(directory, 'tandem.yaml');
    this.ownership = ownership;
    const on = (node: NodeName) =>
      Object.fromEntries(
        DAEMONS.map((name) => {
          const first = name === 'ha-agent' ? helpers?.path(node) : undefined;
          return [name, new Daemon(lab, name, node, directory, this.configFile, first)];
        }),
      ) as Record<DaemonName, Daemon>;
    this.daemons = { lb1: on('lb1'), lb2: on('lb2') };
  }

  /**
   * Starts both nodes.
   *
   * @param helpers programs for the agents in the place of the machine's
   * @returns once the pair is whole
   */
  static async start(lab: Lab, options: PairOptions = {}, helpers?: AgentHelpers): Promise<Pair> {
    const outside = mkdtempSync(lab.outside(join(SHARED, 'pair-')));
    writeFileSync(join(outside, 'tandem.yaml'), pairConfig(options));
    writeFileSync(join(outside, 'secret'), randomBytes(48), { mode: 0o600 });
    const neighbour = await Neighbour.of(lab);
    const ownership = await OwnershipWatch.start(lab);
    const pair = new Pair(lab, join(SHARED, basename(outside)), ownership, neighbour, helpers);
    try {
      for (const node of NODES) {
        if (options.tree !== undefined) pair.use(node, options.tree);
        await pair.startNode(node);
      }
      await pair.whole(options.wholeWithinMs);
    } catch (error) {
      await pair.close();
      throw error;
    }
    return pair;
  }

  /** From the next start on the programs of a node are those of this source tree. */
  use(node: NodeName, tree: string): void {
    for (const daemon of Object.values(this.daemons[node])) daemon.tree = tree;
  }

  async startNode(node: NodeName): Promise<void> {
    for (const name of DAEMONS) if (!this.daemons[node][name].running) this.daemons[node][name].start();
  }

  pids(node: NodeName, part: Part): number[] {
    if (part === 'guardian') {
      const lines = this.lab.commands(node).map((line) => line.split(' '));
      return lines.filter(([, , script]) => script?.endsWith('guardian.sh')).map(([pid]) => Number(pid));
    }
    const daemon = this.daemons[node][part === 'agent' ? 'ha-agent' : 'lbd'];
    return daemon.running ? [daemon.pid] : [];
  }

  async switchover(node: NodeName): Promise<void> {
    const { code, stderr } = await this.lbctl(node, 'switchover');
    if (code !== 0) throw new Error(`lbctl switchover: exit ${code}: ${stderr.trim()}`);
  }

  async status(node: NodeName): Promise<AgentStatus> {
    return control<AgentStatus>(await this.#socket(node, 'agent'), 'GET', '/v1/status');
  }

  async lbdStatus(node: NodeName): Promise<LbdStatus> {
    return control<LbdStatus>(await this.#socket(node, 'lbd'), 'GET', '/v1/status');
  }

  /** Runs the `lbctl` of the release that runs on a node, as an operator does. */
  lbctl(node: NodeName, ...args: string[]): Promise<Output> {
    const program = join(this.daemons[node].lbd.tree, 'scripts/lbctl.ts');
    return this.lab.run(node, [NODE, program, '--run-dir', join(this.directory, node), ...args]);
  }

  /**
   * Waits for: one active node that alone holds the VIP, one standby, sessions in step, all backends ready. Also the latest
   * check of each: one that began while the node was cut off may still make them go down.
   */
  async whole(timeoutMs = PATIENCE_MS): Promise<void> {
    await until(
      'the pair is whole',
      async () => {
        for (const node of NODES) for (const name of DAEMONS) this.daemons[node][name].requireRunning();
        const agents = await Promise.all(NODES.map((node) => this.status(node)));
        const lbds = await Promise.all(NODES.map((node) => this.lbdStatus(node)));
        const missing = [
          ...badRoles(agents),
          ...this.#badOwner(agents),
          ...agents.flatMap((agent) =>
            agent.peer.alive ? [] : [`${agent.node} does not hear ${agent.peer.node}`],
          ),
          ...lbds.flatMap((lbd) =>
            lbd.sync.state === 'synced' && lbd.sync.lag_ms === 0
              ? []
              : [`sync on ${lbd.node} is ${lbd.sync.state}, ${lbd.sync.lag_ms} ms behind`],
          ),
          ...lbds.flatMap(notReady),
        ];
        if (missing.length > 0) throw new Error(missing.join('; '));
        return true;
      },
      timeoutMs,
    );
  }

  /** What the agents say and what the kernel tells of the VIP may come one after the other: both must be the same. */
  #badOwner(agents: readonly AgentStatus[]): string[] {
    const holders = this.ownership.holders();
    const holds = ({ vips }: AgentStatus) =>
      vips.some(({ address, held }) => held && address.startsWith(`${VIP}/`));
    const saying = NODES.filter((_node, i) => holds(agents[i]!));
    if (holders.length === 1 && holders.join() === saying.join()) return [];
    return [`${this.ownership.describe()}, and by ${saying.join(' and ') || 'no node'} as the agents say`];
  }

  /** The node that holds the VIP. @throws Error when not exactly one does */
  active(): NodeName {
    const [holder, ...more] = this.ownership.holders();
    if (holder === undefined || more.length > 0) throw new Error(this.ownership.describe());
    return holder;
  }

  neighbour(): Promise<NodeName | undefined> {
    return this.#neighbour.now();
  }

  /** Events of both daemons of both nodes in the order of time, also those read before a daemon died. */
  async events(): Promise<TimelineEvent[]> {
    for (const node of NODES)
      for (const socket of ['agent', 'lbd'] as const) {
        const path = await this.#socket(node, socket);
        // A daemon that is dead or stopped by the fault has no more to tell.
        const list = await control<ControlEvent[]>(path, 'GET', '/v1/events', undefined, 500).catch(() => []);
        for (const event of list)
          this.#events.set(`${node} ${event.mono_ms} ${event.text}`, { ...event, node });
      }
    return [...this.#events.values()].toSorted((a, b) => a.mono_ms - b.mono_ms);
  }

  /** Stops the daemons as a service manager does. */
  async stop(): Promise<void> {
    const running = Object.values(this.daemons).flatMap((on) => Object.values(on).filter((d) => d.running));
    await Promise.all(running.map((daemon) => daemon.signal('SIGTERM')));
    await this.close();
  }

  /** Ends the watch; daemons that still run, and all files, end with the lab. */
  async close(): Promise<void> {
    await this.ownership.close();
  }

  /** Where it is in the run directory is the release's own choice. */
  async #socket(node: NodeName, daemon: 'agent' | 'lbd'): Promise<string> {
    const { tree } = this.daemons[node][daemon === 'agent' ? 'ha-agent' : 'lbd'];
    const { SOCKETS }: Pick<typeof Control, 'SOCKETS'> = await import(join(tree, 'common/control.ts'));
    return this.lab.outside(join(this.directory, node, SOCKETS[daemon]));
  }
}

/** VIP groups that do not have one active and one standby node. */
function badRoles(agents: readonly AgentStatus[]): string[] {
  const names = new Set(agents.flatMap(({ groups }) => groups.map(({ name }) => name)));
  if (names.size === 0) return ['no agent has started yet'];
  return [...names].flatMap((name) => {
    const roles = agents.map(({ groups }) => groups.find((group) => group.name === name)?.role ?? 'starting');
    const good = roles.toSorted().join() === 'active,standby';
    return good ? [] : [`roles in group ${name} are ${roles.join(' and ')}`];
  });
}

function notReady(lbd: LbdStatus): string[] {
  return Object.entries(lbd.pools).flatMap(([pool, { backends }]) =>
    Object.entries(backends)
      .filter(([, { state, checks }]) => state !== 'ready' || checks[0]?.ok === false)
      .map(([name, { state, why, checks }]) => {
        const latest = checks[0]?.ok === false ? `, its latest check failed: ${checks[0].detail}` : '';
        return `${lbd.node}: ${pool}/${name} is ${state}: ${why}${latest}`;
      }),
  );
}
