import type { FinishPhase } from '../../common/control.ts';
import { farewellOf, initialState, lateLimitMs, reportOf, step } from '../../ha-agent/election.ts';
import type {
  ElectionAction,
  ElectionConfig,
  ElectionEvent,
  ElectionState,
  LbdReport,
  PeerReport,
} from '../../ha-agent/election-types.ts';
import { PeerSession, type Stamp } from '../../ha-agent/peer-session.ts';
import { SimMachine } from './machine.ts';
import type { Simulation } from './simulation.ts';

/** Path 0 is multicast, path 1 unicast. */
export const PATHS = 2;
const UNICAST = 1;
const PROMOTE_MS = 2;
const GUARDIAN_RESTART_MS = 200;
const RESTART_MS = 100;
const FAREWELL_AHEAD = 8;
/** A proof of life is one for so long. */
const LIFETIME_MS = 1_000;
/** A kernel answers so many refused datagrams in a row, then one a second (icmp_ratelimit). */
const REFUSALS = 6;
export const WITNESS = { intervalMs: 1_000, silentMs: 400, waitMs: 600 } as const;

export const WELL: LbdReport = { alive: true, ready: true, healthy: true, synced: true, why: '' };

/** An event without its time. */
type Happening = ElectionEvent extends infer E ? (E extends ElectionEvent ? Omit<E, 'now'> : never) : never;
type Datagram = PeerReport & Stamp;

/** One direction of one path. */
export interface Link {
  cut: boolean;
  loss: number;
  maxDelayMs: number;
  duplicate: number;
}

/** A node: the real election and replay defence, on a simulated machine, `lbd`, witness and network. */
export class SimNode {
  readonly config: ElectionConfig;
  readonly links: Link[] = [];
  readonly machine: SimMachine;
  peer!: SimNode;
  state!: ElectionState;
  /** The agent's process exists. */
  up = false;
  /** No witness answers this node. */
  witnessCut = false;
  /** Gratuitous announcements so far. */
  announcements = 0;
  /** When an `ip` last did what an agent had asked for that has died since, as one does that was stopped. */
  strayMs = Number.NEGATIVE_INFINITY;
  log: (line: string) => void = () => {};
  readonly #sim: Simulation;
  readonly #random: () => number;
  #session!: PeerSession;
  #nonce = '';
  #counter = 0;
  #boots = 0;
  #beats = 0;
  /** What the guardian would tell the peer. */
  #farewell: Datagram | undefined;
  #peerNonce = '';
  readonly #hellos = new Set<string>();
  #wakeAt = 0;
  #lbd: LbdReport = WELL;
  #refusals = REFUSALS;
  #refusedMs = 0;
  #crashedMs = Number.NEGATIVE_INFINITY;

  constructor(sim: Simulation, config: ElectionConfig, random: () => number) {
    this.#sim = sim;
    this.config = config;
    this.#random = random;
    this.machine = new SimMachine(sim, random);
    for (let i = 0; i < PATHS; i++) this.links.push({ cut: false, loss: 0, maxDelayMs: 1, duplicate: 0 });
  }

  get name(): string {
    return this.config.self.name;
  }

  /** Whether its heartbeats are fresh to the peer, because they echo the peer's process of now. */
  get knowsPeer(): boolean {
    return this.#session?.current === this.peer.#nonce;
  }

  /** Nothing that runs could take the VIP away. */
  get helpless(): boolean {
    const { machine } = this;
    if (!machine.owns) return false;
    if (machine.ipBroken) return true;
    const agent = this.up && !machine.holds('agent');
    return !agent && (!machine.guardianRuns || machine.holds('helper'));
  }

  start(): void {
    // One that lets its clients finish before it ends: somebody is impatient.
    if (this.up && this.state.stopping) this.crash();
    if (this.up) return;
    const { machine } = this;
    // A process is not there again in no time.
    const soonMs = this.#crashedMs + RESTART_MS;
    if (this.#sim.now < soonMs) {
      this.#sim.at(soonMs, () => this.start());
      return;
    }
    machine.on = true;
    if (!machine.clear()) {
      // The agent refuses to start beside an address of an earlier run; its service manager tries again.
      this.#sim.after(RESTART_MS, () => this.start());
      return;
    }
    this.up = true;
    this.#boots++;
    this.#counter = 0;
    this.#hellos.clear();
    this.#peerNonce = '';
    const boot = this.#boots.toString(16).padStart(4, '0');
    this.#nonce = `${this.name === 'lb1' ? 'aaaaaaaa' : 'bbbbbbbb'}${boot}0000`;
    this.#session = new PeerSession({ nonce: this.#nonce, drawnMs: () => undefined });
    this.state = initialState(this.config, machine.now);
    this.#wakeAt = 0;
    this.log(`${this.name} starts`);
    machine.startGuardian();
    this.#beat();
    this.#dispatch({ type: 'lbd', report: this.#lbd });
    this.#dispatch({ type: 'start' });
    this.#tick(this.#boots);
    if (this.config.witnessWaitMs !== undefined) this.#watchWitness(this.#boots);
  }

  /** `kill -9`; the kernel closes the guardian's pipe. */
  crash(): void {
    if (!this.up || this.machine.paused === 'vm') return;
    this.up = false;
    this.#crashedMs = this.#sim.now;
    this.log(`${this.name} crashes`);
    this.#endOfFile();
  }

  killGuardian(): void {
    if (!this.machine.guardianRuns || this.machine.paused === 'vm') return;
    this.machine.guardianRuns = false;
    this.log(`${this.name} guardian killed`);
    const boot = this.#boots;
    this.#after(boot, GUARDIAN_RESTART_MS, () => {
      this.machine.startGuardian();
      this.#beat();
    });
  }

  powerOff(): void {
    this.log(`${this.name} power off`);
    this.up = false;
    this.machine.powerOff();
  }

  pause(what: 'agent' | 'node' | 'vm', clockStops = false): void {
    if (!this.up || this.machine.paused !== undefined) return;
    this.machine.pause(what, clockStops);
    this.log(`${this.name} ${what} paused${clockStops ? ', its clock stops' : ''}`);
  }

  resume(): void {
    if (this.machine.paused === undefined) return;
    this.log(`${this.name} resumes`);
    this.machine.resume();
  }

  setLbd(report: LbdReport): void {
    const died = this.#lbd.alive && !report.alive;
    this.#lbd = report;
    this.log(`${this.name} lbd ${report.alive ? (report.healthy ? 'well' : 'unhealthy') : 'dead'}`);
    if (this.up) this.#happens({ type: 'lbd', report });
    if (died && this.machine.paused === undefined) this.peer.#channelEnds();
  }

  /** A sign that means nothing: a port that was closed for a moment, a link that was reset. */
  startle(sign: 'refused' | 'channel'): void {
    this.log(`${this.name} startled: ${sign}`);
    if (this.up) this.#happens({ type: 'suspect', sign, why: sign });
  }

  switchover(): void {
    if (!this.up || this.machine.paused !== undefined) return;
    this.log(`${this.name} switchover`);
    this.#dispatch({ type: 'switchover', to: undefined });
  }

  stop(): void {
    if (!this.up || this.machine.paused !== undefined) return;
    this.log(`${this.name} stops`);
    this.#dispatch({ type: 'stop' });
  }

  #channelEnds(): void {
    if (!this.#lbd.alive || this.peer.links.every((link) => link.cut)) return;
    if (this.up) this.#happens({ type: 'suspect', sign: 'channel', why: 'the session sync ended' });
  }

  #receive(datagram: Datagram): void {
    const boot = this.#boots;
    this.machine.when('agent', () => {
      if (!this.up || this.#boots !== boot) return;
      const freshness = this.#session.accept(datagram, this.machine.now, LIFETIME_MS);
      const { nonce } = datagram;
      if (freshness === 'fresh') {
        const restarted = this.#peerNonce !== nonce;
        this.#peerNonce = nonce;
        this.#dispatch({ type: 'heartbeat', report: datagram, restarted });
      } else if (freshness === 'hello') {
        const firstOfProcess = !this.#hellos.has(nonce);
        this.#hellos.add(nonce);
        this.#dispatch({ type: 'hello', role: datagram.role, firstOfProcess });
      }
    });
  }

  /** @returns whether the kernel says that nobody listens */
  #refuses(): boolean {
    const { machine } = this;
    if (this.up || !machine.on || machine.holds('kernel')) return false;
    this.#refusals = Math.min(REFUSALS, this.#refusals + (this.#sim.now - this.#refusedMs) / 1_000);
    this.#refusedMs = this.#sim.now;
    if (this.#refusals < 1) return false;
    this.#refusals--;
    return true;
  }

  /** Something that the agent notices once it runs. */
  #happens(happening: Happening): void {
    const boot = this.#boots;
    this.machine.when('agent', () => {
      if (this.up && this.#boots === boot) this.#dispatch(happening);
    });
  }

  #after(boot: number, ms: number, run: () => void): void {
    this.machine.after('agent', ms, () => {
      if (this.up && this.#boots === boot) run();
    });
  }

  #tick(boot: number): void {
    this.#after(boot, this.config.intervalMs + this.#random() * 2, () => {
      this.#dispatch({ type: 'tick' });
      if (this.up) this.#beat();
      this.#tick(boot);
    });
  }

  #beat(): void {
    const { machine } = this;
    if (!machine.guardianRuns) return;
    const beat = ++this.#beats;
    const boot = this.#boots;
    const guardian = machine.guardians;
    const farewell = this.#datagram(
      farewellOf(this.config, this.state),
      this.#counter + FAREWELL_AHEAD,
      UNICAST,
      FAREWELL_AHEAD * this.config.intervalMs,
    );
    this.#farewell = farewell;
    machine.after('helper', lateLimitMs(this.config), () => {
      if (!this.up || this.#beats !== beat || machine.guardians !== guardian) return;
      machine.guard(
        () => {
          this.log(`${this.name} guardian fires`);
          this.#deliver(UNICAST, farewell);
          if (this.#boots === boot) this.#happens({ type: 'guardian-fired' });
        },
        () => this.#beats === beat,
      );
    });
  }

  #endOfFile(): void {
    this.machine.guard(
      () => {
        if (this.#farewell !== undefined) this.#deliver(UNICAST, this.#farewell);
        this.machine.guardianRuns = false;
      },
      () => true,
    );
  }

  #watchWitness(boot: number): void {
    this.#checkWitness(boot);
    this.#after(boot, WITNESS.intervalMs, () => this.#watchWitness(boot));
  }

  #checkWitness(boot: number): void {
    const reachable = !this.witnessCut;
    const sinceMs = this.machine.now;
    const why = reachable ? 'the gateway answers' : 'the gateway does not answer';
    this.#after(boot, reachable ? 1 + this.#random() * 2 : WITNESS.silentMs, () =>
      this.#dispatch({ type: 'witness', result: { reachable, why, sinceMs } }),
    );
  }

  #dispatch(happening: Happening): void {
    const boot = this.#boots;
    const { machine } = this;
    const before = this.state.role;
    const { now } = machine;
    const event = { ...happening, now } as ElectionEvent;
    const { state, actions, wakeAtMs } = step(this.config, this.state, event);
    this.state = state;
    if (state.role !== before) this.log(`${this.name} ${state.role} e${state.epoch}: ${state.why}`);
    for (const action of actions) this.#obey(boot, action);
    if (wakeAtMs === this.#wakeAt || !this.up) return;
    this.#wakeAt = wakeAtMs;
    this.#after(boot, wakeAtMs - now, () => {
      if (this.#wakeAt === wakeAtMs) this.#dispatch({ type: 'wake' });
    });
  }

  #obey(boot: number, action: ElectionAction): void {
    const { machine } = this;
    const ip = (change: () => void, happening: (error: string | undefined) => Happening) => {
      const changeFor = () => {
        if (this.#boots !== boot) this.strayMs = this.#sim.now;
        change();
      };
      machine.ip(changeFor, (error) => {
        if (this.up && this.#boots === boot) this.#dispatch(happening(error));
      });
    };
    if (action.type === 'send') {
      for (let i = 0; i < action.copies; i++) this.#send();
    } else if (action.type === 'renew-nonce') {
      this.#counter += 2 * FAREWELL_AHEAD;
      this.#session.forgetBefore(machine.now);
    } else if (action.type === 'add-vips' || action.type === 'renew-vips') {
      const type = action.type === 'add-vips' ? 'vips-added' : 'vips-renewed';
      const add = () => {
        machine.addVips();
        if (type === 'vips-added') machine.parked = false;
      };
      ip(add, (error) => ({ type, error }));
    } else if (action.type === 'remove-vips' || action.type === 'park-vips') {
      const park = action.type === 'park-vips';
      const leave = () => {
        machine.removeVips();
        machine.parked = park;
      };
      ip(leave, (error) => ({ type: 'vips-removed', error, ...(park && { parked: error === undefined }) }));
    } else if (action.type === 'unpark-vips') this.#quietly(() => (machine.parked = false));
    else if (action.type === 'forward') this.#quietly(() => (machine.forwards = true));
    else if (action.type === 'unforward') this.#quietly(() => (machine.forwards = false));
    else if (action.type === 'announce') this.announcements++;
    else if (action.type === 'check-witness') this.#checkWitness(boot);
    else if (action.type === 'tell-lbd' && action.finishing !== undefined)
      this.#finish(boot, action.finishing, action.epoch);
    else if (action.type === 'tell-lbd' && action.role === 'active')
      this.#after(boot, this.#random() * PROMOTE_MS, () =>
        this.#dispatch({ type: 'promoted', epoch: action.epoch }),
      );
    else if (action.type === 'stopped' && this.up) {
      this.up = false;
      this.#endOfFile();
    }
  }

  /** A change that nobody waits for; what fails here ends with a lease. */
  #quietly(change: () => void): void {
    this.machine.after('helper', 1, change);
  }

  /** Its clients leave one after the other; at the end of their time they are cut. */
  #finish(boot: number, phase: FinishPhase, epoch: number): void {
    if (!this.#lbd.alive) return;
    const report = (connections: number) => {
      if (!this.#lbd.alive || this.state.finishing === undefined) return;
      this.#dispatch({ type: 'lbd', report: { ...this.#lbd, connections } });
    };
    if (phase === 'over') this.#after(boot, 5, () => report(0));
    if (phase !== 'retiring') return;
    const clients = Math.floor(this.#random() * 4);
    for (let left = clients; left >= 0; left--)
      this.#after(boot, 10 + (clients - left) * this.#random() * 900, () => report(left));
    this.#after(boot, this.#random() * 120, () => this.#dispatch({ type: 'retired', epoch }));
  }

  #send(): void {
    this.#counter++;
    const report = reportOf(this.config, this.state, this.machine.now);
    for (let path = 0; path < PATHS; path++) this.#deliver(path, this.#datagram(report, this.#counter, path));
  }

  #datagram(report: PeerReport, counter: number, path: number, aheadMs = 0): Datagram {
    const { now } = this.machine;
    const echoes = this.#session.echoes(now, LIFETIME_MS);
    const clock = { sentMs: Math.floor(now) + aheadMs, ahead: aheadMs > 0 };
    return { ...report, ...clock, version: 3, nonce: this.#nonce, echoes, counter, path };
  }

  #deliver(path: number, datagram: Datagram): void {
    const link = this.links[path]!;
    if (link.cut || this.#random() < link.loss) return;
    const sentMs = this.#sim.now;
    const arrive = () => {
      if (link.cut) return;
      if (this.peer.up) this.peer.#receive(datagram);
      else if (path === UNICAST && this.peer.#refuses() && !this.peer.links[path]!.cut && this.up) {
        const roundTripMs = this.#sim.now - sentMs;
        this.#happens({ type: 'suspect', sign: 'refused', why: 'its host refuses heartbeats', roundTripMs });
      }
    };
    this.#sim.after(0.1 + this.#random() * link.maxDelayMs, arrive);
    if (this.#random() < link.duplicate) this.#sim.after(0.1 + this.#random() * 20, arrive);
  }
}
