import t from 'tap';
import { initialState, step } from '../../ha-agent/election.ts';
import type {
  ElectionAction,
  ElectionConfig,
  ElectionEvent,
  ElectionState,
  PeerReport,
  VipAnswer,
} from '../../ha-agent/election-types.ts';
import type { Happening } from '../../ha-agent/group-agent.ts';

/**
 * One node's election against a peer and a network that a test plays: what they do follows from what the node does, so
 * it is no script. Times in whole milliseconds.
 */
class Wire {
  readonly config: ElectionConfig;
  state: ElectionState;
  now = 0;
  /** How long the VIPs were here. */
  heldMs = 0;
  /** When this node added the VIPs. */
  readonly takeovers: number[] = [];
  logged = 0;
  onAction: (type: ElectionAction['type']) => void = () => {};
  /** Who answers for the VIPs. */
  answers: readonly VipAnswer[] = [];
  /** Nobody listens at the peer's port, as a host or a filter on the way says, from then on. */
  refusesFromMs = Number.POSITIVE_INFINITY;
  #due: { readonly at: number; readonly event: Happening }[] = [];
  #wakeAt = Number.POSITIVE_INFINITY;

  constructor(intervalMs: number, more: Partial<ElectionConfig> = {}) {
    this.config = {
      self: { name: 'lb2', address: '10.84.0.12', priority: 100 },
      peer: { name: 'lb1', address: '10.84.0.11' },
      ...{ intervalMs, deadAfter: 3, preemptDelayMs: undefined, trackLbd: false },
      ...{ announceCount: 5, announceRefreshMs: 60_000, secondChance: true, drainMs: 30_000, ...more },
    };
    this.state = initialState(this.config, 0);
    this.happens({ type: 'start' });
  }

  /** The peer is heard, and says this. */
  hears(role: PeerReport['role'], more: Partial<PeerReport> = {}): void {
    const { intervalMs } = this.config;
    const report = {
      ...{
        role,
        priority: 150,
        epoch: 1,
        intervalMs,
        healthy: true,
        request: false,
        probe: role !== 'active',
      },
      ...{ finishing: false, forwards: true, ask: false, servedMs: this.now, ...more },
    };
    this.happens({ type: 'heartbeat', report, restarted: false });
  }

  /** The same, with its word that it holds the lease of the witness. */
  hearsHolder(): void {
    const { now } = this;
    const lease = { held: true, reachesWitness: true, isBound: true, sentMs: now, heardSentMs: now - 50 };
    this.hears('active', { lease });
  }

  later(ms: number, event: Happening): void {
    this.#due.push({ at: this.now + ms, event });
  }

  happens(event: Happening): void {
    const result = step(this.config, this.state, { ...event, now: this.now } as ElectionEvent);
    this.state = result.state;
    this.#wakeAt = Math.max(this.now + 1, Math.ceil(result.wakeAtMs));
    for (const action of result.actions) this.#obey(action);
  }

  #obey(action: ElectionAction): void {
    const { type } = action;
    if (type === 'log') this.logged++;
    else if (type === 'add-vips') {
      this.takeovers.push(this.now);
      this.later(1, { type: 'vips-added', error: undefined });
    } else if (type === 'remove-vips' || type === 'park-vips')
      this.later(1, { type: 'vips-removed', error: undefined, parked: false });
    else if (type === 'renew-vips') this.later(1, { type: 'vips-renewed', error: undefined });
    else if (type === 'probe-vips')
      this.later(22, { type: 'vips-probed', answers: this.answers, forwards: true });
    else if (type === 'tell-lbd' && action.role === 'active')
      this.later(1, { type: 'promoted', epoch: action.epoch });
    else if (type === 'send' && this.now >= this.refusesFromMs)
      this.later(1, {
        type: 'suspect',
        sign: 'refused',
        why: 'its host refuses heartbeats',
        roundTripMs: 0.4,
      });
    this.onAction(type);
  }

  until(endMs: number, each: (now: number) => void = () => {}): void {
    for (; this.now < endMs; this.now++) {
      if (this.now % this.config.intervalMs === 7) this.happens({ type: 'tick' });
      each(this.now);
      const due = this.#due.filter(({ at }) => at <= this.now);
      this.#due = this.#due.filter(({ at }) => at > this.now);
      for (const { event } of due) this.happens(event);
      if (this.now >= this.#wakeAt) this.happens({ type: 'wake' });
      if (this.state.vip === 'held') this.heldMs++;
    }
  }
}

const PEER_ANSWERS = [{ address: '10.84.0.100', by: '02:00:00:00:00:01' }];
const LEASE = { leaseMs: 250 };

/** What the witness says while the peer holds the lease. */
const taken = (now: number): Happening => ({
  type: 'lease',
  view: {
    reachesWitness: true,
    heardMs: now,
    heldUntilMs: 0,
    takenUntilMs: now + 250,
    epoch: 1,
    silenceMs: 0,
  },
});

t.test('doubt alone holds a takeover off for 3.5 s, however the datagrams are timed', async (t) => {
  const wire = new Wire(100);
  // Two forged datagrams for each question on the wire that comes with a probe: all of it can be seen there.
  wire.onAction = (type) => {
    if (type !== 'probe-vips' || wire.state.probingSinceMs === undefined) return;
    for (const ms of [1, 345]) wire.later(ms, { type: 'presence', why: 'it has another secret' });
  };
  wire.until(60_000);
  t.equal(wire.state.vip, 'held', `the VIP is on this node: ${wire.state.why}`);
  t.ok(wire.takeovers[0]! < 5_000, `taken over at ${wire.takeovers[0]} ms`);
});

for (const intervalMs of [200, 1_000])
  t.test(
    `a living active peer whose host refuses heartbeats, every ${intervalMs} ms: no second owner`,
    async (t) => {
      const wire = new Wire(intervalMs);
      wire.answers = PEER_ANSWERS;
      wire.refusesFromMs = 5_000;
      wire.until(5_000 + 20 * intervalMs, (now) => {
        if (now % intervalMs === intervalMs / 2) wire.hears('active');
      });
      t.equal(wire.heldMs, 0, 'the peer was heard all the time');
    },
  );

t.test(
  'the same, and nobody can be asked who answers: at most once each time that trust is over',
  async (t) => {
    const wire = new Wire(1_000);
    wire.refusesFromMs = 5_000;
    wire.until(300_000, (now) => {
      if (now % 1_000 === 500) wire.hears('active', { priority: 150, epoch: wire.state.epoch + 1 });
    });
    t.ok(wire.takeovers.length <= 5, `took over at ${wire.takeovers.join(', ')} ms`);
    t.ok(wire.logged < 100, `${wire.logged} lines in the log`);
  },
);

t.test('an active peer that stays is not waited for anew with each refusal', async (t) => {
  const wire = new Wire(100);
  wire.until(5_000, (now) => {
    if (now % 100 === 50) wire.hears('active');
  });
  wire.refusesFromMs = 5_000;
  // It is heard late once, so that this node takes over.
  wire.until(8_000, (now) => {
    if (now > 5_200 && now % 100 === 50) wire.hears('active');
  });
  t.equal(wire.takeovers.length, 1);
  t.equal(wire.state.vip, 'none', `it gave way: ${wire.state.why}`);
});

t.test(
  'a filter between the nodes that refuses heartbeats: who took over yields, and stays the standby',
  async (t) => {
    const wire = new Wire(100);
    wire.answers = PEER_ANSWERS;
    wire.refusesFromMs = 5_000;
    wire.until(30_000, (now) => {
      if (now < 5_000 && now % 100 === 50) wire.hears('active');
    });
    t.equal(wire.takeovers.length, 1, `it took over at ${wire.takeovers.join(', ')} ms`);
    t.equal(wire.state.vip, 'none', 'beside an owner that answers for the VIP');
  },
);

t.test('the same, the peer being the one with the lease of a witness: nobody else serves', async (t) => {
  const wire = new Wire(100, LEASE);
  wire.refusesFromMs = 5_000;
  wire.answers = PEER_ANSWERS;
  wire.until(10_000, (now) => {
    if (now % 100 === 20) wire.happens(taken(now));
    if (now < 5_000 && now % 100 === 50) wire.hearsHolder();
  });
  t.equal(wire.heldMs, 0, `took over at ${wire.takeovers.join(', ')} ms without the lease`);
});

t.test(
  'the same where nobody can be asked: the peer that renews its lease lives, and this node gives way',
  async (t) => {
    const wire = new Wire(100, LEASE);
    wire.refusesFromMs = 5_000;
    wire.until(10_000, (now) => {
      // The witness is asked just before the refusal, and after the takeover.
      if (now % 200 === 0) wire.happens(taken(now));
      if (now < 5_000 && now % 100 === 50) wire.hearsHolder();
    });
    t.equal(wire.takeovers.length, 1);
    t.ok(wire.heldMs < 100, `held for ${wire.heldMs} ms`);
  },
);

t.test(
  'a refusal of long ago is no word of the peer: cut off from both, a node does not serve without the lease',
  async (t) => {
    const wire = new Wire(100, LEASE);
    wire.refusesFromMs = 2_000;
    wire.until(5_000, (now) => {
      if (now < 2_000 && now % 100 === 50) wire.hearsHolder();
      if (now % 100 !== 20) return;
      if (now < 2_000) wire.happens(taken(now));
      if (now < 2_500) return;
      const view = { reachesWitness: true, heardMs: now, epoch: 1, silenceMs: now - 2_000 };
      wire.happens({ type: 'lease', view: { ...view, heldUntilMs: now + 240, takenUntilMs: 0 } });
    });
    t.equal(wire.state.role, 'active', 'it took over when the agent of lb1 was killed');
    const view = {
      reachesWitness: false,
      heardMs: 4_920,
      heldUntilMs: 0,
      takenUntilMs: 0,
      epoch: 1,
      silenceMs: 0,
    };
    wire.happens({ type: 'lease', view });
    wire.until(6_000);
    wire.heldMs = 0;
    wire.until(20_000);
    t.equal(wire.heldMs, 0, 'the agent of lb1 may have been started again, and have the lease');
  },
);

t.test('a refusal of long ago does not show that this node is not isolated', async (t) => {
  const wire = new Wire(100, { witnessWaitMs: 600 });
  wire.refusesFromMs = 2_000;
  const witness = (reachable: boolean) => ({ reachable, why: 'the gateway', sinceMs: wire.now });
  wire.happens({ type: 'witness', result: witness(true) });
  wire.until(5_000, (now) => {
    if (now < 2_000 && now % 100 === 50) wire.hears('active');
  });
  t.equal(wire.state.vip, 'held');
  wire.happens({ type: 'witness', result: witness(false) });
  t.equal(wire.state.role, 'fault', wire.state.why);
});
