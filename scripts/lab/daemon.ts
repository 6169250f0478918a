import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { PROGRAM_FOLDERS } from '../../common/programs.ts';
import type { NodeName } from './hosts.ts';
import { type Lab, NODE, ROOT } from './lab.ts';
import { GiveUp } from './wait.ts';

export const DAEMONS = ['lbd', 'ha-agent'] as const;
export type DaemonName = (typeof DAEMONS)[number];

/** One daemon on one node, as the service manager of a real node would run it. */
export class Daemon {
  readonly name: DaemonName;
  readonly node: NodeName;
  /** What it wrote to its standard output and error. */
  readonly logFile: string;
  readonly #lab: Lab;
  readonly #env: NodeJS.ProcessEnv;
  readonly #flags: readonly string[];
  /** Source tree whose program runs at the next start. */
  tree = ROOT;
  /** Command line in front of it at the next start, such as one that makes it another user. */
  as: readonly string[] = [];
  /** More flags at the next start. */
  flags: readonly string[] = [];
  #process: ChildProcess | undefined;

  /**
   * @param directory on the hosts, where the config is; the node's run directory and log files go below it
   * @param firstInPath a directory on the hosts whose programs go before all others
   */
  constructor(
    lab: Lab,
    name: DaemonName,
    node: NodeName,
    directory: string,
    config: string,
    firstInPath?: string,
  ) {
    this.#env =
      firstInPath === undefined ? {} : { TANDEM_PROGRAMS: `${firstInPath}${delimiter}${PROGRAM_FOLDERS}` };
    this.name = name;
    this.node = node;
    this.#lab = lab;
    this.logFile = lab.outside(join(directory, `${node}.${name}.log`));
    const runDirectory = join(directory, node);
    mkdirSync(lab.outside(runDirectory), { recursive: true, mode: 0o750 });
    this.#flags = ['--config', config, '--node', node, '--run-dir', runDirectory];
  }

  get running(): boolean {
    const child = this.#process;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** @returns the pid of the daemon itself @throws Error when it does not run */
  get pid(): number {
    const pid = this.#process?.pid;
    if (!this.running || pid === undefined) throw new Error(`${this.name} on ${this.node} does not run`);
    return pid;
  }

  start(): void {
    if (this.running) throw new Error(`${this.name} on ${this.node} runs already`);
    const log = openSync(this.logFile, 'a');
    const main = join(this.tree, this.name, 'main.ts');
    const argv = [...this.as, NODE, '--disable-sigusr1', main, ...this.#flags, ...this.flags];
    this.#process = this.#lab.spawn(this.node, argv, { stdio: ['ignore', log, log], env: this.#env });
    closeSync(log);
  }

  /** @param signal `SIGSTOP` and `SIGCONT` return at once, all others wait until it is gone */
  async signal(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process!;
    process.kill(this.pid, signal);
    if (signal !== 'SIGSTOP' && signal !== 'SIGCONT' && signal !== 'SIGHUP') await once(child, 'exit');
  }

  /** @throws GiveUp with its last words when it has ended */
  requireRunning(): void {
    if (!this.running) throw new GiveUp(`${this.name} on ${this.node} ended: ${this.lastWords()}`);
  }

  lastWords(): string {
    try {
      return readFileSync(this.logFile, 'utf8').trim().split('\n').slice(-3).join(' | ').slice(-1000);
    } catch {
      return 'it said nothing';
    }
  }
}
