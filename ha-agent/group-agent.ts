import type { FinishPhase, Role } from '../common/control.ts';
import { messageOf, OperatorError } from '../common/errors.ts';
import { monotonicMs } from '../common/events.ts';
import { farewellOf, initialState, reportOf, step } from './election.ts';
import { isPeerAlive } from './election-times.ts';
import type {
  ElectionAction,
  ElectionConfig,
  ElectionEvent,
  ElectionState,
  PeerReport,
} from './election-types.ts';
import type { GroupNetwork } from './host-network.ts';

/** An event of the election without its time, which `dispatch` adds. */
export type Happening = ElectionEvent extends infer E
  ? E extends ElectionEvent
    ? Omit<E, 'now'>
    : never
  : never;

/** What a group needs of the process around it. */
export interface GroupHost {
  /** Sends one round of heartbeats about the group. @returns settles when they are out; never rejects */
  send(report: PeerReport): Promise<unknown>;
  renewNonce(): void;
  checkWitness(): void;
  /** Get the lease of the witness and keep it, or release it. */
  wantLease(isWanted: boolean, epoch: number): void;
  tellLbd(role: Role, epoch: number, finishing: FinishPhase | undefined): void;
  notify(role: 'active' | 'standby' | 'fault'): void;
  log(level: 'info' | 'warn' | 'error', kind: string, text: string): void;
}

/** After the VIPs could not be removed for so long, a stop goes on; guardian and lifetime remain. */
const STOP_TIMEOUT_MS = 4_500;
/** An operator waits so long for the outcome of a switchover. */
const SWITCHOVER_TIMEOUT_MS = 3_000;
const SWITCHOVER_POLL_MS = 5;
/** The last heartbeats have so long to go out: a path may stall. */
const GOODBYE_MS = 500;

/** Drives the election of one VIP group: events in, one step, actions out. Holds its timers and no decision. */
export class GroupAgent {
  readonly name: string;
  #config: ElectionConfig;
  #state: ElectionState;
  readonly #network: GroupNetwork;
  readonly #host: GroupHost;
  #wakeTimer: NodeJS.Timeout | undefined;
  #answer: ((answer: { ok: boolean; text: string }) => void) | undefined;
  #stopped: (() => void) | undefined;
  #running = false;
  #sending: Promise<unknown> = Promise.resolve();

  constructor(name: string, config: ElectionConfig, network: GroupNetwork, host: GroupHost) {
    this.name = name;
    this.#config = config;
    this.#network = network;
    this.#host = host;
    this.#state = initialState(config, monotonicMs());
  }

  get config(): ElectionConfig {
    return this.#config;
  }

  get state(): ElectionState {
    return this.#state;
  }

  get network(): GroupNetwork {
    return this.#network;
  }

  /** What the guardian says for this node once the agent is gone. */
  get farewell(): PeerReport {
    return farewellOf(this.#config, this.#state);
  }

  /** Settles when the latest heartbeats are out on one path; never rejects, and never settles where all paths stall. */
  get sent(): Promise<unknown> {
    return this.#sending;
  }

  /** @param early what happened before, such as the state of `lbd` and of the interfaces */
  start(early: readonly Happening[]): void {
    this.#running = true;
    this.#state = { ...this.#state, lastTickMs: monotonicMs() };
    for (const happening of early) this.dispatch(happening);
    this.dispatch({ type: 'start' });
  }

  /**
   * Another config for the election. The next beat is due by the new interval, so the last one is not late. The peer
   * hears of other times before this node goes by them.
   */
  configure(config: ElectionConfig): void {
    const { intervalMs, deadAfter } = this.#config;
    this.#config = config;
    if (intervalMs !== config.intervalMs) this.#state = { ...this.#state, lastTickMs: monotonicMs() };
    if (this.#running && (intervalMs !== config.intervalMs || deadAfter !== config.deadAfter)) this.#send();
  }

  dispatch(happening: Happening): void {
    if (!this.#running) return;
    const event = { ...happening, now: monotonicMs() } as ElectionEvent;
    const { role } = this.#state;
    const { state, actions, wakeAtMs } = step(this.#config, this.#state, event);
    this.#state = state;
    // While lbd prepares. Of a peer that is silent the election asks itself, and weighs the answers.
    if (role !== 'active' && state.role === 'active' && isPeerAlive(this.#config, state, event.now))
      this.#network.lookForRivals();
    for (const action of actions) this.#act(action);
    clearTimeout(this.#wakeTimer);
    if (!this.#running) return;
    this.#wakeTimer = setTimeout(
      // A timer may be late; what the sockets hold by now must be heard before silence is concluded from it.
      () => setImmediate(() => this.dispatch({ type: 'wake' })),
      Math.max(0, wakeAtMs - monotonicMs()),
    );
  }

  /**
   * Makes `to` the active node, or the one that is not now.
   *
   * @returns what was done, once it is done
   * @throws OperatorError when it cannot be done, or did not happen in time
   */
  async switchover(to: string | undefined): Promise<string> {
    const { self, peer } = this.#config;
    if (this.#answer !== undefined) throw new OperatorError('BUSY', 'another switchover is under way');
    if (!this.#running) throw new OperatorError('NOT_RUNNING', 'the agent is just starting or stopping');
    const wasActive = this.#state.role === 'active';
    const answer = await new Promise<{ ok: boolean; text: string }>((resolve) => {
      this.#answer = resolve;
      this.dispatch({
        type: 'switchover',
        to: to === undefined ? undefined : to === self.name ? 'self' : 'peer',
      });
    });
    this.#answer = undefined;
    if (!answer.ok) throw new OperatorError('NO_SWITCHOVER', answer.text);
    const target = to ?? (wasActive ? peer.name : self.name);
    const done = () =>
      target === self.name ? this.#state.vip === 'held' : this.#state.peer?.report.role === 'active';
    const deadline = monotonicMs() + SWITCHOVER_TIMEOUT_MS;
    while (!done()) {
      if (monotonicMs() >= deadline)
        throw new OperatorError(
          'NO_SWITCHOVER',
          `${target} did not become active in time; ${self.name} is ${this.#state.role}: ${this.#state.why}`,
        );
      await new Promise((resolve) => setTimeout(resolve, SWITCHOVER_POLL_MS));
    }
    return `${target} is active`;
  }

  /**
   * Graceful: the VIPs are removed, seen to be gone, and the peer is told; then open connections finish, for up to the
   * longest `drain_timeout`. Afterwards nothing happens any more.
   */
  async stop(): Promise<void> {
    if (this.#running) {
      let giveUp: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#stopped = resolve;
        giveUp = setTimeout(resolve, STOP_TIMEOUT_MS + this.#config.drainMs);
        this.dispatch({ type: 'stop' });
      });
      clearTimeout(giveUp);
      await withinMs(this.#sending, GOODBYE_MS);
    }
    this.#running = false;
    clearTimeout(this.#wakeTimer);
  }

  #act(action: ElectionAction): void {
    const network = this.#network;
    switch (action.type) {
      case 'send':
        for (let i = 0; i < action.copies; i++) this.#send();
        break;
      case 'renew-nonce':
        this.#host.renewNonce();
        break;
      case 'check-witness':
        this.#host.checkWitness();
        break;
      case 'want-lease':
        this.#host.wantLease(action.isWanted, action.epoch);
        break;
      case 'tell-lbd':
        this.#host.tellLbd(action.role, action.epoch, action.finishing);
        break;
      case 'add-vips':
        this.#add();
        break;
      case 'renew-vips':
        this.#renew();
        break;
      case 'remove-vips':
        this.#remove();
        break;
      case 'probe-vips':
        this.#probe();
        break;
      case 'park-vips':
        this.#park();
        break;
      case 'renew-parked':
        this.#attempt('the lifetime of the parked VIPs was not renewed', network.renewParked());
        break;
      case 'unpark-vips':
        this.#attempt('the parked VIPs were not removed', network.unparkVips());
        break;
      case 'forward':
        this.#host.log('info', 'vip', `forwarding to ${this.#config.peer.name} what belongs to it`);
        this.#attempt('open connections of the peer break', network.forward());
        break;
      case 'unforward':
        this.#host.log('info', 'vip', `not forwarding to ${this.#config.peer.name} any more`);
        this.#attempt('the rules that forward were not removed', network.unforward());
        break;
      case 'announce':
        network.announce();
        break;
      case 'notify':
        this.#host.notify(action.role);
        break;
      case 'log':
        this.#host.log(action.level, action.kind, action.text);
        break;
      case 'answer':
        this.#answer?.(action);
        break;
      case 'stopped':
        this.#stopped?.();
        break;
    }
  }

  #park(): void {
    this.#network.parkVips().then(
      (parked) => this.dispatch({ type: 'vips-removed', error: undefined, parked }),
      (error: unknown) => this.dispatch({ type: 'vips-removed', error: messageOf(error) }),
    );
  }

  #attempt(failure: string, done: Promise<void>): void {
    done.catch((error: unknown) => this.#host.log('warn', 'vip', `${failure}: ${messageOf(error)}`));
  }

  #add(): void {
    this.#network.addVips().then(
      (steps) => this.dispatch({ type: 'vips-added', error: undefined, steps }),
      (error: unknown) => this.dispatch({ type: 'vips-added', error: messageOf(error) }),
    );
  }

  #renew(): void {
    this.#network.renewVips().then(
      () => this.dispatch({ type: 'vips-renewed', error: undefined }),
      (error: unknown) => {
        const gone = error instanceof OperatorError && error.code === 'VIP_FAILED';
        this.dispatch({ type: 'vips-renewed', error: messageOf(error), gone });
      },
    );
  }

  #remove(): void {
    this.#network.removeVips().then(
      () => this.dispatch({ type: 'vips-removed', error: undefined }),
      (error: unknown) => this.dispatch({ type: 'vips-removed', error: messageOf(error) }),
    );
  }

  #probe(): void {
    // To ask for a neighbour makes the kernel forget it for a moment, which open connections would notice.
    const mayBeDeaf = this.#state.link.carriesSinceMs === undefined;
    const neighbours = mayBeDeaf ? [...(this.#config.neighbours ?? []), ...this.#network.gateways] : [];
    const { address: own } = this.#config.self;
    this.#network.probe([...neighbours, own]).then(
      ({ answers: all, proxies: others }) => {
        const answers = all.filter(({ address }) => address !== own && !neighbours.includes(address));
        // Only a machine that answers for everybody answers for this node's own address.
        const proxies = [...others, ...all.filter(({ address }) => address === own).map(({ by }) => by)];
        const forwards = all.some(({ address }) => neighbours.includes(address));
        this.dispatch({ type: 'vips-probed', answers, forwards, proxies });
      },
      (error: unknown) => this.dispatch({ type: 'vips-probed', answers: undefined, error: messageOf(error) }),
    );
  }

  #send(): void {
    this.#sending = this.#host.send(reportOf(this.#config, this.#state, monotonicMs()));
  }
}

/** Settles with `done`, or when the time is over. */
async function withinMs(done: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([done, new Promise((resolve) => (timer = setTimeout(resolve, ms)))]);
  clearTimeout(timer);
}
