import type { HealthState } from '../../../common/control.ts';
import type { Logger } from '../../../common/logger.ts';
import { probeHttp } from './http-probe.ts';
import { probeHttp2 } from './http2-probe.ts';
import type { HealthTarget, Probe, ProbeResult } from './probe.ts';
import { afterResult, provisional, type RiseFall, UNTESTED } from './rise-fall.ts';
import { probeTcp } from './tcp-probe.ts';
import { probeUdp } from './udp-probe.ts';

const MAX_CHECKS_KEPT = 10;
/** Checks that began together drift apart, and two nodes do not check in step. */
const JITTER = 0.1;
/** Pause between two checks at least, as a part of the interval, however long the last one took. */
const LEAST_PAUSE = 0.1;

/** What is known about the health of a backend. */
export interface HealthReport {
  readonly state: HealthState;
  /** It answered its check with a status of `drain_status`: no new clients, please. */
  readonly drainRequested: boolean;
  /** Why it is in this state, in words. */
  readonly why: string;
  /** When `state` or `drainRequested` last changed: `performance.now()` of this thread. */
  readonly sinceMs: number;
  /** Latest results, newest first, at most 10. */
  readonly checks: readonly { readonly ok: boolean; readonly ms: number; readonly detail: string }[];
  /** `deep` checks: names of those that fail or warn; also of a healthy, degraded backend. */
  readonly failingChecks: readonly string[];
  /** What it gets would come round, so that nobody may be sent there, whatever becomes of its pool. */
  readonly leadsBack?: boolean;
}

/** Checks one backend again and again, at most one check at a time, until closed. */
export class TargetCheck {
  readonly target: HealthTarget;
  /** Resolved by the first result, or when closed. */
  readonly settled: Promise<void>;
  readonly #log: Logger;
  readonly #onChange: (id: string, report: HealthReport) => void;
  readonly #settle: () => void;
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #rounds = 0;
  #verdict: RiseFall = UNTESTED;
  #report: HealthReport;
  #inconclusive = false;

  /** @param before the verdict of a check of the same backend with other settings, to go by for now */
  constructor(
    target: HealthTarget,
    log: Logger,
    onChange: (id: string, report: HealthReport) => void,
    before: HealthReport | undefined,
  ) {
    this.target = target;
    this.#log = log;
    this.#onChange = onChange;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.settled = promise;
    this.#settle = resolve;
    this.#verdict = before === undefined ? UNTESTED : provisional(before.state);
    this.#report = before ?? {
      state: 'unknown',
      drainRequested: false,
      why: 'waiting for the first check',
      sinceMs: performance.now(),
      checks: [],
      failingChecks: [],
    };
  }

  get report(): HealthReport {
    return this.#report;
  }

  start(): void {
    if (this.target.config.type === 'none') {
      this.#verdict = { state: 'healthy', against: 0, provisional: false };
      this.#publish(
        { state: 'healthy', drainRequested: false, failingChecks: [] },
        'health checks are off',
        [],
      );
      this.#settle();
    } else void this.#check();
  }

  /** What the peer found, to go by until the first own result. */
  seed(healthy: boolean, why: string): void {
    if (!this.#verdict.provisional) return;
    this.#verdict = provisional(healthy ? 'healthy' : 'unhealthy');
    const { drainRequested, failingChecks, checks } = this.#report;
    this.#publish({ state: this.#verdict.state, drainRequested, failingChecks }, why, checks);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#settle();
  }

  async #check(): Promise<void> {
    const probe = probeOf(this.target);
    const startedMs = performance.now();
    const result = await probe(this.target, this.#abort.signal);
    if (this.#abort.signal.aborted) return;
    const tookMs = performance.now() - startedMs;
    this.#take(result, tookMs);
    this.#settle();
    const pauseMs = nextPauseMs(this.target.config.intervalMs, tookMs, this.#rounds++ === 0, Math.random());
    this.#timer = setTimeout(() => void this.#check(), pauseMs);
  }

  #take(result: ProbeResult, tookMs: number): void {
    const before = this.#report;
    const { outcome, detail } = result;
    const ok = outcome === 'pass' || outcome === 'drain';
    const checks = [{ ok, ms: Math.round(tookMs * 10) / 10, detail }, ...before.checks].slice(
      0,
      MAX_CHECKS_KEPT,
    );
    if (outcome === 'inconclusive') {
      if (!this.#inconclusive) this.#log.warn({ backend: this.target.id }, `health check: ${detail}`);
      this.#inconclusive = true;
      this.#report = { ...before, checks };
      return;
    }
    this.#inconclusive = false;
    // A backend that announced its leave and then fails has left: waiting for more failures helps nobody.
    const fall = before.drainRequested ? 1 : this.target.config.fall;
    const first = this.#verdict.provisional;
    this.#verdict = afterResult(this.#verdict, ok, { rise: this.target.config.rise, fall });
    const { state } = this.#verdict;
    // One failure does not take back a wish to drain; a success, or being down, does.
    const drainRequested =
      outcome === 'drain' || (outcome === 'fail' && before.drainRequested && state !== 'unhealthy');
    this.#publish({ state, drainRequested, failingChecks: result.failingChecks }, detail, checks, first);
  }

  /** Keeps the report and tells of it where something changed. */
  #publish(
    now: Pick<HealthReport, 'state' | 'drainRequested' | 'failingChecks'>,
    why: string,
    checks: HealthReport['checks'],
    first = false,
  ): void {
    const before = this.#report;
    const turned = before.state !== now.state || before.drainRequested !== now.drainRequested;
    const otherChecks = before.failingChecks.join('\n') !== now.failingChecks.join('\n');
    // A degraded backend stays healthy; what ails it is still news. And what was found out here replaces hearsay.
    const whyNow = turned || first || (otherChecks && now.state === 'healthy') ? why : before.why;
    this.#report = { ...now, checks, why: whyNow, sinceMs: turned ? performance.now() : before.sinceMs };
    if (!turned && !otherChecks) return;
    const { state, drainRequested } = now;
    this.#log.debug({ backend: this.target.id, state, drainRequested }, `health: ${why}`);
    try {
      this.#onChange(this.target.id, this.#report);
    } catch (error) {
      // The checks must go on, whatever happens to who listens.
      this.#log.error({ err: error, backend: this.target.id }, 'a change of health could not be applied');
    }
  }
}

function probeOf({ config: { type }, http2 }: HealthTarget): Probe {
  if (type === 'tcp') return probeTcp;
  if (type === 'udp') return probeUdp;
  return http2 === true ? probeHttp2 : probeHttp;
}

/**
 * Time from the end of a check to the start of the next one, so that checks start `intervalMs` apart, give or
 * take 10 %. The first pause is anywhere within the interval: the backends of a pool, whose first checks all
 * run at start, are then checked at different times.
 *
 * @param random 0 to 1
 */
export function nextPauseMs(intervalMs: number, tookMs: number, first: boolean, random: number): number {
  const wishedMs = first ? intervalMs * random : intervalMs * (1 - JITTER + 2 * JITTER * random);
  return Math.max(wishedMs - tookMs, intervalMs * LEAST_PAUSE, 1);
}
