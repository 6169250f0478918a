import { setTimeout as sleep } from 'node:timers/promises';
import { CLIENT_ADDRESSES, VIP } from './hosts.ts';
import { type Answer, requestOnce } from './request.ts';

/** Of a client that must be answered, and the pause after each. */
const TRIES = 10;
const PAUSE_MS = 200;

/** How a client is tied to its backend. */
export const STICKY_KINDS = ['cookie', 'learnt', 'source'] as const;
export type StickyKind = (typeof STICKY_KINDS)[number];

/** Paths of the lab's config (`pair-config.ts`): each leads to a pool with that kind of stick. */
const PATHS: Readonly<Record<StickyKind, { first: string; later: string }>> = {
  cookie: { first: '/', later: '/' },
  learnt: { first: '/app/login', later: '/app/page' },
  source: { first: '/src/', later: '/src/' },
};

export interface StickyResult {
  readonly total: number;
  /** Clients whose latest answer came from the backend of their first one. */
  readonly kept: number;
  /** Clients that at any time got an answer of another backend. */
  readonly strayed: number;
  /** What went wrong, at most 5 lines. */
  readonly examples: readonly string[];
}

/** One client that remembers the backend it had and what ties it. */
export class StickyClient {
  readonly kind: StickyKind;
  readonly #from: string | undefined;
  #cookie = '';
  #backend = '';
  #latest = '';
  #strayed = '';

  /** @param index 0 to 38: each client of kind `source` has an address of its own */
  constructor(kind: StickyKind, index: number) {
    this.kind = kind;
    this.#from = kind === 'source' ? CLIENT_ADDRESSES[index % CLIENT_ADDRESSES.length] : undefined;
  }

  get kept(): boolean {
    return this.#backend !== '' && this.#latest === this.#backend;
  }

  /** Empty, or which backend it was sent to instead of its own. */
  get strayed(): string {
    return this.#strayed;
  }

  /**
   * Gets a backend and its cookie.
   *
   * @throws Error when the answer is not a 200 of a backend, or is late again and again
   */
  async bind(): Promise<void> {
    const answer = await this.#askAtFirst();
    if (answer.status !== 200 || answer.backend === '')
      throw new Error(`${this.kind}: status ${answer.status} at its first request`);
    this.#backend = answer.backend;
    this.#latest = answer.backend;
    this.#cookie = answer.cookies.join('; ');
  }

  /** Asks again; a failure counts as nothing here, the probe counts those. @returns whether it was answered */
  async visit(): Promise<boolean> {
    try {
      const answer = await this.#ask(PATHS[this.kind].later);
      if (answer.status !== 200) return false;
      this.#latest = answer.backend;
      if (answer.backend !== this.#backend)
        this.#strayed = `${this.kind} client of ${this.#backend} was sent to ${answer.backend}`;
      return true;
    } catch {
      return false;
    }
  }

  /** Visits until it is answered; after some seconds it counts as lost. */
  async visitForSure(): Promise<void> {
    this.#latest = '';
    for (let i = 0; i < TRIES && !(await this.visit()); i++) await sleep(PAUSE_MS);
  }

  /** What is late at the start is no finding: the machine may be busy with starting all the others. */
  async #askAtFirst(): Promise<Answer> {
    for (let i = 1; i < TRIES; i++)
      try {
        return await this.#ask(PATHS[this.kind].first);
      } catch {
        await sleep(PAUSE_MS);
      }
    return await this.#ask(PATHS[this.kind].first);
  }

  #ask(path: string): Promise<Answer> {
    return requestOnce({
      host: VIP,
      port: 80,
      path,
      cookie: this.#cookie,
      from: this.#from,
      timeoutMs: 1000,
    });
  }
}

export function summarise(clients: readonly StickyClient[]): StickyResult {
  const strayed = clients.filter((client) => client.strayed !== '');
  return {
    total: clients.length,
    kept: clients.filter((client) => client.kept).length,
    strayed: strayed.length,
    examples: strayed.slice(0, 5).map((client) => client.strayed),
  };
}
