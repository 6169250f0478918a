import type { Role } from '../common/control.ts';
import type {
  ElectionAction,
  ElectionConfig,
  ElectionEvent,
  ElectionResult,
  ElectionState,
  PeerReport,
} from './election-types.ts';
import { type Claim, compareActives, compareCandidates } from './rank.ts';

/** `lbd` has so long to prepare; a node that waited longer would lose more than it gains (fail static). */
const PROMOTE_MS = 50;
/** Renewal of the VIPs' lease, a quarter of `LEASE_S` in `linux-network.ts`. */
const RENEW_MS = 500;
/** Between the announcements of a burst: a switch that relearns its ports loses the first ones. */
const ANNOUNCE_SPACING_MS = 200;
/** A failed removal is tried again so often. */
const REMOVE_RETRY_MS = 100;
/** Without renewal the kernel has removed an address of 2 s after 3 s at the latest (it sweeps once a second). */
const LEASE_GONE_MS = 3_500;
/** `lbd` must be without backends for so long before it matters: checks of the two nodes are not in step. */
const HEALTH_HOLD_MS = 1_000;
/** After a VIP could not be added, the node is in fault so long before it tries again. */
const VIP_RETRY_MS = 2_000;
/** The active node must hear within this part of an interval that a probing peer hears it again. */
const PROBE_ANSWER = 0.25;
/** Another active node that hears this one drops its VIPs within one interval; one that does not is deaf. */
const DUAL_PATIENCE_INTERVALS = 2;
/** Before the peer counts as dead by this part of an interval: it is probed, and its guardian drops the VIPs. */
const MARGIN = 0.5;
/** Rounds sent when the peer should act on them: one lost datagram must not cost a dead time. */
const URGENT_COPIES = 2;
const GOODBYE_COPIES = 3;
/**
 * `lbd` has so long to bring its last sessions to the peer before the VIPs leave; it gives up sooner itself. A peer
 * that is about to take over without them does not wait.
 */
const RETIRE_MS = 150;
/** After the VIPs have left, clients with an old neighbour entry still open connections here for so long. */
const LATECOMERS_MS = 1_000;
/** `lbd` has so long to end what is left when the time of the clients is over. */
const CUT_MS = 250;
/** A node that gave the role back forwards for so long: the burst of announcements, five by default, is over. */
const FORWARD_TAIL_MS = 1_500;

/** The state before the `start` event. */
export function initialState(config: ElectionConfig, now: number): ElectionState {
  return {
    role: 'init',
    why: 'just started',
    sinceMs: now,
    epoch: 0,
    vip: 'none',
    peer: undefined,
    hello: undefined,
    peerAlive: false,
    lbd: { alive: false, ready: false, healthy: false, synced: false, why: 'not connected yet' },
    unhealthySinceMs: undefined,
    downInterfaces: new Map(),
    lastTickMs: now,
    listenUntilMs: now + config.deadAfter * config.intervalMs,
    listenSinceMs: now,
    holdUntilMs: undefined,
    dualSinceMs: undefined,
    requestUntilMs: undefined,
    preemptAtMs: undefined,
    probedUntilMs: undefined,
    probingSinceMs: undefined,
    vipDeadlineMs: now,
    renewAtMs: now,
    announceAtMs: Number.POSITIVE_INFINITY,
    announceLeft: 0,
    vipFault: undefined,
    finishing: undefined,
    forwarding: false,
    forwardUntilMs: undefined,
    stopping: false,
  };
}

/**
 * What this node's heartbeat says. While its VIPs are not surely gone it says `active`, so that the peer
 * waits, with priority 0, so that the peer does not yield to it.
 */
export function reportOf(config: ElectionConfig, state: ElectionState, now: number): PeerReport {
  const removing = state.vip === 'removing' || state.vip === 'retiring';
  const holding = state.holdUntilMs !== undefined && now < state.holdUntilMs;
  const unwilling = state.role === 'fault' || holding || state.stopping || removing;
  return {
    role: removing ? 'active' : state.role,
    priority: unwilling ? 0 : config.self.priority,
    epoch: state.epoch,
    intervalMs: config.intervalMs,
    healthy: isHealthy(config, state, now),
    request: state.role === 'standby' && state.requestUntilMs !== undefined && now < state.requestUntilMs,
    probe: state.probingSinceMs !== undefined,
    finishing: state.finishing !== undefined,
    forwards: config.secondChance,
  };
}

/** What the guardian says for this node once the agent is gone and the VIPs with it: that it steps down. */
export function farewellOf(config: ElectionConfig, state: ElectionState): PeerReport {
  return {
    role: 'init',
    priority: 0,
    epoch: state.epoch,
    intervalMs: config.intervalMs,
    healthy: false,
    request: false,
    probe: false,
    finishing: false,
    forwards: false,
  };
}

/** Silence of the peer after which it counts as dead. The slower of the two intervals sets the measure. */
export function deadTimeMs(config: ElectionConfig, state: ElectionState): number {
  return config.deadAfter * Math.max(config.intervalMs, state.peer?.report.intervalMs ?? 0);
}

/** Longest gap between two ticks after which an active node may still believe that it is active. */
export function lateLimitMs(config: ElectionConfig): number {
  return (config.deadAfter - MARGIN) * config.intervalMs;
}

export function isPeerAlive(config: ElectionConfig, state: ElectionState, now: number): boolean {
  return state.peer !== undefined && now - state.peer.heardMs < deadTimeMs(config, state);
}

/**
 * The election. Pure: time is in the event, and what should be done comes back as actions, in order.
 *
 * Rules: a node listens for one dead time before it may become active. While an active peer is heard, nobody
 * takes over. When nobody is active, the better candidate takes over (`compareCandidates`). A node hands over
 * in this order: VIPs removed and seen to be gone, priority 0, takeover by the peer. In a planned hand-over it
 * keeps its open connections: the peer sends on to it what belongs to them, until they are finished. When two active nodes
 * hear each other, `compareActives` says which one drops its VIPs at once. A tick that comes late means that
 * the peer may have taken over: drop the VIPs, listen, elect again.
 */
export function step(config: ElectionConfig, state: ElectionState, event: ElectionEvent): ElectionResult {
  const election = new Step(config, state, event.now);
  election.apply(event);
  election.evaluate();
  return election.result();
}

type Draft = { -readonly [K in keyof ElectionState]: ElectionState[K] };

function isHealthy(config: ElectionConfig, state: ElectionState, now: number): boolean {
  if (!config.trackLbd) return true;
  if (!state.lbd.alive) return false;
  return state.unhealthySinceMs === undefined || now - state.unhealthySinceMs < HEALTH_HOLD_MS;
}

/** One step: a draft of the next state and the actions so far. */
class Step {
  readonly #config: ElectionConfig;
  readonly #now: number;
  readonly #s: Draft;
  readonly #actions: ElectionAction[] = [];
  readonly #roleBefore: Role;
  #copies = 0;

  constructor(config: ElectionConfig, state: ElectionState, now: number) {
    this.#config = config;
    this.#s = { ...state };
    this.#roleBefore = state.role;
    this.#now = now;
  }

  result(): ElectionResult {
    const { role } = this.#s;
    // A role that the node only passes through within one step is nobody's business.
    if (role !== this.#roleBefore && (role === 'standby' || role === 'fault'))
      this.#actions.push({ type: 'notify', role });
    if (this.#copies > 0) this.#actions.push({ type: 'send', copies: this.#copies });
    if (this.#s.stopping && this.#s.vip === 'none' && this.#s.finishing === undefined)
      this.#actions.push({ type: 'stopped' });
    return { state: this.#s, actions: this.#actions, wakeAtMs: this.#wakeAt() };
  }

  apply(event: ElectionEvent): void {
    const s = this.#s;
    const gapMs = this.#now - s.lastTickMs;
    const late = event.type !== 'start' && gapMs > lateLimitMs(this.#config);
    if (late) this.#late(gapMs);
    if (late || event.type === 'tick') s.lastTickMs = this.#now;
    // It may have waited in the socket during the pause.
    if (late && event.type === 'heartbeat') return;
    switch (event.type) {
      case 'start':
        s.lastTickMs = this.#now;
        this.#listen();
        this.#send(1);
        this.#tellLbd();
        break;
      case 'tick':
        this.#send(1);
        break;
      case 'wake':
        break;
      case 'heartbeat':
        this.#heartbeat(event.report, event.restarted);
        break;
      case 'hello':
        s.hello = { role: event.role, heardMs: this.#now };
        if (event.firstOfProcess) this.#send(1);
        break;
      case 'lbd':
        this.#lbd(event.report);
        break;
      case 'interface':
        this.#interface(event.name, event.up, event.why);
        break;
      case 'vips-added':
        this.#added(event.error);
        break;
      case 'vips-renewed':
        if (s.vip === 'held' && event.error !== undefined) this.#vipFailed(`lost: ${event.error}`);
        break;
      case 'vips-removed':
        if (event.error === undefined && event.parked === false)
          this.#endFinishing('this host could not keep them');
        this.#removed(event.error);
        break;
      case 'promoted':
        if (s.vip === 'promoting' && event.epoch === s.epoch) this.#addVips();
        break;
      case 'guardian-fired':
        this.#endFinishing('the guardian removed the VIPs');
        this.#stopForwarding();
        if (s.role === 'active') this.#loseLeadership('the guardian missed its beats and removed the VIPs');
        break;
      case 'retired':
        if (s.vip === 'retiring' && event.epoch === s.epoch) this.#parkVips();
        break;
      case 'switchover':
        this.#switchover(event.to);
        break;
      case 'stop':
        s.stopping = true;
        this.#leave('this agent is stopping');
        if (s.vip === 'none') this.#send(GOODBYE_COPIES);
        break;
    }
  }

  /** Draws the conclusions from the state, whatever the event was. */
  evaluate(): void {
    const s = this.#s;
    this.#expire();
    this.#watchPeer();
    this.#considerForwarding();
    this.#considerFinishing();
    if (s.stopping) return;
    const fault = this.#faultCause();
    if (fault !== undefined) {
      if (s.role !== 'fault' || s.why !== fault) this.#become('fault', fault);
      // An `lbd` that only stops goes on with the clients that it has.
      if (s.vip !== 'removing' && (s.vip !== 'retiring' || this.#cannotServe())) this.#removeVips();
      return;
    }
    if (s.vip === 'removing' || s.vip === 'retiring') return;
    const listening = this.#now < s.listenUntilMs && !this.#heardSinceListening();
    if (s.role === 'fault') this.#recover();
    else if (s.role === 'init' && !listening) this.#become('standby', 'has listened for the peer');
    if (s.role === 'standby') this.#considerTakeover();
    else if (s.role === 'active') this.#considerStepDown();
  }

  // --- events

  #late(gapMs: number): void {
    this.#endFinishing('this process was paused');
    const gap = `this process was paused or starved: ${Math.round(gapMs)} ms between two heartbeats, expected ${this.#config.intervalMs}`;
    // By now the guardian has removed them, and the peer may have added them.
    if (this.#s.vip === 'retiring') this.#removeVips();
    if (this.#s.stopping) return;
    this.#actions.push({ type: 'renew-nonce' });
    this.#send(1);
    if (this.#s.role === 'active') this.#loseLeadership(gap);
    else {
      this.#log('warn', 'role', gap);
      this.#listen();
      if (this.#s.role === 'standby') this.#become('init', gap);
    }
  }

  /** The peer may be active by now: drop the VIPs, listen, elect again. */
  #loseLeadership(why: string): void {
    this.#listen();
    this.#become('init', why);
    this.#removeVips();
  }

  #heartbeat(report: PeerReport, restarted: boolean): void {
    const s = this.#s;
    const before = s.peer?.report;
    const name = this.#config.peer.name;
    if (restarted && before !== undefined) this.#log('info', 'peer', `${name} restarted its agent`);
    // A live peer may just have been noticed, or asks whether this node is alive: both want an answer now.
    if (restarted || !s.peerAlive || report.probe || s.probingSinceMs !== undefined) this.#send(1);
    s.peer = { report, heardMs: this.#now };
    s.hello = undefined;
    s.probingSinceMs = undefined;
    if (!report.probe) s.probedUntilMs = undefined;
    else s.probedUntilMs ??= this.#now + PROBE_ANSWER * this.#config.intervalMs;
    if (before !== undefined && before.role !== report.role)
      this.#log('info', 'peer', `${name} is now ${report.role} (epoch ${report.epoch})`);
    if (report.role === 'active') {
      s.holdUntilMs = undefined;
      if (s.role === 'active') this.#dualActive(report, before?.role === 'active');
    } else s.dualSinceMs = undefined;
    if (report.role !== 'active' && before?.role === 'active' && s.vip === 'held') {
      // While both had the VIPs, the neighbours may have learnt the other node's address.
      this.#announce();
    }
    if (s.role !== 'active') s.epoch = Math.max(s.epoch, report.epoch);
    else if (report.epoch > s.epoch) this.#raiseEpoch(report.epoch + 1);
  }

  /** A restarted node may have taken over without knowing how far the epochs had come. */
  #raiseEpoch(epoch: number): void {
    this.#s.epoch = epoch;
    this.#tellLbd();
    this.#send(1);
  }

  #dualActive(report: PeerReport, known: boolean): void {
    const { self, peer } = this.#config;
    const leaving = report.priority === 0;
    if (leaving || compareActives(this.#ownClaim(), this.#peerClaim(report)) > 0) {
      this.#s.dualSinceMs = leaving ? undefined : (this.#s.dualSinceMs ?? this.#now);
      if (known || leaving) return;
      this.#log(
        'warn',
        'peer',
        `${peer.name} is active too; this node stays: ${claims(this.#s.epoch, self.priority, report)}`,
      );
      this.#send(1);
      return;
    }
    this.#become(
      'standby',
      `${peer.name} is active too and stays: ${claims(this.#s.epoch, self.priority, report)}`,
    );
    this.#removeVips();
  }

  #lbd(report: ElectionState['lbd']): void {
    const s = this.#s;
    s.lbd = report;
    if (report.healthy) s.unhealthySinceMs = undefined;
    else s.unhealthySinceMs ??= this.#now;
  }

  #interface(name: string, up: boolean, why: string): void {
    const down = new Map(this.#s.downInterfaces);
    if (up) down.delete(name);
    else down.set(name, why);
    this.#s.downInterfaces = down;
  }

  #added(error: string | undefined): void {
    const s = this.#s;
    if (s.vip !== 'adding') return;
    if (error !== undefined) {
      this.#vipFailed(`could not be added: ${error}`);
      return;
    }
    s.vip = 'held';
    s.renewAtMs = this.#now + RENEW_MS;
    this.#log('info', 'vip', 'the VIPs are on this node');
    this.#announce();
    this.#actions.push({ type: 'notify', role: 'active' });
  }

  #vipFailed(what: string): void {
    this.#s.vipFault = { why: `the VIPs ${what}`, untilMs: this.#now + VIP_RETRY_MS };
  }

  #removed(error: string | undefined): void {
    const s = this.#s;
    if (s.vip !== 'removing') return;
    if (error !== undefined) {
      if (this.#now < s.vipDeadlineMs)
        this.#log('error', 'vip', `the VIPs could not be removed, trying again: ${error}`);
      return;
    }
    this.#gone('the VIPs are gone from this node');
  }

  #gone(text: string): void {
    const s = this.#s;
    s.vip = 'none';
    if (s.finishing !== undefined) {
      const untilMs = this.#now + this.#config.drainMs;
      s.finishing = { ...s.finishing, untilMs, notBeforeMs: this.#now + LATECOMERS_MS };
      s.renewAtMs = this.#now + RENEW_MS;
    }
    this.#log('info', 'vip', text);
    this.#send(this.#s.stopping ? GOODBYE_COPIES : URGENT_COPIES);
  }

  #switchover(to: 'self' | 'peer' | undefined): void {
    const s = this.#s;
    const { self, peer } = this.#config;
    const alive = isPeerAlive(this.#config, s, this.#now);
    const report = s.peer?.report;
    const answer = (ok: boolean, text: string) => this.#actions.push({ type: 'answer', ok, text });
    if (s.role === 'active') {
      if (to === 'self') answer(true, `${self.name} is active already`);
      else if (!alive) answer(false, `${peer.name} is not heard, so it cannot take over`);
      else if (s.vip !== 'held') answer(false, `${self.name} is just taking over; try again`);
      else if (!this.#peerCanTakeOver())
        answer(false, `${peer.name} is ${report?.role} and cannot take over now`);
      else {
        this.#handOver('an operator asked for a switchover');
        answer(true, `${self.name} hands over to ${peer.name}`);
      }
    } else if (to === 'peer' && alive && report?.role === 'active') {
      answer(true, `${peer.name} is active already`);
    } else if (to === 'peer' || !alive || report?.role !== 'active') {
      answer(false, `${self.name} is ${s.role} and no active peer is heard, so there is nothing to switch`);
    } else if (s.role !== 'standby' || s.vip !== 'none') {
      answer(false, `${self.name} is ${s.role} (${s.why}), so it cannot take over`);
    } else {
      s.requestUntilMs = this.#now + 2 * deadTimeMs(this.#config, s);
      this.#log('info', 'switchover', `an operator asked for a switchover: asking ${peer.name} for the role`);
      this.#send(URGENT_COPIES);
      answer(true, `${self.name} asks ${peer.name} for the role`);
    }
  }

  // --- conclusions

  /** Everything that ends by time alone. */
  #expire(): void {
    const s = this.#s;
    const now = this.#now;
    if (s.holdUntilMs !== undefined && now >= s.holdUntilMs) s.holdUntilMs = undefined;
    if (s.requestUntilMs !== undefined && (now >= s.requestUntilMs || s.role !== 'standby'))
      s.requestUntilMs = undefined;
    if (s.vipFault !== undefined && now >= s.vipFault.untilMs && s.vip === 'none') s.vipFault = undefined;
    if (s.vip === 'promoting' && now >= s.vipDeadlineMs) {
      this.#log('warn', 'role', `lbd was not ready for the active role within ${PROMOTE_MS} ms; going on`);
      this.#addVips();
    }
    if (s.vip === 'retiring' && s.probedUntilMs !== undefined) this.#parkVips();
    else if (s.vip === 'retiring' && now >= s.vipDeadlineMs) {
      this.#log('warn', 'vip', `lbd did not retire within ${RETIRE_MS} ms; going on`);
      this.#parkVips();
    }
    if (s.vip === 'removing' && now >= s.vipDeadlineMs)
      this.#gone('the lease of the VIPs has run out, so they are gone from this node');
    else if (s.vip === 'removing' && now >= s.renewAtMs) {
      s.renewAtMs = now + REMOVE_RETRY_MS;
      this.#actions.push({ type: s.finishing === undefined ? 'remove-vips' : 'park-vips' });
    }
    if (s.vip === 'held' && now >= s.renewAtMs) {
      s.renewAtMs = now + RENEW_MS;
      this.#actions.push({ type: 'renew-vips' });
    }
    if (s.vip === 'held' && now >= s.announceAtMs) this.#announceOne();
    if (s.vip === 'none' && s.finishing !== undefined && now >= s.renewAtMs) {
      s.renewAtMs = now + RENEW_MS;
      this.#actions.push({ type: 'renew-parked' });
    }
  }

  /**
   * What belongs to connections of the peer is sent on for as long as the peer says that it finishes them; its
   * death ends that, so that clients get a reset. Two nodes that forward to each other would send a stray segment
   * to and fro, so that is kept short.
   */
  #considerForwarding(): void {
    const s = this.#s;
    const alive = isPeerAlive(this.#config, s, this.#now);
    const wanted = this.#config.secondChance && alive && s.peer!.report.finishing;
    if (wanted) {
      s.forwardUntilMs = undefined;
      if (s.forwarding) return;
      s.forwarding = true;
      this.#actions.push({ type: 'forward' });
      return;
    }
    if (!s.forwarding) return;
    if (alive && s.finishing !== undefined) s.forwardUntilMs ??= this.#now + FORWARD_TAIL_MS;
    else s.forwardUntilMs = this.#now;
    if (this.#now >= s.forwardUntilMs) this.#stopForwarding();
  }

  #stopForwarding(): void {
    const s = this.#s;
    if (!s.forwarding) return;
    s.forwarding = false;
    s.forwardUntilMs = undefined;
    this.#actions.push({ type: 'unforward' });
  }

  #considerFinishing(): void {
    const s = this.#s;
    const finishing = s.finishing;
    if (finishing === undefined || s.vip !== 'none') return;
    const { phase, untilMs, notBeforeMs } = finishing;
    const { connections } = s.lbd;
    const { name } = this.#config.peer;
    const peerActive = isPeerAlive(this.#config, s, this.#now) && s.peer!.report.role === 'active';
    if (this.#cannotServe()) this.#endFinishing(this.#faultCause() ?? 'lbd cannot serve');
    else if (connections === 0 && (phase === 'over' || this.#now >= notBeforeMs))
      this.#endFinishing('no connection is left');
    else if (phase === 'over' && this.#now >= untilMs)
      this.#endFinishing('the time of the connections is over');
    else if (this.#now >= untilMs) {
      s.finishing = { ...finishing, phase: 'over', untilMs: this.#now + CUT_MS };
      const left = connections === undefined ? 'what is left' : `${connections} connections`;
      this.#log('warn', 'vip', `not finished within ${this.#config.drainMs / 1000} s: cutting ${left}`);
      this.#tellLbd();
    } else if (phase === 'retiring' && peerActive) {
      s.finishing = { ...finishing, phase: 'finishing' };
      const count = connections === undefined ? 'the' : String(connections);
      this.#log(
        'info',
        'vip',
        `finishing ${count} connections of the former active; ${name} sends their segments on`,
      );
      this.#tellLbd();
    }
  }

  #watchPeer(): void {
    const s = this.#s;
    const alive = isPeerAlive(this.#config, s, this.#now);
    if (alive !== s.peerAlive) {
      s.peerAlive = alive;
      const { peer } = this.#config;
      if (alive) this.#log('info', 'peer', `${peer.name} is heard (${s.peer!.report.role})`);
      else {
        s.probedUntilMs = undefined;
        s.dualSinceMs = undefined;
        this.#log(
          'warn',
          'peer',
          `${peer.name} is dead: silent for ${Math.round(this.#now - s.peer!.heardMs)} ms`,
        );
      }
    }
    const candidate = (s.role === 'standby' || s.role === 'init') && !s.stopping;
    if (candidate && s.vip === 'none' && this.#now >= this.#probeAt()) this.#probe();
  }

  /** Asks the silent peer for a sign; if it is active and hears this, but is not heard, it steps down. */
  #probe(): void {
    if (this.#s.probingSinceMs !== undefined) return;
    this.#s.probingSinceMs = this.#now;
    this.#send(1);
  }

  #faultCause(): string | undefined {
    const s = this.#s;
    for (const why of s.downInterfaces.values()) return why;
    if (s.vipFault !== undefined) return s.vipFault.why;
    if (!this.#config.trackLbd) return undefined;
    if (!s.lbd.alive) return `lbd is dead: ${s.lbd.why}`;
    // A worker that is replaced must not cost the active node its role; a node that starts must be ready.
    if (!s.lbd.ready && s.role !== 'active') return `lbd is not ready: ${s.lbd.why}`;
    return undefined;
  }

  /** What clients have open here is lost whatever this node does. */
  #cannotServe(): boolean {
    const { lbd, downInterfaces, vipFault } = this.#s;
    return !lbd.alive || downInterfaces.size > 0 || vipFault !== undefined;
  }

  /** The peer's last word may be older than its knowledge of this node's fault: ask again before deciding. */
  #recover(): void {
    if (isPeerAlive(this.#config, this.#s, this.#now)) this.#listen();
    this.#become('init', 'the fault is gone');
    this.#probe();
  }

  #considerTakeover(): void {
    const s = this.#s;
    const { self, peer } = this.#config;
    const report = s.peer?.report;
    if (report === undefined || !isPeerAlive(this.#config, s, this.#now)) {
      s.preemptAtMs = undefined;
      if (this.#defersToHello()) {
        this.#because(`${peer.name} is there, but does not hear this node`);
        return;
      }
      this.#probe();
      if (this.#now < this.#probedAt()) return;
      const silence =
        s.peer === undefined ? 'was never heard' : `silent for ${Math.round(this.#now - s.peer.heardMs)} ms`;
      this.#takeOver(`${peer.name} is dead: ${silence}`);
      return;
    }
    if (report.role === 'active') {
      this.#considerPreempting(report);
      this.#because(`${peer.name} is active`);
      return;
    }
    s.preemptAtMs = undefined;
    if (report.role === 'fault') this.#takeOver(`${peer.name} is in fault`);
    else if (report.probe) this.#because(`${peer.name} does not hear this node and will take over`);
    else if (s.holdUntilMs !== undefined) return;
    else if (report.priority === 0) this.#takeOver(`${peer.name} stepped down`);
    else if (compareCandidates(this.#ownClaim(), this.#peerClaim(report)) > 0)
      this.#takeOver(`nobody is active and ${self.name} goes before ${peer.name}`);
    else this.#because(`nobody is active and ${peer.name} goes before ${self.name}`);
  }

  #considerPreempting(report: PeerReport): void {
    const s = this.#s;
    const { preemptDelayMs, self } = this.#config;
    const ready = isHealthy(this.#config, s, this.#now) && (s.lbd.synced || !this.#config.trackLbd);
    if (preemptDelayMs === undefined || !ready || report.priority === 0 || self.priority <= report.priority) {
      s.preemptAtMs = undefined;
      return;
    }
    s.preemptAtMs ??= this.#now + preemptDelayMs;
    if (this.#now < s.preemptAtMs || s.requestUntilMs !== undefined) return;
    s.requestUntilMs = this.#now + 2 * deadTimeMs(this.#config, s);
    this.#log('info', 'switchover', `preempting: priority ${self.priority} is above ${report.priority}`);
    this.#send(URGENT_COPIES);
  }

  #considerStepDown(): void {
    const s = this.#s;
    const { peer } = this.#config;
    if (s.probedUntilMs !== undefined && this.#now >= s.probedUntilMs) {
      this.#hold();
      this.#become('standby', `${peer.name} does not hear this node and takes over`);
      this.#removeVips();
      return;
    }
    if (s.dualSinceMs !== undefined && this.#now >= this.#patientUntil()) {
      this.#become('standby', `${peer.name} is active too and does not hear this node`);
      this.#removeVips();
      return;
    }
    if (s.vip !== 'held' || !this.#peerCanTakeOver()) return;
    if (s.lbd.stopping) this.#handOver('lbd is stopping');
    else if (s.peer!.report.request) this.#handOver(`${peer.name} asked for the role`);
    else if (!isHealthy(this.#config, s, this.#now) && s.peer!.report.healthy)
      this.#handOver(`lbd has no healthy backend and ${peer.name} has (${s.lbd.why})`);
  }

  #peerCanTakeOver(): boolean {
    const report = this.#s.peer?.report;
    if (report === undefined || !isPeerAlive(this.#config, this.#s, this.#now)) return false;
    return report.role === 'standby' && report.priority > 0;
  }

  /**
   * A peer that this node hears but that has never heard this process will become or stay active, whatever
   * this node says. It only counts while this process has never had a fresh heartbeat.
   */
  #defersToHello(): boolean {
    const { peer, hello } = this.#s;
    if (peer !== undefined || hello === undefined || hello.role === 'fault') return false;
    return this.#now - hello.heardMs < deadTimeMs(this.#config, this.#s);
  }

  // --- transitions

  #takeOver(why: string): void {
    const s = this.#s;
    s.epoch = Math.max(s.epoch, s.peer?.report.epoch ?? 0) + 1;
    s.vip = 'promoting';
    // They are this node's connections again like all others; adding the VIPs takes their parked place.
    s.finishing = undefined;
    s.vipDeadlineMs = this.#now + PROMOTE_MS;
    this.#become('active', why);
    if (!s.lbd.alive) this.#addVips();
  }

  /** Planned: what is open finishes here, if both nodes can do it. */
  #handOver(why: string): void {
    this.#hold();
    this.#leave(why);
  }

  #hold(): void {
    // Two dead times: the peer may miss a heartbeat, and `lbd` there has its time to prepare.
    this.#s.holdUntilMs = this.#now + 2 * deadTimeMs(this.#config, this.#s) + PROMOTE_MS;
  }

  #leave(why: string): void {
    const s = this.#s;
    const { secondChance, peer } = this.#config;
    // A peer that probes is about to take over: there is no time to retire.
    const inTime = this.#peerCanTakeOver() && s.probedUntilMs === undefined;
    const able = s.vip === 'held' && secondChance && inTime && !this.#cannotServe();
    if (!able || !s.peer!.report.forwards) {
      if (able) this.#log('warn', 'vip', `${peer.name} cannot forward, so open connections break`);
      this.#become('standby', why);
      if (s.vip !== 'retiring') this.#removeVips();
      return;
    }
    s.finishing = { phase: 'retiring', untilMs: Number.POSITIVE_INFINITY, notBeforeMs: this.#now };
    s.vip = 'retiring';
    s.vipDeadlineMs = this.#now + RETIRE_MS;
    if (s.holdUntilMs !== undefined) s.holdUntilMs += RETIRE_MS;
    this.#become('standby', why);
    // The peer prepares to forward before it sees that the VIPs are gone.
    this.#send(URGENT_COPIES);
  }

  #parkVips(): void {
    const s = this.#s;
    s.vip = 'removing';
    s.vipDeadlineMs = this.#now + LEASE_GONE_MS;
    s.renewAtMs = this.#now + REMOVE_RETRY_MS;
    this.#actions.push({ type: 'park-vips' });
  }

  #endFinishing(why: string): void {
    const s = this.#s;
    if (s.finishing === undefined) return;
    s.finishing = undefined;
    this.#log('info', 'vip', `has finished its connections of the former active: ${why}`);
    this.#actions.push({ type: 'unpark-vips' });
    this.#tellLbd();
    this.#send(s.stopping ? GOODBYE_COPIES : URGENT_COPIES);
  }

  #addVips(): void {
    this.#s.vip = 'adding';
    this.#actions.push({ type: 'add-vips' });
  }

  #removeVips(): void {
    const s = this.#s;
    if (s.vip === 'none' || s.vip === 'removing') return;
    if (s.vip === 'promoting') {
      s.vip = 'none';
      // What was parked here before the takeover goes too.
      this.#actions.push({ type: 'unpark-vips' });
      return;
    }
    this.#endFinishing('the VIPs go at once');
    s.vip = 'removing';
    s.vipDeadlineMs = this.#now + LEASE_GONE_MS;
    s.renewAtMs = this.#now + REMOVE_RETRY_MS;
    this.#actions.push({ type: 'remove-vips' });
  }

  #become(role: Role, why: string): void {
    const s = this.#s;
    const changed = s.role !== role;
    s.role = role;
    s.why = why;
    s.probedUntilMs = undefined;
    s.preemptAtMs = undefined;
    s.dualSinceMs = undefined;
    if (role === 'active' || role === 'fault') s.probingSinceMs = undefined;
    if (changed) s.sinceMs = this.#now;
    this.#log(role === 'fault' ? 'error' : 'info', 'role', `${role} (epoch ${s.epoch}): ${why}`);
    if (!changed) return;
    this.#tellLbd();
    // What the peer should act on goes out once the VIPs are gone, see `#gone`.
    this.#send(1);
  }

  #because(why: string): void {
    this.#s.why = why;
  }

  #listen(): void {
    const s = this.#s;
    s.listenSinceMs = this.#now;
    s.listenUntilMs = this.#now + deadTimeMs(this.#config, s);
    s.probingSinceMs = undefined;
    s.requestUntilMs = undefined;
  }

  #announce(): void {
    this.#s.announceLeft = this.#config.announceCount;
    this.#announceOne();
  }

  /** The timer is the election's, so that a node that was paused looks at its role before it announces again. */
  #announceOne(): void {
    const s = this.#s;
    const { announceRefreshMs } = this.#config;
    s.announceLeft = Math.max(0, s.announceLeft - 1);
    const refreshMs = announceRefreshMs > 0 ? announceRefreshMs : Number.POSITIVE_INFINITY;
    s.announceAtMs = this.#now + (s.announceLeft > 0 ? ANNOUNCE_SPACING_MS : refreshMs);
    this.#actions.push({ type: 'announce' });
  }

  #send(copies: number): void {
    this.#copies = Math.max(this.#copies, copies);
  }

  #tellLbd(): void {
    const { role, epoch, finishing } = this.#s;
    this.#actions.push({ type: 'tell-lbd', role, epoch, finishing: finishing?.phase });
  }

  #log(level: 'info' | 'warn' | 'error', kind: 'role' | 'vip' | 'peer' | 'switchover', text: string): void {
    this.#actions.push({ type: 'log', level, kind, text });
  }

  // --- questions

  #heardSinceListening(): boolean {
    return this.#s.peer !== undefined && this.#s.peer.heardMs >= this.#s.listenSinceMs;
  }

  /** When the peer has been silent for so long that it should be probed. */
  #probeAt(): number {
    const heardMs = Math.max(this.#s.peer?.heardMs ?? 0, this.#s.listenSinceMs);
    return heardMs + deadTimeMs(this.#config, this.#s) - MARGIN * this.#config.intervalMs;
  }

  /** When a probe has been out for so long that the peer is either gone or has stepped down. */
  #probedAt(): number {
    return (this.#s.probingSinceMs ?? this.#now) + MARGIN * this.#config.intervalMs;
  }

  #patientUntil(): number {
    return (this.#s.dualSinceMs ?? this.#now) + DUAL_PATIENCE_INTERVALS * this.#config.intervalMs;
  }

  #ownClaim(): Claim {
    const { self } = this.#config;
    const healthy = isHealthy(this.#config, this.#s, this.#now);
    return { epoch: this.#s.epoch, healthy, priority: self.priority, address: self.address };
  }

  #peerClaim(report: PeerReport): Claim {
    const { epoch, healthy, priority } = report;
    return { epoch, healthy, priority, address: this.#config.peer.address };
  }

  #wakeAt(): number {
    const s = this.#s;
    const times = [this.#now + this.#config.intervalMs, s.listenUntilMs];
    const add = (at: number | undefined) => at !== undefined && times.push(at);
    add(s.holdUntilMs);
    add(s.requestUntilMs);
    add(s.preemptAtMs);
    add(s.probedUntilMs);
    if (s.dualSinceMs !== undefined) add(this.#patientUntil());
    add(s.vipFault?.untilMs);
    if (s.unhealthySinceMs !== undefined) add(s.unhealthySinceMs + HEALTH_HOLD_MS);
    if (s.peer !== undefined) add(s.peer.heardMs + deadTimeMs(this.#config, s));
    if (s.probingSinceMs === undefined) add(this.#probeAt());
    else add(this.#probedAt());
    if (s.hello !== undefined) add(s.hello.heardMs + deadTimeMs(this.#config, s));
    if (s.vip === 'promoting' || s.vip === 'retiring' || s.vip === 'removing') add(s.vipDeadlineMs);
    if (s.vip === 'held' || s.vip === 'removing' || s.finishing !== undefined) add(s.renewAtMs);
    add(s.forwardUntilMs);
    if (s.finishing !== undefined && s.vip === 'none')
      for (const at of [s.finishing.untilMs, s.finishing.notBeforeMs]) add(at);
    if (s.vip === 'held') add(s.announceAtMs);
    return Math.min(...times.filter((at) => at > this.#now));
  }
}

function claims(epoch: number, priority: number, report: PeerReport): string {
  return `epoch ${epoch} here, ${report.epoch} there; priority ${priority} here, ${report.priority} there`;
}
