import type { AgentStatus } from '../common/control.ts';
import type { Lane, LaneEvents } from './lane.ts';
import { LaneTraffic } from './lane-traffic.ts';

/** A lane that left the config and on which the peer was not heard for so long is closed, whatever the peer says. */
const LEAVING_SILENCE_MS = 600_000;
/** Of lanes that left the config so many are kept. */
const MAX_LEAVING = 16;

/** A lane that the config wants. */
export interface LanePlan {
  /** Equal for what is the same way, on both nodes. */
  readonly id: string;
  create(events: LaneEvents): Lane;
}

export interface LaneSetOptions {
  readonly now: () => number;
  onDatagram(traffic: LaneTraffic, data: Buffer, from: string | undefined): void;
  onRefused(name: string, roundTripMs: number): void;
  onPath(name: string, why: string | undefined, changes?: number): void;
  /** The peer uses other paths than the config has. Told once, until it does not. */
  onDiffer(text: string): void;
}

/** All ways to the peer at once: those of the config, those that the peer still uses, and the ones beside them. */
export class LaneSet {
  readonly #options: LaneSetOptions;
  /** Of the config, then those that leave. */
  #lanes: readonly LaneTraffic[] = [];
  /** Both. */
  #all: readonly LaneTraffic[] = [];
  #ways: readonly string[] = [];
  /** Beside the config. */
  readonly #others: LaneTraffic[] = [];
  /** Ids of paths on which the peer says that it speaks; empty: it does not say. */
  #peerIds: readonly string[] = [];
  #differs = false;

  constructor(options: LaneSetOptions) {
    this.#options = options;
  }

  /** Ids of the paths on which this node speaks by its config. */
  get ids(): string[] {
    return this.#lanes.filter(({ leavingMs }) => leavingMs === undefined).map(({ id }) => id);
  }

  /** By their index in datagrams. */
  get all(): readonly LaneTraffic[] {
    return this.#all;
  }

  /** Ids of all of them; empty for those beside the config. */
  get ways(): readonly string[] {
    return this.#ways;
  }

  /** Index of a lane that leads to the peer's own address, or -1. */
  get unicast(): number {
    return this.#lanes.findIndex(({ lane }) => lane.unicast);
  }

  async open(plans: readonly LanePlan[]): Promise<void> {
    const before = this.#lanes;
    const wanted = plans.map((plan) => before.find(({ id }) => id === plan.id) ?? this.#create(plan));
    for (const traffic of wanted) traffic.leavingMs = undefined;
    const now = this.#options.now();
    const gone = before.filter((traffic) => !wanted.includes(traffic));
    for (const traffic of gone) traffic.leavingMs ??= now;
    const kept = gone.filter((traffic) => this.#isUsed(traffic, now)).slice(0, MAX_LEAVING);
    const closed = gone.filter((traffic) => !kept.includes(traffic));
    this.#keep([...wanted.filter((traffic) => before.includes(traffic)), ...kept]);
    // A new path may use the port of an old one.
    await Promise.all(closed.map(({ lane }) => lane.close()));
    this.#keep([...wanted, ...kept]);
    await Promise.all(wanted.filter((traffic) => !before.includes(traffic)).map(({ lane }) => lane.open()));
    this.#tellDifference();
  }

  async add(create: (events: LaneEvents) => Lane): Promise<void> {
    const traffic = this.#create({ id: '', create });
    this.#others.push(traffic);
    this.#keep(this.#lanes);
    await traffic.lane.open();
  }

  /**
   * @param datagrams for the lane with this index
   * @returns settles when one lane has taken one or all have refused; never where all stall
   */
  send(datagrams: (path: number) => readonly Buffer[]): Promise<void> {
    const now = this.#options.now();
    this.#closeUnused(now);
    const { all } = this;
    const sent: Promise<boolean>[] = [];
    for (const [path, traffic] of all.entries())
      for (const datagram of datagrams(path)) {
        const one = traffic.send(datagram, now);
        if (one !== undefined) sent.push(one);
      }
    return new Promise((resolve) => {
      let left = sent.length;
      if (left === 0 && !all.some(({ stalls }) => stalls)) resolve();
      const settled = (taken: boolean) => {
        if (taken || --left === 0) resolve();
      };
      for (const one of sent) one.then(settled);
    });
  }

  /** An interface is there again: its peer may be missed only once this node can hear it. */
  retry(): void {
    for (const { lane } of this.all) lane.retry?.();
  }

  /** What the peer says in a fresh heartbeat: ids of the paths on which it speaks. */
  peerSpeaksOn(ids: readonly string[]): void {
    const before = this.#peerIds;
    if (ids.length === before.length && ids.every((id, i) => id === before[i])) return;
    this.#peerIds = ids;
    this.#tellDifference();
  }

  status(deadTimeMs: number): AgentStatus['paths'] {
    const now = this.#options.now();
    const isSilent = (seenMs: number | undefined) => seenMs === undefined || now - seenMs >= deadTimeMs;
    const isHeard = this.all.some(({ seenMs }) => !isSilent(seenMs));
    return this.all.map((traffic) => {
      const { lane, id, sent, received, seenMs, dropped, leavingMs, why: failure } = traffic;
      const seen_ms_ago = seenMs === undefined ? undefined : Math.round(now - seenMs);
      const silent = isSilent(seenMs);
      const state = failure !== undefined ? 'failed' : silent ? 'silent' : 'up';
      const silence = seen_ms_ago === undefined ? 'the peer was never heard' : `silent for ${seen_ms_ago} ms`;
      const sends = isHeard && id !== '' && this.#peerIds.includes(id);
      const though = sends ? ', though the peer sends on it' : '';
      const leaving = leavingMs === undefined ? '' : 'not in this config any more; the peer may use it';
      const why = failure ?? (silent ? `${silence}${though}` : leaving);
      return { name: lane.name, state, seen_ms_ago, sent, received, dropped: { ...dropped }, why };
    });
  }

  /** What an operator should mend. */
  warnings(): string[] {
    const leaving = this.#lanes.filter(({ leavingMs }) => leavingMs !== undefined);
    const own = new Set(this.#lanes.filter((traffic) => !leaving.includes(traffic)).map(({ id }) => id));
    const differ = this.#peerIds.length > 0 && !this.#peerIds.every((id) => own.has(id));
    if (leaving.length === 0 && !differ) return [];
    const names = leaving.map(({ lane }) => lane.name).join(', ');
    const kept = names === '' ? '' : `; until it does not, this node goes on with ${names}`;
    return [`the peer uses other heartbeat paths than this config has${kept}`];
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map(({ lane }) => lane.close()));
  }

  #keep(lanes: readonly LaneTraffic[]): void {
    this.#lanes = lanes;
    this.#all = [...lanes, ...this.#others];
    this.#ways = this.#all.map(({ id }) => id);
  }

  #tellDifference(): void {
    const [text] = this.warnings();
    if (text !== undefined && !this.#differs) this.#options.onDiffer(text);
    this.#differs = text !== undefined;
  }

  #create({ id, create }: LanePlan): LaneTraffic {
    const traffic: LaneTraffic = new LaneTraffic(
      create({
        onDatagram: (data, from) => this.#options.onDatagram(traffic, data, from),
        onRefused: (roundTripMs) => this.#options.onRefused(traffic.lane.name, roundTripMs),
        onState: (why, changes) => this.#options.onPath(traffic.lane.name, why, changes),
      }),
      id,
      (why) => this.#options.onPath(traffic.lane.name, why),
    );
    return traffic;
  }

  /** Whether the peer may need a lane that is not in the config any more. */
  #isUsed({ id, seenMs, leavingMs }: LaneTraffic, now: number): boolean {
    if (this.#peerIds.length > 0 && !this.#peerIds.includes(id)) return false;
    return now - Math.max(seenMs ?? 0, leavingMs ?? 0) < LEAVING_SILENCE_MS;
  }

  #closeUnused(now: number): void {
    const unused = this.#lanes.filter(
      (traffic) => traffic.leavingMs !== undefined && !this.#isUsed(traffic, now),
    );
    if (unused.length === 0) return;
    this.#keep(this.#lanes.filter((traffic) => !unused.includes(traffic)));
    for (const { lane } of unused) void lane.close();
  }
}
