import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../common/errors.ts';
import type { Nft } from './nft.ts';
import { type Meddler, NftWatch, type NftWatchOptions } from './nft-watch.ts';
import { changeScript, fullScript, REMOVE_SCRIPT, type Ruleset, TABLE } from './ruleset.ts';
import { differences } from './table-listing.ts';

/** After a failure; the rules in force stay meanwhile. */
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;
/** Somebody who changes the table again and again is reported so often at most. */
const REPORT_MS = 60_000;
const VERIFY_PAUSE_MS = 1_000;

export interface KernelTableOptions {
  readonly nft: Pick<Nft, keyof Nft>;
  /** Another one only in tests. */
  readonly watch?: ((options: NftWatchOptions) => Pick<NftWatch, 'start' | 'close'>) | undefined;
  /** What the table should hold now. */
  wanted(): Ruleset;
  /** Lines for `nft -f -` about the VIPs that are young, see `Young`. */
  young(): string;
  /** What is wanted now is in force. */
  onLoaded(): void;
  tell(level: 'info' | 'warn', text: string): void;
}

/**
 * Keeps lbd's table in the kernel what it should be: exchanges what changed, tries again what failed, and puts right what
 * others do to it.
 */
export class KernelTable {
  readonly #options: KernelTableOptions;
  readonly #nft: Pick<Nft, keyof Nft>;
  readonly #watch: Pick<NftWatch, 'start' | 'close'>;
  /** What the kernel has; undefined: not known. */
  #loaded: Ruleset | undefined;
  #began = false;
  #stale = false;
  #youngStale = false;
  #running: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #retryMs = FIRST_RETRY_MS;
  #trouble: string | undefined;
  #watchTrouble: string | undefined;
  #reportedMs = Number.NEGATIVE_INFINITY;
  #restored = 0;
  /** Process numbers of `nft monitor` are those of this process's own namespace. */
  #pidsTell = false;
  #verifying = false;
  /** Somebody changed the table while it was looked at. */
  #suspect: { readonly by: Meddler | undefined } | undefined;
  #closed = false;

  constructor(options: KernelTableOptions) {
    this.#options = options;
    this.#nft = options.nft;
    const handlers: NftWatchOptions = {
      onChange: (by) => void this.#changed(by),
      onGap: () => {
        this.#watchTrouble = undefined;
        if (this.#loaded !== undefined) void this.#suspicion(undefined);
      },
      onTrouble: (text) => {
        this.#watchTrouble = `what others do to the rules of the kernel engine is not noticed: ${text}`;
        options.tell('warn', this.#watchTrouble);
      },
    };
    this.#watch = options.watch?.(handlers) ?? new NftWatch(handlers);
  }

  /** The table was made in this run: its base chains must stay, for flows that are open. */
  get began(): boolean {
    return this.#began;
  }

  /**
   * The first time, with the watch that finds out what others do.
   *
   * @returns why it cannot be; undefined: it is in force
   */
  async begin(): Promise<string | undefined> {
    this.#watch.start();
    await this.refresh();
    const trouble = this.#trouble;
    if (this.#began) return undefined;
    // Nothing is in force, so whoever asked does without.
    this.#trouble = undefined;
    return trouble;
  }

  /** Puts what is wanted now in force, with `young` as well. Settles when it is, or has failed; never rejects. */
  refresh(isYoungStale = false): Promise<void> {
    this.#stale = true;
    this.#youngStale ||= isYoungStale;
    return this.#run();
  }

  /** As `refresh`, of `young`. */
  refreshYoung(): void {
    this.#youngStale = true;
    if (this.#began) void this.#run();
  }

  warnings(): string[] {
    return [
      this.#trouble &&
        `the rules of the kernel engine could not be changed, the old ones are in force: ${this.#trouble}`,
      this.#watchTrouble,
      this.#restored === 0
        ? undefined
        : `another program changed table ${TABLE}, which was put right; so far ${this.#restored}`,
    ].filter((line) => line !== undefined);
  }

  /** Removes the table of a run with another config. Without the right to look there is nothing of ours to remove. */
  async removeLeftover(): Promise<void> {
    try {
      if ((await this.#nft.objects()) === undefined) return;
      await this.#nft.apply(REMOVE_SCRIPT);
      this.#options.tell('info', `table ${TABLE} of an earlier run was removed: no frontend needs it now`);
    } catch {
      return;
    }
  }

  /** The table stays. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#watch.close();
    await this.#running;
  }

  /** One transaction at a time; what comes meanwhile goes into the next one. */
  #run(): Promise<void> {
    this.#running ??= this.#loop().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #loop(): Promise<void> {
    while ((this.#stale || this.#youngStale) && !this.#closed) {
      this.#stale = false;
      const isYoungStale = this.#youngStale;
      this.#youngStale = false;
      try {
        await this.#load(this.#options.wanted(), isYoungStale);
        this.#succeeded();
      } catch (error) {
        this.#failed(messageOf(error));
        return;
      }
      if (!this.#stale) this.#options.onLoaded();
    }
  }

  async #load(wanted: Ruleset, isYoungStale: boolean): Promise<void> {
    const young = () => this.#options.young();
    if (this.#loaded !== undefined) {
      const script = changeScript(this.#loaded, wanted) + (isYoungStale ? young() : '');
      try {
        if (script !== '') await this.#nft.apply(script);
        this.#loaded = wanted;
        return;
      } catch {
        // The table may not be what it was; the whole of it tells.
        this.#loaded = undefined;
      }
    }
    await this.#nft.apply(fullScript(wanted, await this.#nft.objects()) + young());
    this.#loaded = wanted;
    this.#began = true;
  }

  #succeeded(): void {
    clearTimeout(this.#retry);
    this.#retryMs = FIRST_RETRY_MS;
    if (this.#trouble !== undefined && this.#began)
      this.#options.tell('info', 'the rules of the kernel engine are in force again');
    this.#trouble = undefined;
  }

  #failed(text: string): void {
    if (this.#trouble !== text)
      this.#options.tell('warn', `the rules of the kernel engine could not be changed: ${text}`);
    this.#trouble = text;
    if (!this.#began || this.#closed) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.refresh(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
  }

  async #changed(by: Meddler): Promise<void> {
    if (this.#nft.isOwn(by.pid)) {
      this.#pidsTell = true;
      return;
    }
    await this.#suspicion(by);
  }

  /** One look at a time, and a pause between two: with a program that never gives up it would be a race. */
  async #suspicion(by: Meddler | undefined): Promise<void> {
    this.#suspect = { by: by ?? this.#suspect?.by };
    if (this.#verifying) return;
    this.#verifying = true;
    while (this.#suspect !== undefined && !this.#closed) {
      const { by: suspect } = this.#suspect;
      this.#suspect = undefined;
      await this.#verify(suspect);
      if (this.#suspect !== undefined) await delay(VERIFY_PAUSE_MS, undefined, { ref: false });
    }
    this.#verifying = false;
  }

  /** Puts the table right if it is not what it should be. */
  async #verify(by: Meddler | undefined): Promise<void> {
    try {
      let found: string | undefined;
      let expected: Ruleset | undefined;
      do {
        await this.#running;
        expected = this.#loaded;
        if (expected === undefined || this.#closed) return;
        found = differences(expected, await this.#nft.listing());
        // A transaction of ours meanwhile made another table.
      } while (this.#running !== undefined || expected !== this.#loaded);
      if (found === undefined && !(by !== undefined && this.#pidsTell)) return;
      this.#loaded = undefined;
      this.#restored++;
      const nowMs = performance.now();
      if (nowMs - this.#reportedMs >= REPORT_MS) {
        this.#reportedMs = nowMs;
        const who = by === undefined ? 'another program' : `${by.program} (process ${by.pid})`;
        this.#options.tell(
          'warn',
          `${who} changed table ${TABLE}${found === undefined ? '' : ` (${found})`}; it is put right`,
        );
      }
      await this.refresh();
    } catch (error) {
      this.#failed(messageOf(error));
    }
  }
}
