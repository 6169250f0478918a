import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlEvent } from '../../common/control.ts';
import { monotonicMs } from '../../common/events.ts';
import { Clients, type ClientsOptions } from '../lab/clients.ts';
import type { FaultName } from '../lab/faults.ts';
import { NODES, type NodeName } from '../lab/hosts.ts';
import { type OwnerChange, twoOwnersMs } from '../lab/ownership.ts';
import type { FaultResult } from '../lab/scenario.ts';
import { STICKY_KINDS } from '../lab/sticky.ts';
import type { TimelineEvent } from '../lab/tested-pair.ts';
import { until } from '../lab/wait.ts';
import { Machine } from './machine.ts';
import type { NodeStatus } from './probe.ts';
import { Vagrant } from './vagrant.ts';

/** A machine under emulation takes minutes to boot. */
const WHOLE_MS = 300_000;
const TAKEOVER_MS = 30_000;
/** Machines that have just booted are late in all they do, and a role may still move. */
const STEADY_MS = 5_000;
/** So many times the clients begin anew, and so many times each has its `STEADY_MS`, until all of them are served. */
const [CLIENT_STARTS, WARM_UPS] = [5, 20];

/** Faults that can be inflicted on a machine from outside or over ssh. */
export const VM_FAULTS = [
  'cut',
  'power',
  'agent-kill',
  'agent-stop',
  'lb-kill',
  'switchover',
] as const satisfies readonly FaultName[];

/** What emulated machines carry without being late themselves: about 30 requests a second. */
export const CLIENTS = {
  intervalMs: 50,
  sticky: 10,
  visitMs: 250,
  keptAlive: 5,
  askMs: 1000,
} satisfies ClientsOptions;

/** The pair on the machines of `vagrant/`, with the clients on `net`. */
export class VmPair {
  readonly vagrant: Vagrant;
  readonly net: Machine;
  readonly nodes: Readonly<Record<NodeName, Machine>>;
  readonly changes: OwnerChange[] = [];
  /** File for `ssh -F`. */
  readonly sshConfig: string;
  readonly #directory: string;
  readonly #macs: Record<NodeName, readonly string[]> = { lb1: [], lb2: [] };
  readonly #held: Record<NodeName, boolean> = { lb1: false, lb2: false };

  private constructor(vagrant: Vagrant, directory: string, sshConfig: string) {
    this.vagrant = vagrant;
    this.sshConfig = sshConfig;
    this.#directory = directory;
    const node = (name: NodeName) =>
      new Machine(name, sshConfig, (held, atMs) => this.#hold(name, held, atMs));
    this.nodes = { lb1: node('lb1'), lb2: node('lb2') };
    this.net = new Machine('net', sshConfig, () => {});
  }

  /** @throws OperatorError when the machines are not up */
  static async connect(): Promise<VmPair> {
    const vagrant = new Vagrant();
    const directory = mkdtempSync(join(tmpdir(), 'tandem-vm-'));
    const file = join(directory, 'ssh-config');
    writeFileSync(file, await Vagrant.sshConfig());
    const pair = new VmPair(vagrant, directory, file);
    try {
      await Promise.all([pair.net.connect(), ...NODES.map((name) => pair.#join(name))]);
    } catch (error) {
      pair.close();
      throw error;
    }
    return pair;
  }

  close(): void {
    for (const machine of [this.net, ...Object.values(this.nodes)]) machine.disconnect();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Milliseconds by which times in a timeline may be wrong: the machines have clocks of their own. */
  get clockErrorMs(): number {
    return Math.max(this.net.errorMs, ...NODES.map((name) => this.nodes[name].errorMs));
  }

  /**
   * What goes wrong before a fault is not the fault's: emulated machines are late in all that they do for the first time.
   *
   * @returns once the pair is steady, and the clients are bound to their backends and all of them are served
   * @throws Error when that does not come about
   */
  async clients(): Promise<Clients> {
    for (let left = CLIENT_STARTS; left > 0; left--) {
      await this.#steady();
      const clients = await this.#startClients();
      if (await areServed(clients)) return clients;
      await clients.stop();
    }
    throw new Error('some clients are not served, though nothing was done to the pair');
  }

  #startClients(): Promise<Clients> {
    // The program is the lab's; only where it runs differs.
    const spawn = (_host: unknown, [, file, ...args]: readonly string[]) => {
      const child = this.net.start(file!.slice(file!.indexOf('scripts/lab/')), args);
      child.stderr?.pipe(process.stderr);
      return child;
    };
    return Clients.start({ spawn } as Parameters<typeof Clients.start>[0], CLIENTS);
  }

  holders(): NodeName[] {
    return NODES.filter((name) => this.#held[name]);
  }

  /** The node that alone holds the VIP. @throws Error when none or both do */
  active(): NodeName {
    const [holder, ...more] = this.holders();
    if (holder === undefined || more.length > 0)
      throw new Error(`the VIP is held by ${this.holders().join(' and ') || 'no node'}`);
    return holder;
  }

  /** Waits for one active node that alone holds the VIP, one standby, sessions in step, all backends ready. */
  async whole(): Promise<void> {
    await until(
      'the pair is whole',
      async () => {
        const views = await Promise.all(NODES.map((name) => this.status(name)));
        for (const [i, view] of views.entries()) this.#held[NODES[i]!] = view.held;
        const missing = views.flatMap((view, i) => missingOn(NODES[i]!, view));
        const roles = views.map(({ agent }) => agent?.role ?? 'silent');
        if (roles.toSorted().join() !== 'active,standby') missing.push(`roles are ${roles.join(' and ')}`);
        if (this.holders().length !== 1)
          missing.push(`the VIP is on ${this.holders().join(' and ') || 'no node'}`);
        if (missing.length === 0) return true;
        // Emulated machines have better to do than to answer.
        await sleep(2000);
        throw new Error(missing.join('; '));
      },
      WHOLE_MS,
    );
  }

  async #steady(): Promise<void> {
    let epoch: number | undefined;
    do {
      await this.whole();
      epoch = (await this.status('lb1')).agent?.epoch;
      await sleep(STEADY_MS);
      await this.whole();
    } while (epoch !== (await this.status('lb1')).agent?.epoch);
  }

  async status(name: NodeName): Promise<NodeStatus> {
    return (await this.nodes[name].ask({ ask: 'status' })) as NodeStatus;
  }

  /** Lets the active node fail under traffic and waits until the other one has taken over. Mends nothing. */
  async fail(clients: Clients, fault: FaultName, lingerMs: number): Promise<FaultResult> {
    await this.whole();
    const from = this.active();
    const to = NODES.find((name) => name !== from)!;
    const before = fault === 'power' ? await this.#events(from) : [];
    await clients.report();
    const first = this.changes.length;
    const faultAtMs = await this.#inflict(fault, from);
    await until(
      `${to} alone holds the VIP`,
      () => (this.holders().join() === to ? true : undefined),
      TAKEOVER_MS,
    );
    await sleep(lingerMs);
    const report = await clients.report();
    const changes = this.changes.slice(first);
    const gone = changes.find((change) => change.node === from && !change.held);
    const taken = changes.find((change) => change.node === to && change.held);
    const events = [
      ...before,
      ...(fault === 'power' ? [] : await this.#events(from)),
      ...(await this.#events(to)),
    ];
    return {
      ...report,
      probe: { ...report.probe, atMs: this.net.ours(report.probe.atMs) },
      fault,
      from,
      to,
      faultAtMs,
      takeoverMs: (taken?.atMs ?? Number.NaN) - faultAtMs,
      vipGoneMs: fault === 'power' || gone === undefined ? undefined : gone.atMs - faultAtMs,
      twoOwnersMs: twoOwnersMs([{ atMs: faultAtMs, node: from, held: true }, ...changes], monotonicMs()),
      holders: this.holders(),
      neighbour: await this.#neighbour(),
      events: events.filter((event) => event.mono_ms >= faultAtMs).toSorted((a, b) => a.mono_ms - b.mono_ms),
    };
  }

  /** What a technician or systemd does afterwards; waits until the pair is whole again. */
  async recover({ fault, from }: FaultResult): Promise<void> {
    if (fault === 'cut') await this.vagrant.plug(from, this.#macs[from].at(-1)!, true);
    if (fault === 'power') {
      await this.vagrant.powerOn(from);
      await this.#join(from);
    }
    await this.whole();
  }

  /** Restarts a whole machine, as an operator does, and waits until the pair is whole again. */
  async reboot(name: NodeName): Promise<void> {
    const machine = this.nodes[name];
    // The connection ends before the answer does.
    await machine.run('sudo systemctl reboot').catch(() => {});
    await until(
      `${name} goes down`,
      () =>
        machine.ask({ ask: 'clock' }, 2000).then(
          () => undefined,
          () => true,
        ),
      60_000,
    );
    machine.disconnect();
    this.#hold(name, false, monotonicMs());
    await this.#join(name);
    await this.whole();
  }

  /** @returns when it happened, on our clock */
  async #inflict(fault: FaultName, from: NodeName): Promise<number> {
    const node = this.nodes[from];
    const atMs = monotonicMs();
    switch (fault) {
      case 'cut':
        await this.vagrant.plug(from, this.#macs[from].at(-1)!, false);
        return atMs;
      case 'power':
        await this.vagrant.powerOff(from);
        this.#hold(from, false, atMs);
        node.disconnect();
        return atMs;
      case 'switchover':
        return node.ours((await node.ask({ ask: 'switchover' })) as number);
      case 'lb-kill':
      case 'agent-kill':
      case 'agent-stop': {
        const unit = fault === 'lb-kill' ? 'lbd' : 'ha-agent';
        const signal = fault === 'agent-stop' ? 'SIGSTOP' : 'SIGKILL';
        return node.ours((await node.ask({ ask: 'kill', unit, signal })) as number);
      }
      default:
        throw new Error(`${fault} cannot be inflicted on a virtual machine`);
    }
  }

  async #join(name: NodeName): Promise<void> {
    await this.nodes[name].connect();
    this.#macs[name] = (await this.nodes[name].ask({ ask: 'mac' })) as string[];
    this.#held[name] = (await this.status(name)).held;
  }

  async #events(name: NodeName): Promise<TimelineEvent[]> {
    const machine = this.nodes[name];
    const events = (await machine.ask({ ask: 'events' })) as ControlEvent[];
    return events.map((event) => ({ ...event, node: name, mono_ms: machine.ours(event.mono_ms) }));
  }

  async #neighbour(): Promise<NodeName | undefined> {
    const mac = (await this.net.ask({ ask: 'neighbour' })) as string;
    return NODES.find((name) => this.#macs[name].includes(mac));
  }

  #hold(name: NodeName, held: boolean, atMs: number): void {
    if (this.#held[name] === held) return;
    this.#held[name] = held;
    this.changes.push({ atMs, node: name, held });
  }
}

async function areServed(clients: Clients): Promise<boolean> {
  for (let left = WARM_UPS; left > 0; left--) {
    await sleep(STEADY_MS);
    const { probe, sticky, keptAlive } = await clients.report();
    if (keptAlive.broken > 0 || STICKY_KINDS.some((kind) => sticky[kind].kept < sticky[kind].total))
      return false;
    if (probe.requests > 0 && probe.failures === 0) return true;
  }
  return false;
}

function missingOn(name: NodeName, { agent, lbd }: NodeStatus): string[] {
  if (agent === undefined || lbd === undefined)
    return [`${name}: ${agent === undefined ? 'ha-agent' : 'lbd'} is silent`];
  const notReady = Object.entries(lbd.pools).flatMap(([pool, { backends }]) =>
    Object.entries(backends)
      .filter(([, backend]) => backend.state !== 'ready')
      .map(([backend, { state }]) => `${name}: ${pool}/${backend} is ${state}`),
  );
  return [
    ...notReady,
    ...(agent.peer.alive ? [] : [`${name} does not hear ${agent.peer.node}`]),
    ...(lbd.sync.state === 'synced' ? [] : [`sync on ${name} is ${lbd.sync.state}`]),
  ];
}
