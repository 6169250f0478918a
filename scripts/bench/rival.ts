import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { basename, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { OperatorError } from '../../common/errors.ts';
import { SHARED } from '../lab/holder.ts';
import { INTERFACE, NODES, type NodeName, PREFIX, VIP } from '../lab/hosts.ts';
import type { Lab } from '../lab/lab.ts';
import { hasTool } from '../lab/missing.ts';
import { Neighbour } from '../lab/neighbour.ts';
import { OwnershipWatch } from '../lab/ownership.ts';
import { signalPid } from '../lab/signals.ts';
import type { Part, TestedPair, TimelineEvent } from '../lab/tested-pair.ts';
import { until } from '../lab/wait.ts';
import { haproxyConfig, keepalivedConfig, type RivalFiles } from './rival-config.ts';

/** Programs that must be there, by Debian package. */
const TOOLS = { keepalived: 'keepalived', haproxy: 'haproxy', pkill: 'procps' } as const;

/** keepalived + HAProxy from Debian as a pair, on the same hosts and for the same clients as Tandem. */
export class Rival implements TestedPair {
  readonly lab: Lab;
  readonly ownership: OwnershipWatch;
  /** VRRP has one way only, so this is all of it. */
  readonly onePath = 'ip protocol 112';
  readonly #directory: string;
  readonly #neighbour: Neighbour;

  private constructor(lab: Lab, directory: string, neighbour: Neighbour, ownership: OwnershipWatch) {
    this.lab = lab;
    this.#directory = directory;
    this.#neighbour = neighbour;
    this.ownership = ownership;
  }

  /** @throws OperatorError naming the packages that are missing */
  static requireTools(): void {
    const missing = Object.entries(TOOLS).filter(([tool]) => !hasTool(tool));
    if (missing.length === 0) return;
    const packages = missing.map(([, name]) => name).join(' ');
    throw new OperatorError(
      'MISSING',
      `the peer to compare with is not installed: sudo apt-get install ${packages}`,
    );
  }

  /** Starts both nodes. @returns once the pair is whole */
  static async start(lab: Lab, heartbeatMs: number): Promise<Rival> {
    const outside = mkdtempSync(lab.outside(join(SHARED, 'rival-')));
    const directory = join(SHARED, basename(outside));
    for (const node of NODES) {
      mkdirSync(join(outside, node));
      const files = filesOf(directory, node);
      writeFileSync(lab.outside(files.keepalived), keepalivedConfig(node, heartbeatMs, files), {
        mode: 0o600,
      });
      writeFileSync(lab.outside(files.haproxy), haproxyConfig(files));
    }
    const rival = new Rival(lab, directory, await Neighbour.of(lab), await OwnershipWatch.start(lab));
    try {
      await rival.restart();
    } catch (error) {
      await rival.stop();
      throw error;
    }
    return rival;
  }

  active(): NodeName {
    const [holder, ...more] = this.ownership.holders();
    if (holder === undefined || more.length > 0) throw new Error(this.ownership.describe());
    return holder;
  }

  pids(node: NodeName, part: Part): number[] {
    const program = { agent: 'keepalived', balancer: 'haproxy', guardian: undefined }[part];
    if (program === undefined) return [];
    const lines = this.lab.commands(node).map((line) => line.split(' '));
    return lines.filter(([, file = '']) => basename(file) === program).map(([pid]) => Number(pid));
  }

  async startNode(node: NodeName): Promise<void> {
    const { keepalived, haproxy, pid } = filesOf(this.#directory, node);
    const { lab } = this;
    if (this.pids(node, 'balancer').length === 0) {
      const argv = ['haproxy', '-db', '-q', '-L', node, '-f', haproxy];
      const balancer = this.#spawn(node, argv);
      writeFileSync(lab.outside(pid), `${balancer.pid}\n`);
    }
    if (this.pids(node, 'agent').length === 0)
      this.#spawn(node, ['keepalived', '-n', '-l', '-D', '-P', '-f', keepalived]);
  }

  /** Its way to hand over: the active keepalived is stopped and says so. */
  async switchover(node: NodeName): Promise<void> {
    for (const pid of this.pids(node, 'agent').slice(0, 1)) signalPid(pid, 'SIGTERM');
  }

  /** Ends all of it and starts anew: not every fault leaves it able to heal by itself. */
  async restart(): Promise<void> {
    await this.#kill();
    for (const node of NODES) await this.startNode(node);
    await this.whole();
  }

  /** One holder, and both balancers have told each other their tables. */
  async whole(): Promise<void> {
    await until('keepalived + HAProxy are whole', async () => {
      if (this.ownership.holders().length !== 1)
        throw new Error(`${this.ownership.describe()}; ${this.#lastWords()}`);
      for (const node of NODES) {
        if (!inStep(await this.#ask(node, 'show peers')))
          throw new Error(`the HAProxy of ${node} and its peer are not in step`);
      }
      return true;
    });
  }

  neighbour(): Promise<NodeName | undefined> {
    return this.#neighbour.now();
  }

  async events(): Promise<TimelineEvent[]> {
    return [];
  }

  async stop(): Promise<void> {
    await this.#kill();
    await this.ownership.close();
  }

  async #kill(): Promise<void> {
    for (const node of NODES) {
      // Again and again: what was just started may still be on its way to its host.
      await until(`nothing runs on ${node}`, () => {
        this.lab.killAll(node);
        return this.lab.processes(node).length === 0 || undefined;
      });
      // As after a boot: keepalived takes what it finds for a daemon that runs.
      await this.lab.run(node, ['rm', '-f', '/run/keepalived.pid', '/run/vrrp.pid']);
      await this.lab.run(node, ['ip', 'addr', 'del', `${VIP}/${PREFIX}`, 'dev', INTERFACE]);
    }
  }

  #spawn(node: NodeName, argv: readonly string[]): ChildProcess {
    const log = openSync(this.lab.outside(filesOf(this.#directory, node).log), 'a');
    try {
      return this.lab.spawn(node, argv, { stdio: ['ignore', log, log] });
    } finally {
      closeSync(log);
    }
  }

  #lastWords(): string {
    const texts = NODES.map((node) =>
      readFileSync(this.lab.outside(filesOf(this.#directory, node).log), 'utf8'),
    );
    return texts.map((text) => text.trim().split('\n').slice(-3).join(' | ')).join(' || ');
  }

  #ask(node: NodeName, command: string): Promise<string> {
    const socket = connect(this.lab.outside(filesOf(this.#directory, node).socket));
    socket.setTimeout(1000, () => socket.destroy(new Error(`the HAProxy of ${node} does not answer`)));
    socket.end(`${command}\n`);
    return text(socket);
  }
}

/** With traffic there is always something on its way to the peer. */
const ON_THE_WAY = 10;

/** @param peers answer to `show peers` @returns whether the other node is connected and has been told the tables */
function inStep(peers: string): boolean {
  const remote = peers.split(/\n {2}(?=0x)/).find((block) => block.includes('(remote,active)'));
  if (remote?.includes('last_status=ESTA') !== true) return false;
  const tables = remote.matchAll(/last_pushed=(\d+)[\s\S]*?localupdate=(\d+)/g);
  return tables.every(([, pushed, local]) => Number(local) - Number(pushed) <= ON_THE_WAY);
}

function filesOf(directory: string, node: NodeName): RivalFiles {
  const own = join(directory, node);
  return {
    keepalived: join(own, 'keepalived.conf'),
    haproxy: join(own, 'haproxy.cfg'),
    pid: join(own, 'haproxy.pid'),
    socket: join(own, 'haproxy.sock'),
    log: join(own, 'log'),
  };
}
