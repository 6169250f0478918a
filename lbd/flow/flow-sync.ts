import { networkInterfaces } from 'node:os';
import type { FlowSyncStatus } from '../../common/control.ts';
import { messageOf } from '../../common/errors.ts';
import { monotonicMs } from '../session/memory.ts';
import type { SyncCompanion } from '../session/sync-companion.ts';
import { Conntrack } from './conntrack.ts';
import { ConntrackMessage } from './conntrack-message.ts';
import { endText } from './flow.ts';
import { DIRECT, type FlowKernel } from './flow-kernel.ts';
import { FlowProtocol } from './flow-protocol.ts';
import { FlowReplica } from './flow-replica.ts';
import { type FlowRole, FlowRoles } from './flow-roles.ts';
import { addressBytes, FlowScope } from './flow-scope.ts';
import { FlowTable } from './flow-table.ts';
import { BATCH_REQUESTS, FlowWriter } from './flow-writer.ts';
import type { KernelFrontend } from './kernel-frontend.ts';
import { type Roles, roleSteps, SETTLE_MS } from './role-steps.ts';
import { insertFailures, type PortUse, portWarnings, SOURCE_PORTS } from './source-ports.ts';
import { tableMark } from './table-mark.ts';

const TICK_MS = 100;
/** A tick that is missing for so long: this process stood still. */
const STOOD_MS = 250;
/** The kernel answers at once; an answer that is due for so long was lost. */
const ANSWER_MS = 5_000;
/** Ends of flows that are older than this process show in a dump only. */
const DUMP_EVERY_MS = 60_000;
const ADDRESSES_EVERY_MS = 5_000;
/** Losses may follow each other fast; the status counts them. */
const LOSS_EVERY_MS = 60_000;
/** What was refused is shown for so long. */
const SHOWN_MS = 60_000;
const NOT_NEEDED = { usable: false, why: 'no frontend there has the kernel engine' };

export interface FlowSyncOptions {
  /** Name of the other node; undefined: there is none, and flows are counted only. */
  readonly peer: string | undefined;
  /** Bits of connection marks that the peer may set here. None by default. */
  marks?(): number;
  tell(level: 'info' | 'warn', text: string): void;
  /** How the kernel is reached; by this process itself by default. */
  readonly kernel?: FlowKernel;
  /** Names the kernel's connection table, as `tableMark` does, which is the default. @throws Error where it cannot */
  mark?(): string;
}

/**
 * Keeps the flows of the kernel's frontends in step with the peer's, so that open connections go on when the peer takes
 * the VIP over, and counts them. The wiring: the kernel's events go into the table, from there to the peer; what the
 * peer tells goes into the replica, and by the writer into this kernel.
 */
export class FlowSync {
  readonly #options: FlowSyncOptions;
  readonly #roles = new FlowRoles();
  readonly #replica = new FlowReplica();
  readonly #table: FlowTable;
  readonly #writer: FlowWriter;
  readonly #protocol: FlowProtocol;
  readonly #conntrack: Conntrack;
  /** Why the peer is not told which connection table this is. */
  #markless = '';
  readonly #message = new ConntrackMessage();
  #scope = new FlowScope([]);
  readonly #ours = (key: Buffer, length: number) => this.#scope.has(key, length);
  #ticker: NodeJS.Timeout | undefined;
  #why = '';
  #reported = '';
  #events = 0;
  #eventsBefore = 0;
  /** How late events are read, as of the latest tick. */
  #lateMs = 0;
  #lost = 0;
  #lossToldMs = Number.NEGATIVE_INFINITY;
  #dumpedMs = 0;
  /** By frontend, see `PortUse`. */
  #limits: ReadonlyMap<string, number | undefined> = new Map();
  #insertFailed: number | undefined;
  #insertFailedBefore: number | undefined;
  #insertFailedMs = Number.NEGATIVE_INFINITY;
  #addressesMs = Number.NEGATIVE_INFINITY;
  #vips: ReadonlySet<string> = new Set();
  /** Told, and not taken up yet. */
  #waiting: Roles | undefined;
  #assuming: Promise<void> | undefined;
  #pumpSoon: NodeJS.Immediate | undefined;
  #tickedMs = 0;
  /** This process stood still, and has not heard yet what its agent said meanwhile. */
  #isDazed = false;
  /** Ends the wait of `#settled`. */
  #wake: () => void = () => {};

  constructor(options: FlowSyncOptions) {
    const kernel = options.kernel ?? DIRECT;
    this.#options = options;
    this.#table = new FlowTable(this.#scope, {
      onFlow: (key, flow) => this.#protocol.onFlow(key, flow, monotonicMs()),
      onGone: (key) => {
        const nowMs = monotonicMs();
        this.#protocol.onGone(key, nowMs);
        this.#writer.onGone(key, this.#protocol.receiver.received, nowMs);
      },
      nowMs: monotonicMs,
    });
    this.#writer = new FlowWriter({
      table: this.#table,
      replica: this.#replica,
      roles: this.#roles,
      scope: () => this.#scope,
      marks: () => options.marks?.() ?? 0,
      batch: kernel.newBatch(BATCH_REQUESTS),
    });
    this.#protocol = new FlowProtocol({
      table: this.#table,
      replica: this.#replica,
      roles: this.#roles,
      writer: this.#writer,
      mark: options.peer === undefined ? undefined : this.#mark(options.mark ?? tableMark),
      onReceived: () => this.#pump(),
    });
    this.#protocol.setAbility(NOT_NEEDED, monotonicMs());
    this.#conntrack = new Conntrack(
      {
        onFlow: (bytes, at, end, fromDump) => {
          this.#events++;
          if (this.#message.read(bytes, at, end, this.#ours)) this.#table.note(this.#message, fromDump);
        },
        onGone: (bytes, at, end) => {
          this.#events++;
          if (this.#message.read(bytes, at, end, this.#ours))
            this.#table.gone(this.#message.tuples, this.#message.bytes);
        },
        onAnswer: (sequence, error) => {
          this.#writer.onAnswer(sequence, error);
          this.#pump();
        },
        onDumpBegin: () => this.#table.beginDump(),
        onDumpEnd: () => this.#dumped(),
        onDown: (why, lost) => this.#down(why, lost),
      },
      kernel,
    );
  }

  /** Open flows of a frontend to a backend of it, as far as they were heard of. */
  active(frontend: string, backend: string): number {
    for (const count of this.#table.counts)
      if (count.frontend === frontend && count.backend === backend) return count.active;
    return 0;
  }

  /** What travels with the sessions; undefined where there is no peer. */
  get companion(): SyncCompanion | undefined {
    return this.#options.peer === undefined ? undefined : this.#protocol;
  }

  /** Follows the flows of these frontends from now on; with none, nothing runs. */
  apply(frontends: readonly KernelFrontend[]): void {
    this.#limits = new Map(frontends.map((frontend) => [frontend.name, portLimit(frontend)]));
    this.#scope = new FlowScope(frontends, this.#scope, monotonicMs());
    this.#table.rescope(this.#scope);
    if (this.#scope.empty) {
      this.#stop();
      this.#protocol.setAbility(NOT_NEEDED, monotonicMs());
      return;
    }
    // Until the first dump it is not known.
    if (this.#ticker === undefined) this.#protocol.setAbility(undefined, monotonicMs());
    this.#lookAtAddresses(monotonicMs());
    if (this.#ticker === undefined) {
      this.#tickedMs = monotonicMs();
      this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    }
    if (this.#conntrack.running) this.#conntrack.dump();
    else this.#conntrack.open();
    this.#protocol.sender.restart(monotonicMs());
  }

  /** @param roles by address of the VIP; flows to other addresses stay on their node */
  assign(roles: ReadonlyMap<string, FlowRole>): void {
    const byBytes = new Map<string, FlowRole>();
    for (const [address, role] of roles) {
      const bytes = addressBytes(address);
      if (bytes !== undefined) byBytes.set(bytes, role);
    }
    this.#vips = new Set(byBytes.keys());
    const isSettled = this.#writer.idle || !this.#conntrack.running;
    const { now, later } = roleSteps(this.#roles.all, this.#waiting, byBytes, isSettled);
    this.#waiting = later;
    this.#assume(now);
    if (later === undefined) {
      this.#stopWaiting();
      return;
    }
    this.#protocol.expect(later, monotonicMs());
    if (this.#assuming === undefined) this.#wait();
  }

  /** Under way while flows are written that belong to a role that changed; never rejects. */
  get assuming(): Promise<void> | undefined {
    return this.#assuming;
  }

  status(): FlowSyncStatus {
    const nowMs = monotonicMs();
    const { sender, receiver } = this.#protocol;
    const { count: failed } = this.#writer.failed;
    const frontends: Record<string, Record<string, FlowSyncStatus['frontends'][string][string]>> = {};
    for (const { frontend, backend, active, opened, bytes } of this.#table.counts) {
      frontends[frontend] ??= {};
      frontends[frontend][backend] = { active, opened, bytes, limit: this.#limits.get(frontend) };
    }
    return {
      ...this.#state(),
      flows: this.#table.size,
      replica: this.#replica.size,
      lag_ms: Math.round(Math.max(sender.behindMs(nowMs), this.#lateMs)),
      lag_p50_ms: sender.lag.quantileMs(0.5, nowMs),
      lag_p99_ms: sender.lag.quantileMs(0.99, nowMs),
      digest_equal: receiver.digestEqual,
      events: this.#events,
      written: this.#writer.written,
      failed,
      dropped: this.#table.dropped,
      resyncs: receiver.resyncs + this.#lost,
      frontends,
      insert_failed: this.#insertFailed,
    };
  }

  /** What does not work, one line each. */
  warnings(): string[] {
    const { state, why } = this.#state();
    const { count, cause } = this.#writer.failed;
    const { peer } = this.#options;
    const lines: string[] = [];
    if (state !== 'off' && why !== '') lines.push(`flow sync: ${why}`);
    if (state !== 'off' && this.#markless !== '')
      lines.push(
        `flow sync: ${peer} cannot tell when this node has lost its flows with its power: ${this.#markless}`,
      );
    if (count > 0) lines.push(`flow sync: ${count} writes failed, the last one: ${cause}`);
    const { strange } = this.#writer;
    if (strange !== undefined && monotonicMs() - strange.atMs < SHOWN_MS)
      lines.push(
        `flow sync: ${peer} tells of flows to ${endText(strange.tuples)}, which is no backend here: they are not written`,
      );
    lines.push(...portWarnings(this.#portUses()));
    if (monotonicMs() - this.#insertFailedMs < SHOWN_MS)
      lines.push(
        `the kernel dropped new flows, ${this.#insertFailed} since the start: it found no place for them (insert_failed), above all for want of source ports`,
      );
    if (this.#table.dropped > 0) lines.push(`flow sync: ${this.#table.dropped} flows are too many to follow`);
    return lines;
  }

  close(): void {
    this.#stop();
    this.#conntrack.close();
    this.#wake();
  }

  #mark(find: () => string): string | undefined {
    try {
      return find();
    } catch (error) {
      this.#markless = messageOf(error);
      return undefined;
    }
  }

  #assume(steps: readonly Roles[]): void {
    const changes = steps.filter((roles) => this.#protocol.assign(roles, monotonicMs()));
    if (changes.length === 0) return;
    this.#lookAtAddresses(monotonicMs());
    this.#pump();
  }

  #wait(): void {
    const assuming = this.#settled(SETTLE_MS).then(() => {
      // Other roles may have taken the place of these, and wait for themselves.
      if (this.#assuming !== assuming) return;
      this.#assuming = undefined;
      const roles = this.#waiting;
      this.#waiting = undefined;
      if (roles !== undefined) this.#assume([roles]);
    });
    this.#assuming = assuming;
  }

  #stopWaiting(): void {
    this.#assuming = undefined;
    this.#wake();
  }

  /** Waits until all that the peer told is in this kernel, or time is up. */
  #settled(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake(), timeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = () => {};
        resolve();
      };
    });
  }

  #stop(): void {
    clearInterval(this.#ticker);
    this.#ticker = undefined;
    this.#conntrack.stop();
    this.#writer.lost();
    this.#why = '';
    this.#lateMs = 0;
  }

  #state(): Pick<FlowSyncStatus, 'state' | 'why'> {
    const { peer } = this.#options;
    if (this.#scope.empty) return { state: 'off', why: '' };
    if (this.#why !== '') return { state: 'failed', why: this.#why };
    if (peer === undefined) return { state: 'counting', why: '' };
    if (!this.#protocol.linked) return { state: 'connecting', why: '' };
    if (this.#protocol.peer?.usable === false)
      return { state: 'failed', why: `${peer}: ${this.#protocol.peer.why}` };
    const whole = this.#protocol.receiver.filled && this.#protocol.sender.filled;
    return { state: whole ? 'synced' : 'snapshot', why: '' };
  }

  #dumped(): void {
    this.#table.endDump();
    this.#dumpedMs = monotonicMs();
    this.#why = '';
    this.#protocol.setAbility({ usable: true, why: '' }, this.#dumpedMs);
    this.#report();
    this.#pump();
  }

  #down(why: string, lost: boolean): void {
    this.#writer.lost();
    this.#wake();
    if (lost) {
      // The dump that follows at once repairs it.
      this.#lost++;
      const nowMs = monotonicMs();
      if (nowMs - this.#lossToldMs < LOSS_EVERY_MS) return;
      this.#lossToldMs = nowMs;
      this.#options.tell('warn', `flow sync: ${why}; all flows are read again (${this.#lost} times by now)`);
      return;
    }
    this.#why = why;
    this.#protocol.setAbility({ usable: false, why }, monotonicMs());
    this.#report();
  }

  #tick(): void {
    const nowMs = monotonicMs();
    this.#comeRound(nowMs);
    this.#tickedMs = nowMs;
    if (nowMs - this.#addressesMs >= ADDRESSES_EVERY_MS) {
      this.#lookAtAddresses(nowMs);
      this.#lookAtInsertions(nowMs);
    }
    if (this.#why !== '' || !this.#conntrack.running) return;
    if (this.#writer.waitingMs(nowMs) > ANSWER_MS)
      this.#conntrack.restart(`the kernel has not answered for ${ANSWER_MS / 1000} s`);
    if (this.#table.silent && nowMs - this.#dumpedMs >= DUMP_EVERY_MS) {
      this.#dumpedMs = nowMs;
      this.#conntrack.dump();
    }
    this.#lookAtDelay(nowMs);
    this.#table.sweep(nowMs);
    this.#protocol.watch(nowMs);
    this.#writer.patrol(this.#protocol.receiver.received, nowMs);
    this.#pump();
    this.#report();
  }

  /** Asks while events come; without any there is nothing to be late. */
  #lookAtDelay(nowMs: number): void {
    const isBusy = this.#events !== this.#eventsBefore;
    this.#eventsBefore = this.#events;
    if (isBusy) this.#conntrack.ask(nowMs);
    this.#lateMs = isBusy || this.#conntrack.asks ? this.#conntrack.delayMs(nowMs) : 0;
    this.#protocol.sender.lag.lateMs = this.#lateMs;
  }

  /**
   * A process that stood still hears what its agent said meanwhile before it writes what its peer said: the other way round
   * flows would be deleted that clients opened while this node was active.
   */
  #comeRound(nowMs: number): void {
    if (this.#isDazed || nowMs - this.#tickedMs < STOOD_MS) return;
    this.#isDazed = true;
    // What the loop found ready before the pause is done by the first one.
    setImmediate(() =>
      setImmediate(() => {
        this.#isDazed = false;
        this.#tickedMs = monotonicMs();
        this.#pump();
      }),
    );
  }

  #pump(): void {
    const nowMs = monotonicMs();
    this.#comeRound(nowMs);
    const writes = this.#conntrack.running && !this.#isDazed;
    const batch = writes ? this.#writer.next(nowMs) : undefined;
    if (batch !== undefined) this.#conntrack.write(batch);
    else if (writes && this.#writer.due)
      this.#pumpSoon ??= setImmediate(() => {
        this.#pumpSoon = undefined;
        this.#pump();
      });
    if (this.#writer.idle) this.#wake();
    this.#protocol.notify();
  }

  *#portUses(): Generator<PortUse> {
    for (const { frontend, backend, active } of this.#table.counts)
      yield { frontend, backend, active, limit: this.#limits.get(frontend) };
  }

  #lookAtInsertions(nowMs: number): void {
    const now = insertFailures();
    if (now === undefined) return;
    this.#insertFailedBefore ??= now;
    const since = now - this.#insertFailedBefore;
    if (since > (this.#insertFailed ?? 0)) this.#insertFailedMs = nowMs;
    this.#insertFailed = since;
  }

  #lookAtAddresses(nowMs: number): void {
    this.#addressesMs = nowMs;
    const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    const local = all.map(({ address }) => addressBytes(address));
    this.#roles.setLocal(new Set(local.filter((it) => it !== undefined && !this.#vips.has(it)) as string[]));
  }

  #report(): void {
    const lines = this.warnings();
    const report = lines.join('; ').replaceAll(/\d+/g, '#');
    if (report === this.#reported) return;
    this.#reported = report;
    if (report === '') this.#options.tell('info', 'flow sync works');
    else for (const line of lines) this.#options.tell('warn', line);
  }
}

/** Open flows to one backend for which there are source ports; each VIP has its own. */
function portLimit({ source, addresses }: KernelFrontend): number | undefined {
  if (source === undefined || source === 'none') return undefined;
  return SOURCE_PORTS * (source === 'vip' ? Math.max(1, addresses.length) : 1);
}
