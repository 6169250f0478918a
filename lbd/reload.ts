import { isDeepStrictEqual } from 'node:util';
import { ConfigError, messageOf } from '../common/errors.ts';
import type { Config } from '../common/model.ts';
import { bindsOf, type NamedBind } from './preflight.ts';

/** The reload error of the status; the log has every problem. */
const MAX_ERROR_CHARS = 2000;

export interface ConfigChanges {
  /** Addresses that are listened on for the first time and whose port nothing of ours holds already. */
  readonly newBinds: readonly NamedBind[];
  /** In words, such as `pool web changed`; empty when nothing that matters here differs. */
  readonly changes: readonly string[];
}

/** What differs between the config that runs and the next one. */
export function compareConfigs(running: Config, next: Config): ConfigChanges {
  const portOf = ({ protocol, port }: NamedBind) => `${protocol} ${port}`;
  const heldPorts = new Set(bindsOf(running).map(portOf));
  return {
    newBinds: bindsOf(next).filter((bind) => !heldPorts.has(portOf(bind))),
    changes: [
      ...compareNamed('frontend', running.frontends, next.frontends),
      ...compareNamed('pool', running.pools, next.pools),
      ...(isDeepStrictEqual(running.admin, next.admin) ? [] : ['admin changed']),
    ],
  };
}

function compareNamed<T extends { readonly name: string }>(
  what: string,
  before: readonly T[],
  after: readonly T[],
): string[] {
  const old = new Map(before.map((item) => [item.name, item]));
  const changes: string[] = [];
  for (const item of after) {
    const was = old.get(item.name);
    old.delete(item.name);
    if (was === undefined) changes.push(`${what} ${item.name} added`);
    else if (!isDeepStrictEqual(was, item)) changes.push(`${what} ${item.name} changed`);
  }
  for (const name of old.keys()) changes.push(`${what} ${name} removed`);
  return changes;
}

/** Settings that a running `lbd` keeps until its next start, one line each, with the value in force. */
export function restartNeeded(started: Config, now: Config): string[] {
  const facts: [what: string, value: (config: Config) => unknown][] = [
    ['workers', (c) => c.workers],
    ['sessions.capacity', (c) => c.sessions.capacity],
    ['sync.port', (c) => c.sync.port],
    ['cluster.name', (c) => c.cluster?.name],
    ['cluster.secret_file', (c) => c.cluster?.secretFile],
    ['the name of this node', (c) => c.cluster?.self.name],
    ['the address of this node', (c) => c.cluster?.self.address],
    ['the name of the peer', (c) => c.cluster?.peer.name],
    ['the address of the peer', (c) => c.cluster?.peer.address],
  ];
  return facts.flatMap(([what, value]) => {
    const old = value(started);
    const wanted = value(now);
    return old === wanted
      ? []
      : [
          `${what} is now ${wanted ?? 'not set'}, but needs a restart of lbd; ${old ?? 'not set'} is in force`,
        ];
  });
}

export interface ReloaderOptions {
  /** The config that `lbd` started with. */
  readonly started: Config;
  /** Reads and checks the file. @throws ConfigError */
  load(): Config;
  /** See `preflight`. */
  preflight(binds: readonly NamedBind[]): Promise<string[]>;
  /**
   * Puts a config that was checked in force.
   *
   * @returns what of it could not be done, one line each
   * @throws OperatorError when it does not fit; nothing is changed then
   */
  apply(next: Config): Promise<string[]>;
  /** What became of a reload, one line each. */
  tell(level: 'info' | 'warn', text: string): void;
}

/**
 * Follows the config file: reads it again when asked, checks it, and puts it in force or refuses it whole. What
 * runs goes on whatever happens.
 */
export class Reloader {
  readonly #options: ReloaderOptions;
  #config: Config;
  #error: string | undefined;
  #running: Promise<void> | undefined;
  #again = false;

  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#config = options.started;
  }

  /** The config in force. */
  get config(): Config {
    return this.#config;
  }

  /** Why the last reload was refused or is not wholly in force; undefined when all is well. */
  get error(): string | undefined {
    return this.#error;
  }

  warnings(): string[] {
    return restartNeeded(this.#options.started, this.#config);
  }

  /** Never rejects. A call during a reload makes it run once more. */
  reload(): Promise<void> {
    if (this.#running !== undefined) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#loop().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #loop(): Promise<void> {
    do {
      this.#again = false;
      try {
        await this.#reloadOnce();
      } catch (error) {
        this.#refuse(error instanceof ConfigError ? linesOf(error) : [messageOf(error)]);
      }
    } while (this.#again);
  }

  async #reloadOnce(): Promise<void> {
    const { load, preflight, apply, tell } = this.#options;
    const next = load();
    const running = this.#config;
    const { newBinds, changes } = compareConfigs(running, next);
    const taken = await preflight(newBinds);
    if (taken.length > 0) {
      this.#refuse(taken);
      return;
    }
    const problems = await apply(next);
    this.#config = next;
    const restart = this.warnings();
    for (const line of restart) tell('warn', line);
    if (problems.length > 0) {
      for (const line of problems) tell('warn', `reload: ${line}`);
      this.#error = `in force except: ${problems.join('; ')}`.slice(0, MAX_ERROR_CHARS);
      return;
    }
    this.#error = undefined;
    const what = changes.length > 0 ? changes.join(', ') : 'nothing changed for lbd';
    tell('info', `reload: ${next.file} is in force: ${what}`);
  }

  #refuse(lines: readonly string[]): void {
    for (const line of lines) this.#options.tell('warn', `reload refused, the old config stays: ${line}`);
    this.#error = lines.join('; ').slice(0, MAX_ERROR_CHARS);
  }
}

function linesOf(error: ConfigError): string[] {
  return error.problems.map((problem) => `${problem.where}: ${problem.message}`);
}
