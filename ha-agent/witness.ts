import { fileURLToPath } from 'node:url';
import type { WitnessStatus } from '../common/control.ts';
import { monotonicMs } from '../common/events.ts';
import type { WitnessConfig } from '../common/model.ts';
import type { WitnessResult } from './election-types.ts';
import { LineShell } from './line-shell.ts';

const SCRIPT = fileURLToPath(new URL('witness.sh', import.meta.url));
/** One lost packet is no isolation: so many checks in a row must fail. */
const FAILURES = 2;
/** A check that has said nothing by then hangs: programs are ended after their timeout. */
const HANG_MS = 1_000;
/** After the shell ended. */
const RESTART_MS = 1_000;
/** Exit codes of a program that could not be run. */
const NOT_PERMITTED = 126;
const NOT_FOUND = 127;

export interface WitnessEvents {
  /** A check ended. */
  onResult(result: WitnessResult): void;
  onTrouble(text: string): void;
}

/** How a takeover waits for a result: a check that is under way, and then enough failures in a row. */
export function witnessWaitMs({ timeoutMs }: WitnessConfig): number {
  return (1 + FAILURES) * timeoutMs + HANG_MS / 2;
}

/**
 * What the exit codes of one check mean.
 *
 * @param codes by address; of all addresses, unless one of them is 0
 * @returns whether a witness answers; undefined where none could be asked
 */
export function verdictOf(codes: ReadonlyMap<string, number>): boolean | undefined {
  const all = [...codes.values()];
  if (all.includes(0)) return true;
  return all.every((code) => code === NOT_FOUND || code === NOT_PERMITTED) ? undefined : false;
}

interface Check {
  readonly number: number;
  readonly sinceMs: number;
  readonly codes: Map<string, number>;
  readonly hang: NodeJS.Timeout;
}

/**
 * Asks the witnesses, in turn and whenever the election wants to know. What cannot be asked does not count: a missing
 * program must not cost an active node its role (fail static).
 */
export class Witness {
  #config: WitnessConfig | undefined;
  readonly #events: WitnessEvents;
  #shell: LineShell | undefined;
  #check: Check | undefined;
  #again = false;
  #number = 0;
  #failures = 0;
  #result: WitnessResult | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #running = false;

  /** @param config undefined: there is no witness */
  constructor(config: WitnessConfig | undefined, events: WitnessEvents) {
    this.#config = config;
    this.#events = events;
  }

  /** Of the latest check; undefined before the first one ended. */
  get result(): WitnessResult | undefined {
    return this.#result;
  }

  get warnings(): readonly string[] {
    return this.#result?.reachable === undefined && this.#result !== undefined
      ? [`the witness is ignored: ${this.#result.why}`]
      : [];
  }

  /** undefined: there is no witness. */
  status(): WitnessStatus | undefined {
    if (this.#config === undefined) return undefined;
    const addresses = this.#config.addresses.map(({ address }) => address);
    if (this.#result === undefined) return { addresses, state: 'unknown', why: 'not asked yet' };
    const { reachable, why } = this.#result;
    const state = reachable === undefined ? 'ignored' : reachable ? 'answers' : 'silent';
    return { addresses, state, why };
  }

  start(): void {
    this.#running = true;
    this.#begin();
  }

  /** Another config: begins anew. */
  configure(config: WitnessConfig | undefined): void {
    this.#end();
    this.#config = config;
    this.#result = undefined;
    this.#failures = 0;
    if (this.#running) this.#begin();
  }

  close(): void {
    this.#running = false;
    this.#end();
  }

  /** Begins a check now; while one is under way, another one follows it. */
  check(): void {
    if (this.#config === undefined || this.#shell === undefined) return;
    if (this.#check !== undefined) {
      this.#again = true;
      return;
    }
    const hang = setTimeout(() => this.#lost('the check does not answer'), this.#config.timeoutMs + HANG_MS);
    this.#check = { number: ++this.#number, sinceMs: monotonicMs(), codes: new Map(), hang };
    this.#shell.write(String(this.#number));
  }

  #begin(): void {
    if (this.#config === undefined) return;
    this.#shell = this.#start(this.#config);
    this.check();
    this.#timer = setInterval(() => this.check(), this.#config.intervalMs);
  }

  #start({ timeoutMs, addresses }: WitnessConfig): LineShell {
    const args = [(timeoutMs / 1000).toFixed(3)];
    for (const { address, interface: device, isNeighbour } of addresses)
      args.push(isNeighbour ? 'arping' : 'ping', device ?? '', address);
    return new LineShell(SCRIPT, args, {
      onLine: (line) => this.#read(line),
      onEnded: (why) => this.#lost(`cannot be asked: ${why}`),
    });
  }

  #end(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#retry);
    clearTimeout(this.#check?.hang);
    this.#check = undefined;
    this.#again = false;
    this.#shell?.close();
    this.#shell = undefined;
  }

  /** What is not known does not count. */
  #lost(why: string): void {
    const sinceMs = monotonicMs();
    // One that stands still would not end by itself.
    const shell = this.#shell;
    this.#end();
    shell?.kill(why);
    this.#events.onTrouble(`${why}; trying again`);
    this.#settle({ reachable: undefined, why, sinceMs });
    if (this.#running) this.#retry = setTimeout(() => this.#begin(), RESTART_MS);
  }

  #read(line: string): void {
    const [number, address = '', code] = line.split(' ');
    const check = this.#check;
    if (check === undefined || Number(number) !== check.number) return;
    check.codes.set(address, Number(code));
    if (Number(code) === 0 || check.codes.size === this.#config?.addresses.length) this.#finish(check);
  }

  #finish(check: Check): void {
    clearTimeout(check.hang);
    this.#check = undefined;
    const reachable = verdictOf(check.codes);
    this.#failures = reachable === false ? this.#failures + 1 : 0;
    const isDoubtful = reachable === false && this.#failures < FAILURES;
    const order = this.#config?.addresses.map(({ address }) => address) ?? [];
    if (!isDoubtful) this.#settle({ reachable, why: explain(check.codes, order), sinceMs: check.sinceMs });
    const again = this.#again || isDoubtful;
    this.#again = false;
    if (again) this.check();
  }

  #settle(result: WitnessResult): void {
    this.#result = result;
    this.#events.onResult(result);
  }
}

/** @param order of the addresses, so that the same outcome reads the same */
function explain(codes: ReadonlyMap<string, number>, order: readonly string[]): string {
  const [answering] = [...codes].find(([, code]) => code === 0) ?? [];
  if (answering !== undefined) return `${answering} answers`;
  const reason = (code: number | undefined) =>
    code === NOT_FOUND
      ? 'there is no program to ask it with (arping and ping of iputils, timeout of coreutils)'
      : code === NOT_PERMITTED
        ? 'no permission to ask it'
        : 'no answer';
  return `no witness answers (${order.map((address) => `${address}: ${reason(codes.get(address))}`).join(', ')})`;
}
