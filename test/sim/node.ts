import type { AgentStatus, Role } from '../../common/control.ts';
import type { Agent } from '../../ha-agent/agent.ts';
import { AgentProcess, leaveProcess } from './agent-process.ts';
import { type ConfigChoice, configOf, VIPS } from './config.ts';
import { Lbd } from './lbd.ts';
import type { Machine } from './machine.ts';
import type { Network } from './network.ts';
import { newAgent } from './product.ts';

/** A service manager starts a daemon that ended again after so long. */
const RESTART_MS = 100;

const DEVICES = ['eth0', 'eth1'] as const;

/** Programs that this node would not see or decide something without: what one of them was asked for is done, or given up. */
const EYES: ReadonlySet<string> = new Set(['ip', 'witness.sh']);

/** How the agent says its role in its log. */
const ROLE = /^(?:group (\w+): )?(init|standby|active|fault) \(epoch (\d+)\): /;

/** How it says that it gets its processor late, or in time again. */
const LATENESS = /^(?:group (\w+): )?this process gets its processor (late|in time)/;

/** How it says that it hears its peer, or does not any more. */
const HEARING = /^(?:group (\w+): )?lb[12] is (?:(heard) \(|dead: )/;

/** A node: a machine on which the real agent runs, beside a simulated `lbd`. */
export class Node {
  readonly machine: Machine;
  readonly lbd: Lbd;
  /** The file that it has read last. */
  choice: ConfigChoice;
  peer!: Node;
  agent: Agent | undefined;
  readonly #roles = new Map<string, Role>();
  /** Groups in which it hears its peer. */
  readonly #hearing = new Set<string>();
  /** Groups in which it is patient, since it gets its processor late. */
  readonly #late = new Set<string>();
  /** The agent's start has ended. */
  started = false;
  /** A graceful stop is under way. */
  stopping = false;
  secret = 1;
  readonly network: Network;
  readonly #problem: (text: string) => void;
  #crashedMs = Number.NEGATIVE_INFINITY;

  constructor(machine: Machine, network: Network, choice: ConfigChoice, problem: (text: string) => void) {
    this.machine = machine;
    this.choice = choice;
    this.network = network;
    this.lbd = new Lbd(machine, network);
    this.#problem = problem;
  }

  get name(): string {
    return this.machine.name;
  }

  get up(): boolean {
    return this.machine.agent !== undefined;
  }

  /** Of a group, as its agent said last; undefined while none runs. */
  role(group: string): Role | undefined {
    return this.up ? this.#roles.get(group) : undefined;
  }

  /** Whether it hears its peer speak of a group, as its agent said last. */
  hears(group: string): boolean {
    return this.up && this.#hearing.has(group);
  }

  /** Whether it gets its processor late, as its agent said last: until then it does not take its role back. */
  isLate(group: string): boolean {
    return this.up && this.#late.has(group);
  }

  /** Nothing of it is wrong, and nothing is under way but what goes on for ever. */
  get isWell(): boolean {
    const { machine, lbd } = this;
    const { paused, paces, kernel, children } = machine;
    return (
      this.up &&
      this.started &&
      !this.stopping &&
      this.guardian !== undefined &&
      lbd.serves &&
      paused === undefined &&
      paces.size === 0 &&
      ![...children.values()].some(({ name, lingers }) => lingers && EYES.has(name)) &&
      kernel.tables.size === 0 &&
      DEVICES.every((device) => kernel.works(device)) &&
      !VIPS.some((vip) => kernel.parks(vip))
    );
  }

  /** What `lbctl status` would show. */
  status(): AgentStatus | undefined {
    const { agent } = this;
    if (agent === undefined || !this.started) return undefined;
    let status: AgentStatus | undefined;
    this.machine.agent?.enter(() => {
      status = agent.status();
    });
    leaveProcess();
    return status;
  }

  #hear(line: string): void {
    const [, group = 'default', role] = ROLE.exec(line) ?? [];
    if (role !== undefined) {
      this.#roles.set(group, role as Role);
      this.machine.version++;
    }
    const [about, of = 'default', heard] = HEARING.exec(line) ?? [];
    if (about !== undefined) {
      if (heard === undefined) this.#hearing.delete(of);
      else this.#hearing.add(of);
      this.machine.version++;
    }
    const [isSaid, which = 'default', when] = LATENESS.exec(line) ?? [];
    if (isSaid !== undefined) {
      if (when === 'late') this.#late.add(which);
      else this.#late.delete(which);
    }
    this.machine.log(line);
  }

  /** Its operator or service manager starts the agent, unless it runs. */
  start(): void {
    const { machine } = this;
    const soonMs = this.#crashedMs + RESTART_MS;
    if (this.up && this.stopping) this.crash();
    if (this.up || !machine.on) return;
    if (machine.sim.now < soonMs || machine.paused !== undefined) {
      machine.sim.at(Math.max(soonMs, machine.sim.now + RESTART_MS), () => this.start());
      return;
    }
    machine.log('the agent starts');
    this.started = false;
    this.stopping = false;
    this.#roles.clear();
    this.#hearing.clear();
    this.#late.clear();
    const process = new AgentProcess(machine, (error) => {
      this.#problem(`${this.name} threw ${error instanceof Error ? error.stack : String(error)}`);
      this.crash();
    });
    machine.agent = process;
    const config = configOf(this.name, this.choice);
    process.inputLater(0, () => {
      const agent = newAgent({
        config,
        secret: this.secret,
        log: (line) => this.#hear(line),
      });
      this.agent = agent;
      agent.start().then(
        () => {
          this.started = true;
        },
        (error: unknown) => {
          machine.log(`the agent ends: ${error instanceof Error ? error.message : String(error)}`);
          this.#end(process);
        },
      );
    });
  }

  /** `kill -9`. */
  crash(): void {
    const { agent } = this.machine;
    if (agent === undefined) return;
    this.machine.log('the agent is killed');
    this.#crashedMs = this.machine.sim.now;
    agent.die();
    leaveProcess();
  }

  /** SIGTERM. */
  stop(): void {
    if (!this.up || !this.started || this.stopping) return;
    this.machine.log('the agent is told to stop');
    this.stopping = true;
    const process = this.machine.agent!;
    process.inputLater(0, () => {
      this.agent!.stop().then(
        () => this.#end(process),
        (error: unknown) => this.#problem(`${this.name} failed to stop: ${String(error)}`),
      );
    });
  }

  #end(process: AgentProcess): void {
    this.#crashedMs = this.machine.sim.now;
    process.die();
    this.machine.sim.after(RESTART_MS, () => {
      if (!this.stopping) this.start();
    });
  }

  /** SIGHUP. */
  reload(choice: ConfigChoice): void {
    this.machine.log(`reloads ${JSON.stringify(choice)}`);
    this.choice = choice;
    const config = configOf(this.name, choice);
    this.#ask((agent) => void agent.reload(config));
  }

  /** `lbctl switchover`. */
  switchover(group?: string): void {
    this.machine.log('is asked for a switchover');
    this.#ask((agent) => {
      agent.switchover(undefined, group).then(
        (text) => this.machine.log(`switchover: ${text}`),
        (error: unknown) => this.machine.log(`switchover: ${String(error)}`),
      );
    });
  }

  #ask(run: (agent: Agent) => void): void {
    const { agent } = this;
    if (!this.up || !this.started || agent === undefined) return;
    this.machine.agent!.inputLater(0, () => run(agent));
  }

  killGuardian(): void {
    const guardian = this.guardian;
    if (guardian === undefined) return;
    this.machine.log('the guardian is killed');
    guardian.kill('SIGKILL');
  }

  get guardian(): ReturnType<Machine['children']['get']> {
    return [...this.machine.children.values()].findLast(({ name }) => name === 'guardian.sh');
  }

  powerOff(): void {
    this.lbd.powerOff();
    this.machine.powerOff();
    leaveProcess();
  }

  powerOn(): void {
    if (!this.machine.on) this.machine.powerOn();
    this.lbd.start();
    this.start();
  }
}
