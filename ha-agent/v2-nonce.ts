import { isSameProcess, renewedNonce } from './peer-session.ts';

/**
 * The boot nonce of this process in the format of the last release, whose heartbeats have no time: there a nonce stands
 * for the time at which it was drawn.
 */
export class V2Nonce {
  #nonce: string;
  #drawnMs: number;

  /** @param nonce 16 hexadecimal digits, of this process */
  constructor(nonce: string, now: number) {
    this.#nonce = nonce;
    this.#drawnMs = now;
  }

  get nonce(): string {
    return this.#nonce;
  }

  get drawnMs(): number {
    return this.#drawnMs;
  }

  /** From now on an echo of the former one proves nothing. */
  renew(now: number): void {
    this.#nonce = renewedNonce(this.#nonce);
    this.#drawnMs = now;
  }

  /** @returns when a nonce was drawn; NaN for a former one of this process, undefined for one of another process */
  timeOf(nonce: string): number | undefined {
    if (nonce === this.#nonce) return this.#drawnMs;
    return isSameProcess(nonce, this.#nonce) ? Number.NaN : undefined;
  }
}
