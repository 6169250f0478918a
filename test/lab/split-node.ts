import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SOCKETS } from '../../common/control.ts';
import type { NodeName } from '../../scripts/lab/hosts.ts';
import { type Lab, NODE, ROOT } from '../../scripts/lab/lab.ts';
import { until } from '../../scripts/lab/wait.ts';
import { KernelNode } from './kernel-node.ts';

/** User and group of lbd and of its helper, which own nothing else. */
export const LBD = 64_001;
export const HELPER = 64_002;

/** A command line that gives a program another user, these groups and these capabilities, as a unit does. */
export function as(
  id: number,
  capabilities: string | readonly string[] = [],
  groups: readonly number[] = [],
): string[] {
  const kept = ['-all', ...[capabilities].flat().map((name) => `+${name}`)].join(',');
  const more = groups.length === 0 ? ['--clear-groups'] : ['--groups', groups.join(',')];
  const sets = ['--inh-caps', kept, '--ambient-caps', kept, '--bounding-set', kept];
  return ['setpriv', '--reuid', `${id}`, '--regid', `${id}`, ...more, ...sets, '--'];
}

/** What the helper of the kernel engine is started with; paths are those on the host. */
export interface HelperStart {
  readonly as: readonly string[];
  readonly config: string;
  readonly runDirectory: string;
  readonly stateDirectory?: string;
  /** Outside of the lab's hosts. */
  readonly log: string;
}

export function spawnHelper(lab: Lab, node: NodeName, start: HelperStart): ChildProcess {
  const log = openSync(start.log, 'a');
  const main = join(ROOT, 'lbd/kernel/helper/main.ts');
  const flags = ['--config', start.config, '--node', node, '--run-dir', start.runDirectory];
  const state = start.stateDirectory === undefined ? [] : ['--state-dir', start.stateDirectory];
  const argv = [...start.as, NODE, '--disable-sigusr1', main, ...flags, ...state];
  const child = lab.spawn(node, argv, { stdio: ['ignore', log, log] });
  closeSync(log);
  return child;
}

/** A node whose lbd may listen and no more, with the helper that may change the kernel. */
export class SplitNode extends KernelNode {
  #helper: ChildProcess | undefined;
  readonly #log: string;

  constructor(lab: Lab, config: string, name: NodeName) {
    super(lab, config, name);
    const outside = lab.outside(this.directory);
    const run = join(outside, name);
    this.#log = join(outside, 'helper.log');
    this.lbd.as = as(LBD, 'net_bind_service');
    for (const folder of [outside, run]) chmodSync(folder, 0o755);
    chownSync(join(outside, 'secret'), LBD, LBD);
    for (const folder of ['lb', 'live', 'state']) {
      mkdirSync(join(run, folder), { mode: 0o750 });
      chownSync(join(run, folder), LBD, LBD);
    }
    mkdirSync(join(run, 'net'));
    chownSync(join(run, 'net'), HELPER, LBD);
    chmodSync(join(run, 'net'), 0o2750);
  }

  /** Path of the helper's socket, on the node. */
  get socket(): string {
    return join(this.directory, this.name, SOCKETS.kernel);
  }

  get helperPid(): number {
    return this.#helper!.pid!;
  }

  startHelper(): void {
    const runDirectory = join(this.directory, this.name);
    this.#helper = spawnHelper(this.lab, this.name, {
      as: as(HELPER, 'net_admin'),
      config: join(this.directory, 'tandem.yaml'),
      runDirectory,
      stateDirectory: join(runDirectory, 'net'),
      log: this.#log,
    });
  }

  async killHelper(): Promise<void> {
    const gone = once(this.#helper!, 'exit');
    process.kill(this.helperPid, 'SIGKILL');
    await gone;
  }

  /** Waits until the helper has said so. */
  async helperSays(what: RegExp): Promise<void> {
    await until(`the helper says ${what}`, () => {
      const said = readFileSync(this.#log, 'utf8');
      if (what.test(said)) return true;
      throw new Error(said.slice(-500));
    });
  }

  /** Waits until lbd warns of this, or of nothing like it any more. */
  async warns(what: RegExp, isThere = true): Promise<void> {
    await until(`${isThere ? 'a' : 'no'} warning ${what}`, async () => {
      const { warnings } = await this.status();
      if (warnings.some((line) => what.test(line)) === isThere) return true;
      throw new Error(warnings.join('; '));
    });
  }

  /** All rules of the node, without what counts or times out. */
  async rules(): Promise<string> {
    return this.lab.exec(this.name, ['nft', '-s', 'list', 'ruleset']);
  }
}
