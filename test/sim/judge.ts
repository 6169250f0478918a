import type { SimNode } from './cluster.ts';
import type { Simulation } from './simulation.ts';

/** After something stood in the way of the nodes: the longest time until one of them has dropped the VIP. */
const REACT_MS = 60;
/** A datagram may be on its way for so long. */
const TRIP_MS = 16;
/** Agent and guardian try so often to remove what they could not remove. */
const RETRY_MS = 100;
/** `valid_lft` and one sweep of the kernel, see `machine.ts`. */
const LEASE_MS = 3_000;

export interface Measure {
  readonly intervalMs: number;
  readonly deadMs: number;
  /** Datagrams are lost at random, on all paths. */
  readonly lossy: boolean;
  readonly log: (line: string) => void;
}

/** Looks at two nodes after every happening, and writes down what must not be. */
export class Judge {
  readonly problems: string[] = [];
  /** From then on there is one owner, and it stays. */
  convergedMs = Number.POSITIVE_INFINITY;
  /** Longest time with two owners for other reasons than a cut. */
  worstDualMs = 0;
  takeovers = 0;
  readonly #sim: Simulation;
  readonly #nodes: readonly [SimNode, SimNode];
  readonly #measure: Measure;
  #owner = '';
  #dualSince: number | undefined;
  /** Two owners are nobody's fault until then, and why. */
  #excusedUntil = 0;
  #blind = false;
  #blindMs = 0;
  readonly #troubles = new Map<SimNode, string>();
  #blindUntil = 0;
  readonly #mutedMs = new Map<SimNode, number>();
  #ownerAtConvergence: string | undefined;

  constructor(sim: Simulation, nodes: readonly [SimNode, SimNode], measure: Measure) {
    this.#sim = sim;
    this.#nodes = nodes;
    this.#measure = measure;
  }

  watch(): void {
    const { now } = this.#sim;
    const [a, b] = this.#nodes;
    this.#excuse();
    for (const { name, machine } of this.#nodes)
      if (machine.parked && machine.owns) this.#problem(`${name} holds and parks`);
    const count = Number(a.machine.serves) + Number(b.machine.serves);
    const owner = count === 2 ? 'both' : a.machine.serves ? a.name : b.machine.serves ? b.name : '';
    if (owner !== this.#owner) {
      this.#measure.log(`  owner: ${owner || 'nobody'}`);
      if (owner !== '') this.takeovers++;
    }
    this.#owner = owner;
    this.#judgeDual(count === 2);
    if (now < this.convergedMs) return;
    this.#ownerAtConvergence ??= owner;
    if (count !== 1) this.#problem(`${count} owners after convergence`);
    else if (owner !== this.#ownerAtConvergence) this.#problem('the role moved without a cause');
  }

  /** @param faults how many there were */
  conclude(faults: number): void {
    const [a, b] = this.#nodes;
    for (const { name, machine } of this.#nodes)
      if (machine.parked || machine.forwards)
        this.#problem(`${name} at the end: parked ${machine.parked}, forwards ${machine.forwards}`);
    if (a.state.epoch !== b.state.epoch) this.#problem(`epochs differ: ${a.state.epoch}, ${b.state.epoch}`);
    const roles = [a.state.role, b.state.role].sort().join();
    if (roles !== 'active,standby') this.#problem(`roles at the end: ${roles}`);
    // Each fault begins and ends, and a change of the owner is seen as up to three: both or nobody in between.
    if (!this.#measure.lossy && this.takeovers > 2 + 6 * faults)
      this.#problem(`${this.takeovers} changes of the owner for ${faults} faults`);
  }

  #judgeDual(dual: boolean): void {
    const { now } = this.#sim;
    if (!dual) {
      this.#dualSince = undefined;
      return;
    }
    this.#dualSince ??= now;
    const lasts = now - Math.max(this.#dualSince, this.#blindUntil);
    if (now > this.#excusedUntil && now > this.#blindUntil) this.#problem('two owners without an excuse');
    if (now <= this.#blindUntil) return;
    this.worstDualMs = Math.max(this.worstDualMs, lasts);
    if (lasts > LEASE_MS + REACT_MS) this.#problem(`two owners for ${Math.round(lasts)} ms`);
  }

  /**
   * A node that hears nothing must serve where the other one cannot know: when neither hears the other, or when it
   * is deaf and one of them restarted meanwhile. Where a pause follows a cut, the guardian counts from a later
   * heartbeat than the peer; the same for two that lose many datagrams. A node on which nothing runs that could take
   * the VIP away keeps it until its lease ends.
   */
  #excuse(): void {
    const { now } = this.#sim;
    const [a, b] = this.#nodes;
    const { deadMs, intervalMs, lossy } = this.#measure;
    const isDeaf = (node: SimNode) =>
      node.machine.holds('agent') || node.peer.links.every((link) => link.cut);
    const isBlind = (node: SimNode) => isDeaf(node) && (isDeaf(node.peer) || !node.knowsPeer);
    for (const node of this.#nodes) if (node.links.every((link) => link.cut)) this.#mutedMs.set(node, now);
    const wasBlind = this.#blind;
    const wasMuted = (node: SimNode) => now - (this.#mutedMs.get(node) ?? -deadMs) < deadMs;
    // First the one way and then the other one: a probe or its answer was lost all the same.
    this.#blind = isBlind(a) || isBlind(b) || (wasMuted(a) && wasMuted(b));
    if (this.#blind || wasBlind) {
      this.#blindMs = now;
      this.#blindUntil = now + intervalMs + REACT_MS;
    } else if (now < this.#blindUntil && (isDeaf(a) || isDeaf(b)))
      // Only one way has healed: the one that hears waits for the other one, and then gives way.
      this.#blindUntil = this.#blindMs + 3 * intervalMs + REACT_MS;
    if (this.#crossed()) this.#excuseFor(2 * TRIP_MS);
    const isStale = (node: SimNode) => node.machine.holds('agent') && wasMuted(node);
    if (isStale(a) || isStale(b) || lossy) this.#excuseFor(deadMs + intervalMs);
    for (const node of this.#nodes) {
      // Nobody knows of that address but the kernel, which ends its lease.
      if (now === node.strayMs) this.#excuseFor(LEASE_MS + REACT_MS);
      const { paused, owns } = node.machine;
      const isHelpless = node.helpless || paused === 'node';
      const trouble = node.machine.ipBroken ? 'ip' : paused === 'vm' ? 'vm' : isHelpless ? 'helpless' : '';
      const troubles = [this.#troubles.get(node) ?? '', trouble];
      this.#troubles.set(node, trouble);
      if (troubles.includes('ip')) this.#excuseFor(RETRY_MS + REACT_MS);
      else if (troubles.includes('vm')) {
        // Where its clock stood still as well, only the peer's heartbeat tells it that it was paused.
        const isUnheard = node.peer.links.every((link) => link.cut);
        this.#excuseFor((isUnheard ? 3 : 1) * intervalMs + REACT_MS);
      } else if (troubles.includes('helpless')) this.#excuseFor(REACT_MS);
      // A guardian that has just replaced another one counts from its first beat, later than the peer may.
      else if (owns && paused !== undefined && now - node.machine.guardianSinceMs < deadMs)
        this.#excuseFor(REACT_MS);
      // One trouble after the other: its guardian acts in the end.
      else if (owns && paused !== undefined && now < this.#excusedUntil) this.#excuseFor(REACT_MS);
    }
  }

  /** Both took over while what the other one did was on its way. */
  #crossed(): boolean {
    const ages = this.#nodes.map(({ up, state, machine }) =>
      up && state.role === 'active' ? machine.now - state.sinceMs : undefined,
    );
    const [a, b] = ages;
    return a !== undefined && b !== undefined && a < TRIP_MS && b < TRIP_MS;
  }

  #excuseFor(ms: number): void {
    this.#excusedUntil = Math.max(this.#excusedUntil, this.#sim.now + ms);
  }

  #problem(text: string): void {
    this.problems.push(`${text} at ${this.#sim.now.toFixed(1)}`);
  }
}
