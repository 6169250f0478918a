import type { FinishPhase } from '../../common/control.ts';
import { farewellOf, initialState, lateLimitMs, reportOf, step } from '../../ha-agent/election.ts';
import type {
  ElectionConfig,
  ElectionEvent,
  ElectionState,
  LbdReport,
  PeerReport,
} from '../../ha-agent/election-types.ts';
import type { Heartbeat } from '../../ha-agent/heartbeat.ts';
import { PeerSession } from '../../ha-agent/peer-session.ts';

export const PATHS = 2;
const GUARDIAN_MS = 6;
const HOST_MS = 1;
const PROMOTE_MS = 2;

export const WELL: LbdReport = { alive: true, ready: true, healthy: true, synced: true, why: '' };

/** Small, fast, good enough: the point is that a seed replays. Source: mulberry32 by T. Ettinger. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Time as a queue of things that will happen. */
export class Simulation {
  now = 0;
  #order = 0;
  readonly #queue: { at: number; order: number; run: () => void }[] = [];

  at(at: number, run: () => void): void {
    const item = { at: Math.max(at, this.now), order: this.#order++, run };
    let i = this.#queue.length;
    while (i > 0 && before(item, this.#queue[i - 1]!)) i--;
    this.#queue.splice(i, 0, item);
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run);
  }

  /** @param watch called after every happening */
  runUntil(end: number, watch: () => void): void {
    for (;;) {
      const next = this.#queue[0];
      if (next === undefined || next.at > end) break;
      this.#queue.shift();
      this.now = next.at;
      next.run();
      watch();
    }
    this.now = end;
  }
}

function before(a: { at: number; order: number }, b: { at: number; order: number }): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** One direction of one path. */
export interface Link {
  cut: boolean;
  loss: number;
  maxDelayMs: number;
  duplicate: number;
}

/** A node: the real election and replay defence, on a simulated host, guardian, `lbd` and network. */
export class SimNode {
  readonly config: ElectionConfig;
  readonly links: Link[] = [];
  peer!: SimNode;
  state!: ElectionState;
  up = false;
  paused = false;
  owns = false;
  /** The VIP is on `lo`, for connections that finish. */
  parked = false;
  /** It sends on to the peer what belongs there. */
  forwards = false;
  log: (line: string) => void = () => {};
  readonly #sim: Simulation;
  readonly #random: () => number;
  #session!: PeerSession;
  #nonce = '';
  #counter = 0;
  #boots = 0;
  #beatMs = 0;
  /** What the guardian would tell the peer. */
  #farewell: Heartbeat | undefined;
  #fired = false;
  #peerNonce = '';
  readonly #hellos = new Set<string>();
  #wakeAt = 0;
  #lbd: LbdReport = WELL;
  #backlog: (() => void)[] = [];

  constructor(sim: Simulation, config: ElectionConfig, random: () => number) {
    this.#sim = sim;
    this.config = config;
    this.#random = random;
    for (let i = 0; i < PATHS; i++) this.links.push({ cut: false, loss: 0, maxDelayMs: 1, duplicate: 0 });
  }

  get name(): string {
    return this.config.self.name;
  }

  /** Whether its heartbeats are fresh to the peer, because they echo the peer's process of now. */
  get knowsPeer(): boolean {
    return this.#session?.echo === this.peer.#nonce;
  }

  start(): void {
    // One that lets its clients finish before it ends: somebody is impatient.
    if (this.up && this.state.stopping) this.crash();
    if (this.up) return;
    this.up = true;
    this.paused = false;
    this.owns = false;
    this.parked = false;
    this.forwards = false;
    this.#boots++;
    this.#counter = 0;
    this.#backlog = [];
    this.#hellos.clear();
    this.#peerNonce = '';
    this.#nonce = `${this.name}-${this.#boots}`;
    this.#session = new PeerSession(this.#nonce);
    this.state = initialState(this.config, this.#sim.now);
    this.log(`${this.name} starts`);
    this.#beat();
    this.#dispatch({ type: 'lbd', now: this.#sim.now, report: this.#lbd });
    this.#dispatch({ type: 'start', now: this.#sim.now });
    this.#tick(this.#boots);
    this.#guard(this.#boots);
  }

  crash(): void {
    if (!this.up) return;
    this.up = false;
    this.log(`${this.name} crashes`);
    const boot = this.#boots;
    this.#sim.after(GUARDIAN_MS, () => {
      if (this.#boots === boot) this.#clear();
    });
  }

  /** What the guardian does. */
  #clear(): void {
    this.owns = false;
    this.parked = false;
    this.forwards = false;
  }

  pause(): void {
    if (!this.up || this.paused) return;
    this.paused = true;
    this.log(`${this.name} pauses`);
  }

  resume(): void {
    if (!this.up || !this.paused) return;
    this.paused = false;
    this.log(`${this.name} resumes`);
    const backlog = this.#backlog;
    this.#backlog = [];
    if (this.#random() < 0.5) this.#tickOnce();
    for (const run of backlog) run();
  }

  setLbd(report: LbdReport): void {
    this.#lbd = report;
    this.log(`${this.name} lbd ${report.alive ? (report.healthy ? 'well' : 'unhealthy') : 'dead'}`);
    if (this.up) this.#whenRunning(() => this.#dispatch({ type: 'lbd', now: this.#sim.now, report }));
  }

  switchover(): void {
    if (!this.up || this.paused) return;
    this.log(`${this.name} switchover`);
    this.#dispatch({ type: 'switchover', now: this.#sim.now, to: undefined });
  }

  stop(): void {
    if (!this.up || this.paused) return;
    this.log(`${this.name} stops`);
    this.#dispatch({ type: 'stop', now: this.#sim.now });
  }

  receive(heartbeat: Heartbeat): void {
    if (!this.up) return;
    this.#whenRunning(() => {
      const freshness = this.#session.accept(heartbeat);
      const { nonce } = heartbeat;
      const now = this.#sim.now;
      if (freshness === 'fresh') {
        const restarted = this.#peerNonce !== nonce;
        this.#peerNonce = nonce;
        this.#dispatch({ type: 'heartbeat', now, report: heartbeat, restarted });
      } else if (freshness === 'hello') {
        const firstOfProcess = !this.#hellos.has(nonce);
        this.#hellos.add(nonce);
        this.#dispatch({ type: 'hello', now, role: heartbeat.role, firstOfProcess });
      }
    });
  }

  #whenRunning(run: () => void): void {
    if (this.paused) this.#backlog.push(run);
    else run();
  }

  #inBoot(boot: number, ms: number, run: () => void): void {
    this.#sim.after(ms, () => {
      if (this.up && this.#boots === boot) this.#whenRunning(run);
    });
  }

  #tick(boot: number): void {
    const jitter = this.#random() * 2;
    this.#sim.after(this.config.intervalMs + jitter, () => {
      if (!this.up || this.#boots !== boot) return;
      if (!this.paused) this.#tickOnce();
      this.#tick(boot);
    });
  }

  #tickOnce(): void {
    this.#dispatch({ type: 'tick', now: this.#sim.now });
    this.#beat();
  }

  #beat(): void {
    this.#beatMs = this.#sim.now;
    this.#fired = false;
    this.#farewell = this.#heartbeat(
      farewellOf(this.config, this.state),
      this.#counter + 1,
      this.links.length - 1,
    );
  }

  /** The guardian: another process, so it runs while the agent is paused. */
  #guard(boot: number): void {
    this.#sim.after(5, () => {
      if (!this.up || this.#boots !== boot) return;
      if (!this.#fired && this.#sim.now - this.#beatMs > lateLimitMs(this.config)) {
        this.#fired = true;
        const farewell = this.#farewell;
        this.#sim.after(GUARDIAN_MS, () => {
          if (this.#boots !== boot) return;
          this.#clear();
          if (farewell !== undefined) this.#deliver(this.links.length - 1, farewell);
        });
        this.#whenRunning(() => this.#dispatch({ type: 'guardian-fired', now: this.#sim.now }));
      }
      this.#guard(boot);
    });
  }

  #dispatch(event: ElectionEvent): void {
    const boot = this.#boots;
    const before = this.state.role;
    const { state, actions, wakeAtMs } = step(this.config, this.state, event);
    this.state = state;
    if (state.role !== before) this.log(`${this.name} ${state.role} e${state.epoch}: ${state.why}`);
    for (const action of actions) {
      if (action.type === 'send') for (let i = 0; i < action.copies; i++) this.#send();
      else if (action.type === 'renew-nonce') this.#renewNonce();
      else if (action.type === 'add-vips' || action.type === 'renew-vips') this.#add(boot, action.type);
      else if (action.type === 'remove-vips')
        this.#host(boot, () => {
          this.owns = false;
          this.parked = false;
          return { type: 'vips-removed', now: this.#sim.now, error: undefined };
        });
      else if (action.type === 'park-vips')
        this.#host(boot, () => {
          this.owns = false;
          this.parked = true;
          return { type: 'vips-removed', now: this.#sim.now, error: undefined, parked: true };
        });
      else if (action.type === 'unpark-vips') this.#quietly(boot, () => (this.parked = false));
      else if (action.type === 'forward') this.#quietly(boot, () => (this.forwards = true));
      else if (action.type === 'unforward') this.#quietly(boot, () => (this.forwards = false));
      else if (action.type === 'tell-lbd' && action.finishing !== undefined)
        this.#finish(boot, action.finishing, action.epoch);
      else if (action.type === 'tell-lbd' && action.role === 'active')
        this.#inBoot(boot, this.#random() * PROMOTE_MS, () =>
          this.#dispatch({ type: 'promoted', now: this.#sim.now, epoch: action.epoch }),
        );
      else if (action.type === 'stopped') {
        this.up = false;
        this.#clear();
      }
    }
    if (wakeAtMs !== this.#wakeAt && this.up) {
      this.#wakeAt = wakeAtMs;
      this.#sim.at(wakeAtMs, () => {
        if (!this.up || this.#boots !== boot || this.paused || this.#wakeAt !== wakeAtMs) return;
        this.#dispatch({ type: 'wake', now: this.#sim.now });
      });
    }
  }

  #renewNonce(): void {
    this.#nonce = `${this.#nonce}'`;
    this.#session.renewOwnNonce(this.#nonce);
  }

  #add(boot: number, action: 'add-vips' | 'renew-vips'): void {
    this.#host(boot, () => {
      this.owns = true;
      if (action === 'add-vips') this.parked = false;
      const type = action === 'add-vips' ? 'vips-added' : 'vips-renewed';
      return { type, now: this.#sim.now, error: undefined };
    });
  }

  /** `ip` is another process: it runs while the agent is paused, only its answer waits. */
  #host(boot: number, change: () => ElectionEvent): void {
    this.#sim.after(HOST_MS, () => {
      if (!this.up || this.#boots !== boot) return;
      const event = change();
      this.#whenRunning(() => this.#dispatch({ ...event, now: this.#sim.now }));
    });
  }

  /** A change that nobody waits for. */
  #quietly(boot: number, change: () => void): void {
    this.#sim.after(HOST_MS, () => {
      if (this.up && this.#boots === boot) change();
    });
  }

  /** Its clients leave one after the other; at the end of their time they are cut. */
  #finish(boot: number, phase: FinishPhase, epoch: number): void {
    if (!this.#lbd.alive) return;
    const report = (connections: number) => {
      if (!this.#lbd.alive || this.state.finishing === undefined) return;
      this.#dispatch({ type: 'lbd', now: this.#sim.now, report: { ...this.#lbd, connections } });
    };
    if (phase === 'over') this.#inBoot(boot, 5, () => report(0));
    if (phase !== 'retiring') return;
    const clients = Math.floor(this.#random() * 4);
    for (let left = clients; left >= 0; left--)
      this.#inBoot(boot, 10 + (clients - left) * this.#random() * 900, () => report(left));
    this.#inBoot(boot, this.#random() * 120, () =>
      this.#dispatch({ type: 'retired', now: this.#sim.now, epoch }),
    );
  }

  #send(): void {
    this.#counter++;
    const report = reportOf(this.config, this.state, this.#sim.now);
    for (const path of this.links.keys()) this.#deliver(path, this.#heartbeat(report, this.#counter, path));
  }

  #heartbeat(report: PeerReport, counter: number, path: number): Heartbeat {
    return {
      ...report,
      configDigest: '0000000000000000',
      nonce: this.#nonce,
      echo: this.#session.echo,
      helloEcho: this.#session.helloEcho,
      counter,
      path,
    };
  }

  #deliver(path: number, heartbeat: Heartbeat): void {
    const link = this.links[path]!;
    if (link.cut || this.#random() < link.loss) return;
    const deliver = () => {
      if (!link.cut) this.peer.receive(heartbeat);
    };
    this.#sim.after(0.1 + this.#random() * link.maxDelayMs, deliver);
    if (this.#random() < link.duplicate) this.#sim.after(0.1 + this.#random() * 20, deliver);
  }
}
