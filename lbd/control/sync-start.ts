import { messageOf } from '../../common/errors.ts';
import type { SyncEnd } from './sync.ts';

const RETRY_MS = 1_000;

export interface SyncStartOptions {
  readonly sync: Pick<SyncEnd, 'start'>;
  /** Once for each problem, and when there is none any more. */
  tell(level: 'info' | 'warn', text: string): void;
}

/**
 * Starts the session sync. Traffic does not wait for the peer: where the sync cannot listen (its address may not be up yet
 * at boot), this node serves alone, says so, and tries again.
 */
export class SyncStart {
  readonly #options: SyncStartOptions;
  #retry: NodeJS.Timeout | undefined;
  #problem: string | undefined;

  constructor(options: SyncStartOptions) {
    this.#options = options;
  }

  /** Never rejects; tries until it succeeds or `close` is called. */
  async start(): Promise<void> {
    const { sync, tell } = this.#options;
    try {
      await sync.start();
      if (this.#problem !== undefined) tell('info', 'session sync runs now');
      this.#problem = undefined;
    } catch (error) {
      const problem = `session sync does not run: ${messageOf(error)}`;
      if (problem !== this.#problem) tell('warn', problem);
      this.#problem = problem;
      this.#retry = setTimeout(() => void this.start(), RETRY_MS);
    }
  }

  warnings(): string[] {
    return this.#problem === undefined ? [] : [this.#problem];
  }

  close(): void {
    clearTimeout(this.#retry);
  }
}
