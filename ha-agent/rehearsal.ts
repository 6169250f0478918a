import { announcement } from './announcement.ts';
import { initialState, reportOf, step } from './election.ts';
import type {
  ElectionAction,
  ElectionConfig,
  ElectionEvent,
  ElectionState,
  PeerReport,
} from './election-types.ts';
import type { Happening } from './group-agent.ts';

/** What is not used for some minutes is thrown away. */
const AGAIN_MS = 60_000;
/** Any will do. */
const TIMES = { intervalMs: 100, deadAfter: 3, settleMs: 0 } as const;
const LEASE_MS = 2_000;
const WELL = { alive: true, ready: true, healthy: true, synced: true, why: '', connections: 0 };

/**
 * Keeps a standby warm: plays takeovers and switchovers on an election that touches nothing, so that no code runs for the
 * first time when it matters. Takes some milliseconds the first time, and less than one after that.
 */
export class Rehearsal {
  #againMs = Number.NEGATIVE_INFINITY;

  /** @param now monotonic. @returns whether it is time for a rehearsal, once */
  isDue(now: number): boolean {
    if (now < this.#againMs) return false;
    this.#againMs = now + AGAIN_MS;
    return true;
  }

  /** @returns the roles that were gone through, in order */
  play(config: ElectionConfig): readonly string[] {
    for (const address of ['192.0.2.1', '2001:db8::1']) announcement(Buffer.alloc(6), address);
    const stage = new Stage({
      ...config,
      ...TIMES,
      ...(config.leaseMs && { leaseMs: LEASE_MS }),
      secondChance: true,
    });
    stage.happens({ type: 'lbd', report: WELL });
    stage.happens({ type: 'start' });
    stage.hears('active');
    for (let ms = 0; ms < 400; ms += 50) stage.later(50);
    stage.hears('standby');
    stage.happens({ type: 'switchover', to: undefined });
    stage.hears('active');
    stage.hears('fault');
    stage.hears('standby');
    stage.happens({ type: 'stop' });
    return stage.roles;
  }
}

/** An election whose host and `lbd` do at once what they are told. */
class Stage {
  readonly roles: string[] = [];
  readonly #config: ElectionConfig;
  #state: ElectionState;
  #now = 0;

  constructor(config: ElectionConfig) {
    this.#config = config;
    this.#state = initialState(config, 0);
  }

  happens(happening: Happening): void {
    const event = { ...happening, now: this.#now } as ElectionEvent;
    const { state, actions } = step(this.#config, this.#state, event);
    this.#state = state;
    reportOf(this.#config, state, this.#now);
    if (this.roles.at(-1) !== state.role) this.roles.push(state.role);
    for (const action of actions) this.#obey(action);
  }

  /** What is heard at the moment at which this node begins to listen proves nothing. */
  hears(role: PeerReport['role']): void {
    this.#now += 1;
    this.happens(heard(role));
  }

  later(ms: number): void {
    this.#now += ms;
    this.happens({ type: 'tick' });
  }

  #obey(action: ElectionAction): void {
    const { epoch } = this.#state;
    if (action.type === 'probe-vips') this.happens({ type: 'vips-probed', answers: [], forwards: true });
    else if (action.type === 'want-lease') this.happens({ type: 'lease', view: this.#lease(action.epoch) });
    else if (action.type === 'check-witness') this.happens({ type: 'witness', result: this.#witness() });
    else if (action.type === 'add-vips') this.happens({ type: 'vips-added', error: undefined, steps: [] });
    else if (action.type === 'renew-vips') this.happens({ type: 'vips-renewed', error: undefined });
    else if (action.type === 'remove-vips') this.happens({ type: 'vips-removed', error: undefined });
    else if (action.type === 'park-vips')
      this.happens({ type: 'vips-removed', error: undefined, parked: true });
    else if (action.type === 'tell-lbd' && action.finishing === 'retiring')
      this.happens({ type: 'retired', epoch });
    else if (action.type === 'tell-lbd' && action.role === 'active')
      this.happens({ type: 'promoted', epoch });
  }

  #lease(epoch: number) {
    const heldUntilMs = this.#now + LEASE_MS;
    return { reachesWitness: true, heardMs: this.#now, heldUntilMs, takenUntilMs: 0, epoch, silenceMs: 0 };
  }

  #witness() {
    return { reachable: true, why: '', sinceMs: this.#now };
  }
}

function heard(role: PeerReport['role']): Happening {
  const report: PeerReport = {
    ...{ role, priority: role === 'fault' ? 0 : 1, epoch: 1, intervalMs: TIMES.intervalMs, healthy: true },
    ...{ request: false, probe: false, finishing: false, forwards: true },
  };
  return { type: 'heartbeat', report, restarted: false };
}
