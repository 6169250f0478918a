import type { AgentStatus } from '../../common/control.ts';
import { Adversary } from './adversary.ts';
import type { ConfigChoice } from './config.ts';
import type { Need, Scene } from './fault.ts';
import type { Link } from './network.ts';
import type { Node } from './node.ts';
import { Ownership } from './ownership.ts';
import { Pair } from './pair.ts';
import { randomFrom } from './simulation.ts';

/** Both have started, listened and elected by now. */
const REST_MS = 1_300;
/** A switchover is over: connections that finish have had their time. */
const SWITCHED_MS = 1_500;
/** Before its story begins, a pair is at rest for so long. */
const RESTED_MS = 200;
/** Between two looks whether the pair is at rest. */
const LOOK_MS = 25;
/** Silence is noticed within a dead time; a story that goes on for so long after it has seen what follows from that. */
const CALM_MS = 150;
/** One story in so many waits as long as it may, for what comes late. */
const PATIENT = 16;
/** Between two stories of a pair, at most. */
const GAP_MS = 25;
/** A farewell that was made before a pause of the peer proves nothing to it; each is good for so long. */
const FAREWELL_MS = 1_000;
/** Warnings of a node that waits longer than its file says. */
const WAITS = /gets its processor late|is heard and not understood/;
/** Share by which a clock may be wrong. */
const DRIFT = 500e-6;
export const PREEMPT_MS = 500;

/** A pair as the dice make it, and those who look at it. */
export class Stage {
  readonly pair: Pair;
  readonly choice: ConfigChoice;
  readonly otherDeadAfter: number;
  /** A datagram takes so long at most. */
  readonly tripMs: number;
  /** In the order of the groups. */
  readonly ownerships: readonly Ownership[];
  readonly #groups: readonly string[];
  /** Files of both nodes. */
  readonly #choices: readonly [ConfigChoice, ConfigChoice];
  #isPatient: boolean;
  #hasBegun = false;

  /** @param needs of the stories that are to be played */
  constructor(seed: number, needs: ReadonlySet<Need> = new Set()) {
    const dice = randomFrom(seed);
    this.choice = {
      groups: dice() < 0.25 && !needs.has('loneGroup') ? 2 : 1,
      preemptMs: dice() < 0.25 ? PREEMPT_MS : undefined,
      thirdPath: dice() < 0.3 || needs.has('thirdPath'),
      witness: dice() < 0.2 || needs.has('witness'),
      priorities: dice() < 0.2 ? [100, 100] : [150, 100],
    };
    const areFormer = needs.has('formerRelease');
    const isFormer = areFormer || (dice() < 0.1 && !needs.has('presentRelease'));
    // That release does not say how patient it is.
    const mayDiffer = !isFormer && dice() < 0.15;
    const otherChoice = { ...this.choice, deadAfter: mayDiffer ? 3 + Math.floor(dice() * 6) : 3 };
    this.otherDeadAfter = otherChoice.deadAfter;
    this.#choices = [this.choice, otherChoice];
    this.tripMs = dice() < 0.7 ? 1 : 15;
    this.pair = new Pair({
      seed: seed + 1e6,
      choice: this.choice,
      otherChoice,
      link: { maxDelayMs: this.tripMs, duplicate: dice() < 0.3 ? 0.2 : 0 },
      drift: [(dice() - 0.5) * 2 * DRIFT, (dice() - 0.5) * 2 * DRIFT],
    });
    if (isFormer)
      for (const { machine } of this.pair.nodes)
        if (areFormer || dice() < 0.5) this.pair.network.former.add(machine);
    this.#isPatient = dice() < 1 / PATIENT;
    this.#groups = this.choice.groups === 2 ? ['one', 'two'] : ['default'];
    this.ownerships = this.#groups.map((group, i) => new Ownership(this.pair, this.pair.vips[i]!, group));
  }

  /** Whether a story with such a need can be played. */
  has(need: Need | undefined): boolean {
    const { former } = this.pair.network;
    if (need === 'loneGroup') return this.choice.groups === 1;
    if (need === 'thirdPath') return this.choice.thirdPath === true;
    if (need === 'witness') return this.choice.witness === true;
    if (need === 'formerRelease') return former.size === this.pair.nodes.length;
    return need === undefined || former.size === 0;
  }

  /** The pair is as it was made, and nothing is under way or remembered that counts: another story can be played. */
  get isWhole(): boolean {
    const { problems, nodes } = this.pair;
    return (
      problems.length === 0 &&
      this.#isAtRest &&
      nodes.every(({ choice }, i) => choice === this.#choices[i]) &&
      nodes.every((node) => !remembers(node.status()!))
    );
  }

  /** The next story begins on the same pair. */
  turnTo(seed: number): void {
    this.pair.turnTo(seed + 1e6);
    for (const ownership of this.ownerships) ownership.forget();
    this.#isPatient = this.pair.random() < 1 / PATIENT;
  }

  /** Goes on for so long. */
  run(ms: number): void {
    const { sim } = this.pair;
    sim.runUntil(sim.now + ms, () => {
      for (const ownership of this.ownerships) ownership.watch();
    });
  }

  /** Starts both nodes if it is the first story, and waits until they are at rest. @returns who serves; undefined: nobody, or both */
  begin(): Node | undefined {
    const { pair } = this;
    const { random } = pair;
    const [first] = this.ownerships;
    if (this.#hasBegun) this.run(Math.max(random() * GAP_MS, this.#farewellMs - pair.sim.now));
    else this.#start();
    for (const { vip, owners } of this.ownerships)
      if (owners.length !== 1) pair.problem(`${owners.length} nodes answer for ${vip} at rest`);
    return first!.owners.length === 1 ? first!.owners[0] : undefined;
  }

  /** When both have had the time to hear each other since the last pause, and to make their farewells anew. */
  get #farewellMs(): number {
    return FAREWELL_MS + Math.max(...this.pair.nodes.map(({ machine }) => machine.resumedMs));
  }

  #start(): void {
    const { pair } = this;
    const { random } = pair;
    this.#hasBegun = true;
    pair.start();
    if (random() < 0.4) new Adversary(pair).begin(1 + random() * 20);
    this.settle(REST_MS - RESTED_MS, RESTED_MS);
    if (random() < 0.4) {
      this.ownerships[0]!.owners[0]?.switchover('all');
      this.settle(SWITCHED_MS - RESTED_MS, RESTED_MS);
    }
    this.run(random() * 500);
  }

  /**
   * Goes on until the pair has been at rest for a dead time and a little more, or for as long as it may take, so that a
   * pair that finds no rest is judged by what it does in the end.
   *
   * @param mostMs after which it must be at rest
   * @param calmMs and stay so for this time
   * @returns since when it is at rest, or must be
   */
  settle(mostMs: number, calmMs: number): number {
    const { sim } = this.pair;
    let mustMs = sim.now + mostMs;
    const enoughMs = this.#isPatient ? Number.POSITIVE_INFINITY : Math.min(calmMs, this.deadMs + CALM_MS);
    let sinceMs = Number.POSITIVE_INFINITY;
    let reigns = 0;
    while (sim.now < mustMs + calmMs) {
      this.run(Math.min(LOOK_MS, mustMs + calmMs - sim.now));
      // What it waits for ends half a minute after a pause: by luck just now.
      if (this.ownerships.some((_, i) => this.#takesBackLater(i))) mustMs = sim.now + mostMs;
      const before = reigns;
      reigns = this.ownerships.reduce((sum, it) => sum + it.reigns.length, 0);
      if (reigns !== before || !this.#isAtRest) sinceMs = Number.POSITIVE_INFINITY;
      else sinceMs = Math.min(sinceMs, sim.now);
      if (sim.now - sinceMs >= enoughMs) return sinceMs;
    }
    return mustMs;
  }

  /** Nothing is wrong, and nothing is expected to change. */
  get #isAtRest(): boolean {
    const { pair } = this;
    return (
      pair.isolated === undefined &&
      pair.deaf.size === 0 &&
      pair.nodes.every((node) => node.isWell && pair.network.links(node.machine).every(carries)) &&
      this.ownerships.every(({ owners, group }, i) => {
        const [owner] = owners;
        const serves =
          owners.length === 1 &&
          owner!.role(group) === 'active' &&
          pair.nodes.every((node) => node.hears(group));
        // Where a node takes its role back, it has done so, or does so later.
        const isWanted = !this.#takesBack || owner === pair.nodes[i] || this.#takesBackLater(i);
        return serves && owner!.peer.role(group) === 'standby' && isWanted;
      })
    );
  }

  /** Whether the node with the higher priority takes its role back: of the first group the first one, of the second the other. */
  get #takesBack(): boolean {
    const [high, low] = this.choice.priorities!;
    return this.choice.preemptMs !== undefined && high !== low;
  }

  /** It does not while it gets its processor late. */
  #takesBackLater(i: number): boolean {
    const { owners, group } = this.ownerships[i]!;
    const node = this.pair.nodes[i]!;
    return this.#takesBack && owners[0] !== node && node.isLate(group);
  }

  /** Silence after which a node counts as dead: both go by the more patient one. */
  get deadMs(): number {
    return this.otherDeadAfter * (this.choice.intervalMs ?? 100);
  }

  scene(active: Node, [leastMs, mostMs]: readonly [number, number]): Scene {
    const { random } = this.pair;
    return {
      pair: this.pair,
      active,
      standby: active.peer,
      intervalMs: this.choice.intervalMs ?? 100,
      deadMs: this.deadMs,
      tripMs: this.tripMs,
      // Short ones are cheap, and do as much harm; there are some of any length.
      lastsMs: leastMs + random() ** 6 * (mostMs - leastMs),
      random,
    };
  }

  /** Looks whether all is as it must be at rest, whatever happened before. @param sinceMs nothing may have happened since */
  conclude(sinceMs: number): void {
    const { pair } = this;
    const { now } = pair.sim;
    for (const ownership of this.ownerships) {
      const { vip, owners } = ownership;
      if (owners.length !== 1) pair.problem(`${owners.length} nodes answer for ${vip} in the end`);
      if (ownership.longest(1, sinceMs, now).ms < now - sinceMs - 1 || ownership.moves(sinceMs, now) > 0)
        pair.problem(`${vip} moved without a cause`);
    }
    const [a, b] = pair.nodes.map((node) => node.status());
    for (const [i, group] of this.#groups.entries()) {
      const [one, other] = [a?.groups[i], b?.groups[i]];
      const roles = [one?.role, other?.role].sort().join();
      if (roles !== 'active,standby') pair.problem(`group ${group}: roles in the end: ${roles}`);
      if (!one?.peer.alive || !other?.peer.alive)
        pair.problem(`group ${group}: one node does not hear the other in the end`);
      if (one?.epoch !== other?.epoch)
        pair.problem(`group ${group}: epochs in the end: ${one?.epoch}, ${other?.epoch}`);
    }
    for (const { machine } of pair.nodes) {
      const parked = pair.vips.filter((vip) => machine.kernel.parks(vip));
      if (parked.length > 0 || machine.kernel.tables.size > 0)
        pair.problem(`${machine.name} has ${parked} on lo and ${[...machine.kernel.tables]} in the end`);
    }
  }
}

/** What a node has seen still counts: it waits longer than its file says, or has not asked its witness again. */
function remembers({ warnings, witness }: AgentStatus): boolean {
  return (
    witness?.state === 'silent' || witness?.state === 'ignored' || warnings.some((text) => WAITS.test(text))
  );
}

function carries({ cut, loss, stalled }: Link): boolean {
  return !cut && !stalled && loss === 0;
}
