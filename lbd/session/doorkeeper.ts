/** Handshakes at a time. The peer needs one; a node that dials again may leave an old one behind. */
const MAX_PENDING = 4;
/** Handshakes in a row, and how many more come each second. One costs this thread some 0.5 ms. */
const BURST = 20;
const PER_SECOND = 5;

interface Guests {
  pending: number;
  tokens: number;
  filledMs: number;
}

/**
 * Says who may begin a handshake at the sync port, before it costs anything. The peer's address has room of its own, so
 * that no stranger can keep it out, however many there are. Pure: time comes in.
 */
export class Doorkeeper {
  readonly #peerAddress: string;
  readonly #peer = newGuests();
  readonly #strangers = newGuests();

  constructor(peerAddress: string) {
    this.#peerAddress = peerAddress;
  }

  /** Whether an address is the peer's. */
  knows(address: string | undefined): boolean {
    return address === this.#peerAddress;
  }

  /**
   * @param address of the remote end
   * @returns whether a handshake may begin; if so, call `done` once when it has ended, well or not
   */
  admit(address: string | undefined, nowMs: number): boolean {
    const guests = this.#of(address);
    guests.tokens = Math.min(BURST, guests.tokens + ((nowMs - guests.filledMs) * PER_SECOND) / 1000);
    guests.filledMs = nowMs;
    if (guests.pending >= MAX_PENDING || guests.tokens < 1) return false;
    guests.tokens--;
    guests.pending++;
    return true;
  }

  done(address: string | undefined): void {
    this.#of(address).pending--;
  }

  #of(address: string | undefined): Guests {
    return this.knows(address) ? this.#peer : this.#strangers;
  }
}

function newGuests(): Guests {
  return { pending: 0, tokens: BURST, filledMs: 0 };
}
