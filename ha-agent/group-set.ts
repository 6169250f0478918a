import { messageOf, OperatorError } from '../common/errors.ts';
import { type AgentConfig, concerns } from './agent-config.ts';
import type { ElectionConfig } from './election-types.ts';
import type { GroupAgent, Happening } from './group-agent.ts';

/** In `lbctl switchover --group`: every group. The config lets no group have that name. */
export const EVERY_GROUP = 'all';

/** What a set of groups needs of the process around it. */
export interface GroupSurroundings {
  create(name: string): GroupAgent;
  electionConfig(name: string): ElectionConfig;
  /** What a group that starts must know, such as the state of `lbd`. */
  known(name: string): readonly Happening[];
}

/** The VIP groups of this node: who is there, who comes and goes by reload, and which interfaces concern them. */
export class GroupSet {
  readonly #surroundings: GroupSurroundings;
  #config: AgentConfig;
  #groups: readonly GroupAgent[] = [];
  /** Why, by interface; empty: it is up. */
  readonly #interfaces = new Map<string, string>();

  constructor(config: AgentConfig, surroundings: GroupSurroundings) {
    this.#config = config;
    this.#surroundings = surroundings;
  }

  /** In the order of the config; empty before the first `join`. */
  get all(): readonly GroupAgent[] {
    return this.#groups;
  }

  find(name: string): GroupAgent | undefined {
    return this.#groups.find((group) => group.name === name);
  }

  dispatch(happening: Happening): void {
    for (const group of this.#groups) group.dispatch(happening);
  }

  /** Some group hears the peer: none needs to wait for a sign that the network carries frames. */
  linkCarries(): void {
    for (const group of this.#groups)
      if (group.state.link.carriesSinceMs === undefined) group.dispatch({ type: 'carries' });
  }

  /** What goes before a text about a group. Where there is one group only, nobody needs its name. */
  prefix(name: string): string {
    return this.#config.ha.groups.length === 1 && this.#groups.length <= 1 ? '' : `group ${name}: `;
  }

  /**
   * Makes `to` the active node of a group, or the one that is not now.
   *
   * @param wanted name of the group, or `EVERY_GROUP`; it may be left out where there is only one
   * @returns what was done, once it is done
   * @throws OperatorError when it cannot be done, or did not happen in time
   */
  async switchover(to: string | undefined, wanted: string | undefined): Promise<string> {
    const { self, peer } = this.#config.cluster;
    if (to !== undefined && to !== self.name && to !== peer.name)
      throw new OperatorError(
        'NO_SUCH_NODE',
        `there is no node "${to}"; the nodes are ${self.name}, ${peer.name}`,
      );
    const results = await Promise.allSettled(
      this.#named(wanted).map(async (group) => `${this.prefix(group.name)}${await group.switchover(to)}`),
    );
    const failures = results.flatMap((r) => (r.status === 'rejected' ? [messageOf(r.reason)] : []));
    const done = results.flatMap((r) => (r.status === 'fulfilled' ? [r.value] : []));
    if (failures.length > 0) throw new OperatorError('NO_SWITCHOVER', [...failures, ...done].join('; '));
    return done.join('; ');
  }

  /** Hands over the groups that a new config does not have. @returns their names */
  async leave({ ha }: AgentConfig): Promise<string[]> {
    const leaving = this.#groups.filter(({ name }) => !ha.groups.some((group) => group.name === name));
    await Promise.all(leaving.map((group) => group.stop()));
    this.#groups = this.#groups.filter((group) => !leaving.includes(group));
    return leaving.map(({ name }) => name);
  }

  /** A new config is in force for the groups that stay. */
  apply(config: AgentConfig): void {
    this.#config = config;
    this.refresh();
    const watched = config.ha.track.interfaces;
    for (const name of this.#interfaces.keys()) if (!watched.includes(name)) this.#interfaces.delete(name);
    for (const group of this.#groups)
      for (const name of new Set([...group.state.downInterfaces.keys(), ...this.#interfaces.keys()])) {
        const why = concerns(config, group.name, name) ? (this.#interfaces.get(name) ?? '') : '';
        if ((group.state.downInterfaces.get(name) ?? '') !== why)
          group.dispatch({ type: 'interface', name, up: why === '', why });
      }
  }

  /** What the host can do may have changed. */
  refresh(): void {
    for (const group of this.#groups) group.configure(this.#surroundings.electionConfig(group.name));
  }

  /** Starts the groups of the config that are not there yet. */
  join(): void {
    const known = this.#groups;
    this.#groups = this.#config.ha.groups.map(
      ({ name }) => known.find((group) => group.name === name) ?? this.#surroundings.create(name),
    );
    for (const group of this.#groups) if (!known.includes(group)) group.start(this.#knownOf(group.name));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#groups.map((group) => group.stop()));
  }

  /** @returns whether that is news */
  onInterface(name: string, up: boolean, why: string): boolean {
    const now = up ? '' : why;
    const news = (this.#interfaces.get(name) ?? '') !== now;
    this.#interfaces.set(name, now);
    if (news)
      for (const group of this.#groups)
        if (concerns(this.#config, group.name, name)) group.dispatch({ type: 'interface', name, up, why });
    return news;
  }

  #knownOf(group: string): Happening[] {
    const down = [...this.#interfaces].filter(
      ([name, why]) => why !== '' && concerns(this.#config, group, name),
    );
    return [
      ...this.#surroundings.known(group),
      ...down.map(([name, why]) => ({ type: 'interface' as const, name, up: false, why })),
    ];
  }

  #named(wanted: string | undefined): readonly GroupAgent[] {
    if (this.#groups.length === 0) throw new OperatorError('NOT_RUNNING', 'the agent is just starting');
    const names = this.#groups.map(({ name }) => name).join(', ');
    if (wanted === EVERY_GROUP || (wanted === undefined && this.#groups.length === 1)) return this.#groups;
    if (wanted === undefined)
      throw new OperatorError('WHICH_GROUP', `say which group: --group ${EVERY_GROUP}, or one of ${names}`);
    const group = this.find(wanted);
    if (group === undefined)
      throw new OperatorError('NO_SUCH_GROUP', `there is no group "${wanted}"; there is ${names}`);
    return [group];
  }
}
