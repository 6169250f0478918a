import { setImmediate as nextTurn } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { ConfigStanding, type Substitute } from '../../common/config-standing.ts';
import { type ReloadAnswer, refusedReload } from '../../common/control.ts';
import { problemLines } from '../../common/errors.ts';
import type { Config } from '../../common/model.ts';
import { ReloadQueue } from '../../common/reload-queue.ts';
import type { Keys } from '../../common/secret.ts';
import { bindsOf, type NamedBind } from './preflight.ts';

/** Of what could not be done of a config; the log has every problem. */
const MAX_CHARS = 2000;

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
      ...(isDeepStrictEqual(running.resolver, next.resolver) ? [] : ['resolver changed']),
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
    ['direct_io', (c) => c.directIo ?? true],
    ['sessions.capacity', (c) => c.sessions.capacity],
    ['sync.port', (c) => c.sync.port],
    ['cluster.name', (c) => c.cluster?.name],
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

/** A config that was read and checked. */
export interface Candidate {
  readonly config: Config;
  /** Equal for configs that are equal in all that lbd looks at. */
  readonly fingerprint: string;
  /** Of the session sync. */
  readonly keys?: Keys | undefined;
  /** Of the file. */
  readonly text: string;
}

export interface ReloaderOptions {
  /** The config that `lbd` started with. */
  readonly started: Candidate;
  /** Where that is not the config of the file. */
  readonly substitute?: Substitute | undefined;
  /** Reads and checks the file, without holding up this thread. Rejects with ConfigError or OperatorError. */
  load(): Promise<Candidate>;
  /** See `preflight`. */
  preflight(binds: readonly NamedBind[]): Promise<string[]>;
  /** @throws OperatorError when a config does not fit */
  checkFit(next: Config): void;
  /**
   * Puts a config that was checked in force.
   *
   * @returns what of it could not be done, one line each
   * @throws OperatorError when it does not fit; nothing is changed then
   */
  apply(next: Config, keys: Keys | undefined): Promise<string[]>;
  /** All that the file says is in force. */
  accepted(text: string): void;
  /** What became of a reload, one line each. @returns the time of day, for people */
  tell(level: 'info' | 'warn', text: string): string;
}

/**
 * Follows the config file: reads it again when asked, checks it, and puts it in force or refuses it whole. What
 * runs goes on whatever happens.
 */
export class Reloader {
  readonly #options: ReloaderOptions;
  readonly #queue = new ReloadQueue(() => this.#reload());
  #current: Candidate;
  readonly #standing: ConfigStanding;
  /** What of the config in force could not be done. */
  #except: string | undefined;

  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#current = options.started;
    this.#standing = new ConfigStanding('lbd', options.substitute);
  }

  /** The config in force. */
  get config(): Config {
    return this.#current.config;
  }

  /** Why the last reload was refused or is not wholly in force; undefined when all is well. */
  get error(): string | undefined {
    return this.#standing.why ?? this.#except;
  }

  warnings(): string[] {
    return [
      ...this.#standing.warnings(),
      ...(this.#except === undefined ? [] : [`lbd has loaded the config file, ${this.#except}`]),
      ...this.#restartNeeded(),
    ];
  }

  /** Never rejects. All who call during a reload share the next one. */
  reload(): Promise<ReloadAnswer> {
    return this.#queue.ask();
  }

  /** What `reload` would do. Changes nothing and never rejects. */
  async check(): Promise<ReloadAnswer> {
    try {
      const next = await this.#options.load();
      const { changes } = await this.#judge(next);
      return {
        outcome: this.#isInForce(next) ? 'unchanged' : 'accepted',
        changes,
        problems: [],
        warnings: [],
      };
    } catch (error) {
      return refusedReload(refusalLines(error));
    }
  }

  async #reload(): Promise<ReloadAnswer> {
    try {
      const next = await this.#options.load();
      return this.#isInForce(next) ? this.#keep(next) : await this.#putInForce(next);
    } catch (error) {
      return this.#refuse(refusalLines(error));
    }
  }

  /** What could not be done the last time is tried again. */
  #isInForce({ fingerprint }: Candidate): boolean {
    return fingerprint === this.#current.fingerprint && this.#except === undefined;
  }

  #restartNeeded(): string[] {
    return restartNeeded(this.#options.started.config, this.config);
  }

  #keep(next: Candidate): ReloadAnswer {
    this.#standing.accept();
    this.#options.accepted(next.text);
    this.#options.tell('info', `reload: ${next.config.file} is unchanged: nothing to do`);
    return { outcome: 'unchanged', changes: [], problems: [], warnings: [] };
  }

  async #putInForce(next: Candidate): Promise<ReloadAnswer> {
    const { apply, tell } = this.#options;
    const { changes } = await this.#judge(next);
    const problems = await apply(next.config, next.keys);
    this.#current = next;
    this.#standing.accept();
    const restart = this.#restartNeeded();
    for (const line of restart) tell('warn', line);
    if (problems.length > 0) {
      for (const line of problems) tell('warn', `reload: ${line}`);
      this.#except = `in force except: ${problems.join('; ')}`.slice(0, MAX_CHARS);
    } else {
      this.#except = undefined;
      this.#options.accepted(next.text);
      const what = changes.length > 0 ? changes.join(', ') : 'nothing changed for lbd';
      tell('info', `reload: ${next.config.file} is in force: ${what}`);
    }
    return { outcome: 'applied', changes, problems, warnings: restart };
  }

  /** @throws Refusal */
  async #judge({ config, keys }: Candidate): Promise<ConfigChanges> {
    this.#options.checkFit(config);
    await nextTurn();
    const compared = compareConfigs(this.config, config);
    const secrets = isDeepStrictEqual(keys, this.#current.keys) ? [] : ['the secrets changed'];
    const taken = await this.#options.preflight(compared.newBinds);
    if (taken.length > 0) throw new Refusal(taken);
    return { ...compared, changes: [...compared.changes, ...secrets] };
  }

  #refuse(lines: readonly string[]): ReloadAnswer {
    let when = '';
    for (const line of lines)
      when = this.#options.tell('warn', `reload refused, the old config stays: ${line}`);
    this.#standing.refuse(lines, when);
    return refusedReload(lines);
  }
}

/** Several reasons at once. */
class Refusal extends Error {
  readonly lines: readonly string[];

  constructor(lines: readonly string[]) {
    super(lines.join('; '));
    this.lines = lines;
  }
}

function refusalLines(error: unknown): readonly string[] {
  return error instanceof Refusal ? error.lines : problemLines(error);
}
