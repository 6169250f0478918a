import { considerStepDown, considerTakeover, faultCause, recover, switchover } from './election-duty.ts';
import { askNeighbours, presence, vipsProbed } from './election-evidence.ts';
import {
  considerFinishing,
  considerForwarding,
  endFinishing,
  GOODBYE_COPIES,
  stopForwarding,
} from './election-finishing.ts';
import {
  considerLease,
  initialStanding,
  lastLeaseReport,
  leaseHeard,
  leaseReport,
  tendLease,
} from './election-lease.ts';
import { carries, linkUp, servedMs } from './election-link.ts';
import { heartbeat, watchPeer } from './election-peer.ts';
import { suspect } from './election-suspicion.ts';
import { activeLimitMs, hasBackends, lateLimitMs, ownDeadTimeMs } from './election-times.ts';
import { Turn } from './election-turn.ts';
import { twin } from './election-twin.ts';
import type {
  ElectionConfig,
  ElectionEvent,
  ElectionResult,
  ElectionState,
  PeerReport,
} from './election-types.ts';
import { added, addVips, leave, parkVips, removed, removeVips, renewed, tendVips } from './election-vips.ts';
import { echoed, NOT_SLOW, ticked, toldExtraMs } from './slowness.ts';

export { deadTimeMs, isPeerAlive } from './election-times.ts';

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
    presence: undefined,
    answers: { askedMs: undefined, answeredMs: undefined, known: true, rival: undefined, proxies: [] },
    heldOff: undefined,
    doubtSinceMs: undefined,
    link: { sinceMs: now, why: 'this node has just started', carriesSinceMs: undefined },
    check: undefined,
    twin: undefined,
    peerAlive: false,
    lbd: { alive: false, ready: false, healthy: false, synced: false, why: 'not connected yet' },
    unhealthySinceMs: undefined,
    downInterfaces: new Map(),
    witness: undefined,
    lease: initialStanding(config),
    suspicion: undefined,
    trustUntilMs: now,
    trustMs: 0,
    vacancy: undefined,
    operatorsChoice: undefined,
    lastTickMs: now,
    slowness: NOT_SLOW,
    listenUntilMs: now + config.deadAfter * config.intervalMs,
    listenSinceMs: now,
    holdUntilMs: undefined,
    formerUntilMs: 0,
    recoveredUntilMs: now,
    dualSinceMs: undefined,
    requestUntilMs: undefined,
    preemptAtMs: undefined,
    probedUntilMs: undefined,
    asking: false,
    probingSinceMs: undefined,
    vipDeadlineMs: now,
    heldSinceMs: now,
    promotedMs: now,
    renewal: { askedMs: undefined, goodMs: now, trouble: undefined },
    renewAtMs: now,
    announceAtMs: Number.POSITIVE_INFINITY,
    announceLeft: 0,
    announceAgainMs: undefined,
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
    healthy: hasBackends(config, state),
    request: state.role === 'standby' && state.requestUntilMs !== undefined && now < state.requestUntilMs,
    // A node that leaves takes nothing over.
    probe: state.probingSinceMs !== undefined && !state.stopping,
    finishing: state.finishing !== undefined,
    forwards: config.secondChance,
    ask: state.suspicion !== undefined || state.asking,
    deadTimeMs: ownDeadTimeMs(config) + toldExtraMs(state.slowness),
    servedMs: servedMs(state, now),
    lease: leaseReport(config, state, now),
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
    lease: lastLeaseReport(config, state),
  };
}

/**
 * The election. Pure: time is in the event, and what should be done comes back as actions, in order.
 *
 * Rules: a node listens for one dead time before it may become active; both nodes compute the same one. While an active
 * peer is heard, nobody takes over. When nobody is active, the better candidate takes over (`compareCandidates`). Silence is
 * death, unless something else speaks against it (`election-evidence.ts`): a node whose link is new, or that hears a peer
 * and does not understand it, or that sees somebody else answer for the VIPs, waits. One that took over on silence alone
 * yields to who still answers once every lifetime must be over. A node hands over in this order: VIPs removed and seen to be
 * gone, priority 0, takeover by the peer. In a planned hand-over it keeps its open connections: the peer sends on to it what
 * belongs to them, until they are finished. When two active nodes hear each other, `compareActives` says which one drops its
 * VIPs at once. An active node whose VIPs are not there, or whose lifetime was not renewed in time, is in fault. A tick that
 * comes late means that the peer may have taken over: drop the VIPs, listen, elect again. A node that hears neither peer nor
 * witness is in fault.
 */
export function step(config: ElectionConfig, state: ElectionState, event: ElectionEvent): ElectionResult {
  const turn = new Turn(config, state, event.now);
  apply(turn, event);
  evaluate(turn);
  tendLease(turn);
  return turn.result();
}

function apply(turn: Turn, event: ElectionEvent): void {
  const { s, now } = turn;
  const gapMs = now - s.lastTickMs;
  const isLate = event.type !== 'start' && gapMs > patienceMs(turn);
  if (isLate) late(turn, gapMs);
  if (isLate || event.type === 'tick') {
    s.lastTickMs = now;
    noteTick(turn, gapMs);
  }
  // It may have waited in the socket during the pause.
  if (isLate && (event.type === 'heartbeat' || event.type === 'suspect')) return;
  switch (event.type) {
    case 'start':
      s.lastTickMs = now;
      turn.listen();
      linkUp(turn, s.link.why);
      turn.send(1);
      turn.tellLbd();
      break;
    case 'tick':
      turn.send(1);
      break;
    case 'wake':
      break;
    case 'heartbeat':
      s.slowness = echoed(s.slowness, event.echoMs);
      heartbeat(turn, event.report, event.restarted);
      break;
    case 'hello':
      s.hello = { role: event.role, heardMs: now };
      carries(turn);
      if (event.isToAnswer) turn.send(1);
      break;
    case 'presence':
      presence(turn, event.why);
      break;
    case 'twin':
      twin(turn, event);
      break;
    case 'vips-probed':
      vipsProbed(turn, event);
      break;
    case 'suspect':
      suspect(turn, event);
      break;
    case 'lease':
      leaseHeard(turn, event.view);
      break;
    case 'witness':
      witness(turn, event.result);
      break;
    case 'carries':
      carries(turn);
      break;
    case 'lbd':
      s.lbd = event.report;
      if (event.report.healthy) s.unhealthySinceMs = undefined;
      else s.unhealthySinceMs ??= now;
      break;
    case 'interface':
      watchInterface(turn, event.name, event.up, event.why);
      break;
    case 'vips-added':
      added(turn, event.error, event.steps);
      break;
    case 'vips-renewed':
      renewed(turn, event.error, event.gone === true);
      break;
    case 'vips-removed':
      if (event.error === undefined && event.parked === false)
        endFinishing(turn, 'this host could not keep them');
      removed(turn, event.error);
      break;
    case 'promoted':
      if (s.vip === 'promoting' && event.epoch === s.epoch) addVips(turn);
      break;
    case 'guardian-fired':
      guardianFired(turn);
      break;
    case 'retired':
      if (s.vip === 'retiring' && event.epoch === s.epoch) parkVips(turn);
      break;
    case 'switchover':
      switchover(turn, event.to);
      break;
    case 'stop':
      s.stopping = true;
      leave(turn, 'this agent is stopping');
      if (s.vip === 'none') turn.send(GOODBYE_COPIES);
      break;
  }
}

/** Longest gap between two ticks that this node bears: who is not active may have missed more than it thinks. */
function patienceMs({ config, s }: Turn): number {
  return s.role === 'active' ? activeLimitMs(config, s) : lateLimitMs(config);
}

function noteTick(turn: Turn, gapMs: number): void {
  const { s, config } = turn;
  const before = s.slowness.extraMs;
  s.slowness = ticked(config, s.slowness, gapMs, turn.now);
  const { extraMs } = s.slowness;
  if (before === 0 && extraMs > 0) turn.log('warn', 'role', slownessText(config, s)!);
  else if (before > 0 && extraMs === 0)
    turn.log('info', 'role', 'this process gets its processor in time again');
}

/** That this node is slow, and what follows from it; undefined: it is not. */
export function slownessText(
  config: ElectionConfig,
  { slowness }: Pick<ElectionState, 'slowness'>,
): string | undefined {
  if (slowness.extraMs === 0) return undefined;
  const own = ownDeadTimeMs(config);
  const worst = Math.max(...slowness.late.map(({ byMs }) => byMs));
  return `this process gets its processor late, by up to ${Math.round(worst)} ms: silence counts as death after ${own + slowness.extraMs} ms, not ${own}`;
}

/** Draws the conclusions from the state, whatever the event was. */
function evaluate(turn: Turn): void {
  const { s, now } = turn;
  if (s.holdUntilMs !== undefined && now >= s.holdUntilMs) s.holdUntilMs = undefined;
  if (s.requestUntilMs !== undefined && (now >= s.requestUntilMs || s.role !== 'standby'))
    s.requestUntilMs = undefined;
  tendVips(turn);
  watchPeer(turn);
  askNeighbours(turn);
  considerLease(turn);
  const fault = faultCause(turn);
  considerForwarding(turn);
  considerFinishing(turn, fault);
  if (s.stopping) return;
  if (fault !== undefined) {
    if (s.role !== 'fault' || s.why !== fault) turn.become('fault', fault);
    // An `lbd` that only stops goes on with the clients that it has.
    if (s.vip !== 'removing' && (s.vip !== 'retiring' || turn.cannotServe)) removeVips(turn);
    return;
  }
  if (s.vip === 'removing' || s.vip === 'retiring') return;
  const listening = now < s.listenUntilMs && !turn.heardSinceListening;
  if (s.role === 'fault') recover(turn);
  else if (s.role === 'init' && !listening) turn.become('standby', 'has listened for the peer');
  if (s.role === 'standby') considerTakeover(turn);
  else if (s.role === 'active') considerStepDown(turn);
}

function late(turn: Turn, gapMs: number): void {
  const { s } = turn;
  endFinishing(turn, 'this process was paused');
  const gap = `this process was paused or starved: ${Math.round(gapMs)} ms between two heartbeats, expected ${turn.config.intervalMs}`;
  // By now the guardian has removed them, and the peer may have added them.
  if (s.vip === 'retiring') removeVips(turn);
  s.suspicion = undefined;
  s.vacancy = undefined;
  if (s.stopping) return;
  turn.act({ type: 'renew-nonce' });
  turn.send(1);
  if (s.role === 'active') {
    loseLeadership(turn, gap);
    return;
  }
  // A node that is slow has said so, and says when that is over.
  if (s.slowness.extraMs === 0) turn.log('warn', 'role', gap);
  turn.listen();
  if (s.role === 'standby') turn.become('init', gap);
}

/** The peer may be active by now: drop the VIPs, listen, elect again. */
function loseLeadership(turn: Turn, why: string): void {
  turn.listen();
  turn.become('init', why);
  removeVips(turn);
}

function guardianFired(turn: Turn): void {
  endFinishing(turn, 'the guardian removed the VIPs');
  stopForwarding(turn);
  // The guardian has said farewell with a count ahead of this process's own.
  turn.act({ type: 'renew-nonce' });
  // Nothing is left to retire from.
  if (turn.s.vip === 'retiring') removeVips(turn);
  if (turn.s.role === 'active') loseLeadership(turn, 'the guardian missed its beats and removed the VIPs');
}

function watchInterface(turn: Turn, name: string, up: boolean, why: string): void {
  const { s } = turn;
  const before = s.downInterfaces.size;
  const down = new Map(s.downInterfaces);
  if (up) down.delete(name);
  else down.set(name, why);
  s.downInterfaces = down;
  // What the peer said meanwhile may have been lost with the cable, and its neighbour entry too.
  if (before === 0 || down.size > 0) return;
  turn.listen();
  linkUp(turn, `interface ${name} has come up`);
}

function witness(turn: Turn, result: ElectionState['witness'] & object): void {
  const before = turn.s.witness?.reachable;
  turn.s.witness = result;
  if (result.reachable && result.sinceMs >= turn.s.link.sinceMs) carries(turn);
  if (before === result.reachable) return;
  turn.log(result.reachable ? 'info' : 'warn', 'witness', result.why);
}
