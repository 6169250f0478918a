import { within } from '../common/bounded.ts';
import { messageOf, OperatorError } from '../common/errors.ts';
import { type IpAnswer, IpBatch } from './ip-batch.ts';

/** What does not answer for so long is overtaken: some of it fits into the lifetime of a VIP. */
const OVERTAKE_MS = 300;
/** So long is tried at all. */
const LIMIT_MS = 1_000;
/** An `ip` that ends at once is not started without end. */
const ATTEMPTS = 4;
/** One that is killed is gone at once, unless the kernel holds it up. */
const DEATH_MS = 200;
/** Turns of the loop in which a timer that is due by now has gone off, and what it set in motion is done. */
const TURNS = 3;

export interface IpRelayEvents {
  /** A process was started, see `pids`. */
  onStart(): void;
  /** One was overtaken, or ended. Said for each time. */
  onSlow(why: string): void;
}

export interface Patience {
  /** Before another process is asked. */
  readonly overtakeMs: number;
  readonly limitMs: number;
}

const USUAL: Patience = { overtakeMs: OVERTAKE_MS, limitMs: LIMIT_MS };

/**
 * Two `ip` that run already: what one does not answer in time the other one is asked, so that one that stalls costs no
 * lifetime. Whatever order they come in: once a change has settled, nothing that was asked before it happens any more.
 */
export class IpRelay {
  readonly #events: IpRelayEvents;
  readonly #runners: readonly [IpBatch, IpBatch];
  /** The one that is asked first. */
  #lead: IpBatch;
  /** Asked for something that the other one was asked for, too; until they have answered. */
  readonly #lagging = new Set<IpBatch>();

  /** @param program another one only in tests */
  constructor(events: IpRelayEvents, program = 'ip') {
    this.#events = events;
    this.#runners = [new IpBatch(program, events.onStart), new IpBatch(program, events.onStart)];
    this.#lead = this.#runners[0];
  }

  /**
   * Carries out what may happen twice, such as to add an address or to renew its lifetime.
   *
   * @param isWanted asked before each attempt; what is not wanted any more is given up
   * @throws OperatorError when nobody has answered in time
   */
  async renew(lines: readonly string[], isWanted: () => boolean = () => true): Promise<IpAnswer> {
    const giveUpAt = performance.now() + LIMIT_MS;
    const attempts: Promise<IpAnswer>[] = [];
    let why = '';
    while (attempts.length < ATTEMPTS && performance.now() < giveUpAt && isWanted()) {
      const runner = this.#lead;
      const attempt = runner.run(lines, LIMIT_MS + OVERTAKE_MS);
      attempt.catch((error: unknown) => {
        why = messageOf(error);
      });
      attempts.push(attempt);
      const answer = await within(Math.min(OVERTAKE_MS, giveUpAt - performance.now()), firstOf(attempts));
      if (answer !== undefined) return answer;
      this.#overtake(runner, why || `ip did not answer within ${OVERTAKE_MS} ms`);
      // After a pause the end of an ip, which the guardian kills, is seen before the pause is: then nothing is wanted
      // any more.
      for (let turn = 0; turn < TURNS; turn++) await new Promise(setImmediate);
    }
    throw new OperatorError('IP_FAILED', why || `ip did not answer within ${LIMIT_MS} ms`);
  }

  /**
   * Carries out what must not happen late, such as to remove an address. What was asked for before, and has not happened
   * by then, never happens. A `renew` that is called while it waits for that may happen before it.
   *
   * @param isWanted asked before each attempt; what is not wanted any more is given up
   * @throws OperatorError when nobody has answered in time, or one that was ended may still be at work, or it is not
   * wanted
   */
  async change(
    lines: readonly string[],
    patience = USUAL,
    isWanted: () => boolean = () => true,
  ): Promise<IpAnswer> {
    const giveUpAt = performance.now() + patience.limitMs;
    let why = '';
    for (let attempts = 0; attempts < ATTEMPTS && performance.now() < giveUpAt; attempts++) {
      await this.#forgetOthers();
      if (!isWanted()) throw new OperatorError('IP_FAILED', 'not wanted any more');
      const runner = this.#lead;
      const attempt = runner.run(lines, patience.limitMs);
      const failure = attempt.then(() => undefined, messageOf);
      // On a starved machine the time may be over before the first one has begun: that one has its chance all the same.
      const leftMs = attempts === 0 ? patience.overtakeMs : Math.max(0, giveUpAt - performance.now());
      const waitMs = Math.min(patience.overtakeMs, leftMs);
      const answer = await within(waitMs, firstOf([attempt]));
      if (answer !== undefined) return answer;
      const failed = await Promise.race([failure, undefined]);
      why = failed ?? `ip did not answer within ${Math.round(waitMs)} ms`;
      this.#events.onSlow(why);
      this.#lead = this.#other(runner);
      await this.#settle(failed === undefined ? runner.end(why) : runner.ended);
    }
    throw new OperatorError('IP_FAILED', why || `ip did not answer within ${patience.limitMs} ms`);
  }

  /** Of the processes that add addresses. */
  get pids(): readonly number[] {
    return this.#runners.flatMap(({ pid }) => pid ?? []);
  }

  /** Has both processes ready before they are needed. */
  warm(): void {
    for (const runner of this.#runners) runner.warm();
  }

  /** See `IpBatch.refresh`. */
  refresh(): void {
    for (const runner of this.#runners) runner.refresh();
  }

  close(): void {
    for (const runner of this.#runners) runner.close();
  }

  #overtake(runner: IpBatch, why: string): void {
    this.#events.onSlow(why);
    // Another job has seen to it.
    if (this.#lead !== runner) return;
    const next = this.#other(runner);
    this.#lead = next;
    // Both stall: the one that has done so for longer is started anew.
    if (this.#lagging.delete(next) && next.busy) void next.end(why);
    if (runner.busy) this.#lagging.add(runner);
    next.warm();
  }

  /** What was asked twice has happened, or is not wanted any more. */
  async #forgetOthers(): Promise<void> {
    for (const runner of this.#runners) {
      const isLate = this.#lagging.delete(runner) && runner.busy;
      await this.#settle(isLate ? runner.end('another ip has done its work') : runner.ended);
    }
    this.warm();
  }

  /** @throws OperatorError when a process that was killed may still be at work */
  async #settle(ended: Promise<void>): Promise<void> {
    if (
      (await within(
        DEATH_MS,
        ended.then(() => true),
      )) === undefined
    )
      throw new OperatorError('IP_FAILED', `an ip that was killed has not ended within ${DEATH_MS} ms`);
  }

  #other(runner: IpBatch): IpBatch {
    return runner === this.#runners[0] ? this.#runners[1] : this.#runners[0];
  }
}

/** @returns the first answer of any attempt; undefined as soon as the latest one has failed */
function firstOf(attempts: readonly Promise<IpAnswer>[]): Promise<IpAnswer | undefined> {
  const never = new Promise<undefined>(() => {});
  const earlier = attempts.slice(0, -1).map((attempt) => attempt.catch(() => never));
  return Promise.race([...earlier, attempts.at(-1)!.catch(() => undefined)]);
}
