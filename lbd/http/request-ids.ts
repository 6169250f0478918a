const DIGITS = Buffer.from('0123456789abcdefghijklmnopqrstuvwxyz', 'latin1');
const LAST = DIGITS.length - 1;
/** Enough for 2.8e12 requests, after which they begin anew. */
const MOST_DIGITS = 8;

/** Request ids: a prefix of its own and a number in base 36, counted in place, so that an id is one flat string. */
export class RequestIds {
  readonly #bytes: Buffer;
  readonly #prefixLength: number;
  readonly #values = new Uint8Array(MOST_DIGITS);
  #digits = 1;

  /** @param prefix latin1 */
  constructor(prefix: string) {
    this.#bytes = Buffer.concat([Buffer.from(prefix, 'latin1'), Buffer.alloc(MOST_DIGITS, DIGITS[0])]);
    this.#prefixLength = this.#bytes.length - MOST_DIGITS;
  }

  next(): string {
    const id = this.#bytes.latin1Slice(0, this.#prefixLength + this.#digits);
    let at = this.#digits - 1;
    while (at >= 0 && this.#values[at] === LAST) this.#set(at--, 0);
    if (at >= 0) this.#set(at, this.#values[at]! + 1);
    else if (this.#digits < MOST_DIGITS) {
      this.#digits++;
      this.#set(0, 1);
    }
    return id;
  }

  #set(at: number, value: number): void {
    this.#values[at] = value;
    this.#bytes[this.#prefixLength + at] = DIGITS[value]!;
  }
}
