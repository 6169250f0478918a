import { monotonicMs } from '../../common/events.ts';
import type { TicketSharing } from '../session/sync-companion.ts';
import { TicketRing } from './ticket-ring.ts';

const TICK_MS = 10_000;

export interface TicketsOptions {
  /** Whether it is on this node to make new secrets: it is the active one, or alone. */
  leads(): boolean;
  /** `secrets` are others now. */
  onChange(): void;
  /** The peer does not have all of them. */
  tellPeer(): void;
}

/** The secrets of session tickets of this process, and when they change. */
export class Tickets {
  readonly #options: TicketsOptions;
  readonly #ring = new TicketRing(monotonicMs());

  constructor(options: TicketsOptions) {
    this.#options = options;
    this.#ring.tick(monotonicMs(), false);
  }

  /** See `TicketRing.secrets`. */
  get secrets(): readonly Uint8Array[] {
    return this.#ring.secrets(monotonicMs());
  }

  /** How they travel to the peer and from it. */
  readonly sharing: TicketSharing = {
    encode: (nowMs) => this.#ring.encode(nowMs),
    merge: (payload, nowMs) => {
      if (this.#ring.merge(payload, nowMs)) this.#look();
    },
  };

  /** @returns what ends it */
  start(): () => void {
    const timer = setInterval(() => {
      if (this.#look()) this.#options.tellPeer();
    }, TICK_MS);
    return () => clearInterval(timer);
  }

  #look(): boolean {
    const changed = this.#ring.tick(monotonicMs(), this.#options.leads());
    if (changed) this.#options.onChange();
    return changed;
  }
}
