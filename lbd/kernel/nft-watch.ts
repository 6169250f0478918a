import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { messageOf } from '../../common/errors.ts';
import { TABLE } from './ruleset.ts';

const RESTART_MS = 1_000;

/** A change of lbd's table, by whom. */
export interface Meddler {
  readonly pid: number;
  readonly program: string;
}

export interface NftWatchOptions {
  /** Somebody's transaction, perhaps one of ours, changed lbd's table. */
  onChange(by: Meddler): void;
  /** Changes may have been missed. */
  onGap(): void;
  /** It does not run, and why; once for each cause. */
  onTrouble(text: string): void;
}

/** `# new generation 7 by process 4711 (nft)`: the end of a transaction. */
const GENERATION = /^# new generation \d+ by process (\d+) \((.*)\)$/;
const OURS = new RegExp(`\\b(table|chain|rule|set|map|element) inet ${TABLE}(\\s|$)`);

/** Collects the lines of `nft monitor` and says for each transaction whether it touched lbd's table, and whose it was. */
export class MonitorLines {
  #touched = false;

  /** @returns who changed the table, at the end of a transaction that did */
  take(line: string): Meddler | undefined {
    const end = GENERATION.exec(line);
    if (end === null) {
      this.#touched ||= OURS.test(line);
      return undefined;
    }
    const touched = this.#touched;
    this.#touched = false;
    return touched ? { pid: Number(end[1]), program: end[2]! } : undefined;
  }
}

/** Follows what happens to the host's ruleset, through one long-lived `nft monitor`. */
export class NftWatch {
  readonly #options: NftWatchOptions;
  #child: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #closed = false;
  #trouble = '';

  constructor(options: NftWatchOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#child !== undefined || this.#closed) return;
    clearTimeout(this.#restart);
    const child = spawn('nft', ['monitor'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, LC_ALL: 'C' },
    });
    this.#child = child;
    const lines = new MonitorLines();
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#trouble = '';
      const by = lines.take(line);
      if (by !== undefined) this.#options.onChange(by);
    });
    child.once('error', (error) => {
      this.#ended(messageOf(error));
    });
    child.once('exit', (code, signal) => this.#ended(`it ended (${signal ?? code})`));
    child.once('spawn', () => this.#options.onGap());
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#restart);
    this.#child?.kill('SIGKILL');
  }

  #ended(cause: string): void {
    if (this.#child === undefined) return;
    this.#child = undefined;
    if (this.#closed) return;
    if (this.#trouble !== cause) this.#options.onTrouble(`nft monitor: ${cause}`);
    this.#trouble = cause;
    this.#restart = setTimeout(() => this.start(), RESTART_MS);
  }
}
