import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ADDRESS, NODES } from './hosts.ts';
import { NODE, ROOT } from './lab.ts';
import type { Pair } from './pair.ts';
import { signalPid } from './signals.ts';
import { until } from './wait.ts';

export const WITNESS_PORT = 7473;
/** In the config of a pair, below `ha`. */
export const WITNESS = `{ lease: "${ADDRESS.witness}:${WITNESS_PORT}" }`;
const PROGRAM = join(ROOT, 'scripts/witness.ts');

/** The witness that grants leases, on a host of its own. */
export class LabWitness {
  readonly #pair: Pair;
  #process: ChildProcess | undefined;

  private constructor(pair: Pair) {
    this.#pair = pair;
  }

  /** With the key that a node prints. It grants nothing yet. */
  static async start(pair: Pair): Promise<LabWitness> {
    const { lab, configFile, directory } = pair;
    const key = await lab.exec('lb1', [NODE, PROGRAM, 'key', '--config', configFile, '--node', 'lb1']);
    writeFileSync(lab.outside(join(directory, 'witness.key')), key, { mode: 0o600 });
    const witness = new LabWitness(pair);
    witness.start();
    return witness;
  }

  start(): void {
    const { lab, directory } = this.#pair;
    const log = openSync(lab.outside(join(directory, 'witness.log')), 'a');
    const argv = [NODE, PROGRAM, '--key', join(directory, 'witness.key')];
    this.#process = lab.spawn('witness', argv, { stdio: ['ignore', log, log] });
    closeSync(log);
  }

  /** Waits until it grants leases to both nodes, and these rely on it. */
  async grants(): Promise<void> {
    await until('both nodes to be granted leases', async () => {
      const seen = await Promise.all(NODES.map((node) => this.#pair.status(node)));
      return seen.every(
        ({ lease, groups }) => lease?.state === 'grants' && groups.every((group) => group.lease?.bound),
      );
    });
  }

  /** `SIGSTOP`, `SIGCONT` and `SIGHUP` return at once, all others wait until it is gone. */
  async signal(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process!;
    const exit = once(child, 'exit');
    signalPid(child.pid!, signal);
    if (signal !== 'SIGSTOP' && signal !== 'SIGCONT' && signal !== 'SIGHUP') await exit;
  }
}
