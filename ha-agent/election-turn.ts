import type { FinishPhase, Role } from '../common/control.ts';
import { leaseWakeAt } from './election-lease.ts';
import { servedMs } from './election-link.ts';
import {
  hasBackends,
  isHealthy,
  isPeerAlive,
  jointIntervalMs,
  listenTimeMs,
  wakeAt,
} from './election-times.ts';
import type {
  Draft,
  ElectionAction,
  ElectionConfig,
  ElectionResult,
  ElectionState,
  PeerReport,
} from './election-types.ts';
import type { Claim } from './rank.ts';

/** One step of the election: a draft of the next state and the actions so far. The parts of the election share it. */
export class Turn {
  readonly config: ElectionConfig;
  readonly now: number;
  readonly s: Draft;
  readonly #actions: ElectionAction[] = [];
  readonly #roleBefore: Role;
  #copies = 0;

  constructor(config: ElectionConfig, state: ElectionState, now: number) {
    this.config = config;
    this.s = { ...state };
    this.now = now;
    this.#roleBefore = state.role;
  }

  result(): ElectionResult {
    const { role, stopping, vip, finishing } = this.s;
    // A role that the node only passes through within one step is nobody's business.
    if (role !== this.#roleBefore && (role === 'standby' || role === 'fault'))
      this.act({ type: 'notify', role });
    if (this.#copies > 0) this.act({ type: 'send', copies: this.#copies });
    if (stopping && vip === 'none' && finishing === undefined) this.act({ type: 'stopped' });
    const { config, s, now } = this;
    const wakeAtMs = Math.min(wakeAt(config, s, now), leaseWakeAt(config, s, now));
    return { state: s, actions: this.#actions, wakeAtMs };
  }

  act(action: ElectionAction): void {
    this.#actions.push(action);
  }

  /** Heartbeats go out at the end of the turn, with the state of then. */
  send(copies: number): void {
    this.#copies = Math.max(this.#copies, copies);
  }

  log(
    level: 'info' | 'warn' | 'error',
    kind: 'role' | 'vip' | 'peer' | 'switchover' | 'witness',
    text: string,
  ): void {
    this.act({ type: 'log', level, kind, text });
  }

  tellLbd(): void {
    const { role, epoch, finishing } = this.s;
    this.act({ type: 'tell-lbd', role, epoch, finishing: finishing?.phase as FinishPhase | undefined });
  }

  become(role: Role, why: string): void {
    const { s } = this;
    const before = s.role;
    const changed = before !== role;
    s.role = role;
    s.why = why;
    s.probedUntilMs = undefined;
    s.preemptAtMs = undefined;
    s.dualSinceMs = undefined;
    s.heldOff = undefined;
    s.check = undefined;
    if (role === 'active' || role === 'fault') {
      s.probingSinceMs = undefined;
      s.operatorsChoice = undefined;
    }
    if (changed) s.sinceMs = this.now;
    this.log(role === 'fault' ? faultLevel(before) : 'info', 'role', `${role} (epoch ${s.epoch}): ${why}`);
    if (!changed) return;
    this.tellLbd();
    // What the peer should act on goes out once the VIPs are gone, see `gone` in `election-vips.ts`.
    this.send(1);
  }

  /** The role stays, for another reason. */
  because(why: string): void {
    this.s.why = why;
  }

  /** Nothing that was heard before counts for a takeover. */
  listen(): void {
    const { s } = this;
    s.listenSinceMs = this.now;
    s.doubtSinceMs = undefined;
    s.listenUntilMs = this.now + listenTimeMs(this.config, s);
    s.probingSinceMs = undefined;
    s.requestUntilMs = undefined;
  }

  get peerAlive(): boolean {
    return isPeerAlive(this.config, this.s, this.now);
  }

  get healthy(): boolean {
    return isHealthy(this.config, this.s, this.now);
  }

  get heardSinceListening(): boolean {
    return this.s.peer !== undefined && this.s.peer.heardMs > this.s.listenSinceMs;
  }

  get peerCanTakeOver(): boolean {
    const report = this.s.peer?.report;
    return report !== undefined && this.peerAlive && report.role === 'standby' && report.priority > 0;
  }

  /** What clients have open here is lost whatever this node does. */
  get cannotServe(): boolean {
    const { lbd, downInterfaces, vipFault } = this.s;
    return !lbd.alive || downInterfaces.size > 0 || vipFault !== undefined;
  }

  /** @param report of the peer: where it does not say how long it served, it goes by other things alone */
  ownClaim(report: PeerReport): Claim {
    const { priority, address } = this.config.self;
    // What the peer says of its own time is older by its way here, and by an interval.
    const lagMs = 2 * jointIntervalMs(this.config, this.s);
    const served = report.servedMs === undefined ? 0 : Math.max(0, servedMs(this.s, this.now) - lagMs);
    const healthy = hasBackends(this.config, this.s);
    return { epoch: this.s.epoch, servedMs: served, healthy, priority, address };
  }

  peerClaim({ epoch, servedMs = 0, healthy, priority }: PeerReport): Claim {
    return { epoch, servedMs, healthy, priority, address: this.config.peer.address };
  }
}

/** A node that starts, or is in fault already, loses nothing: its lbd may not be there yet. */
function faultLevel(before: Role): 'error' | 'info' {
  return before === 'active' || before === 'standby' ? 'error' : 'info';
}
