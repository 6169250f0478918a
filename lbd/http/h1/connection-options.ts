import { equalsIgnoreCase } from './fields.ts';
import { COMMA, HTAB, SP, TOKEN } from './grammar.ts';

/**
 * What the Connection fields of one head say (RFC 9110 §7.6.1): options of this hop, and names of fields that
 * end here.
 */
export class ConnectionOptions {
  close = false;
  keepAlive = false;
  upgrade = false;
  /** Lower case. The options above are not in it, so that usual heads cost no string. */
  #names: Set<string> | undefined;

  clear(): void {
    this.close = this.keepAlive = this.upgrade = false;
    this.#names = undefined;
  }

  get namesFields(): boolean {
    return this.#names !== undefined;
  }

  /** Reads the value of one Connection field; several count together. */
  read(buffer: Buffer, start: number, end: number): void {
    for (let p = start; p < end; p++) {
      while (p < end && (buffer[p] === SP || buffer[p] === HTAB)) p++;
      const from = p;
      while (p < end && TOKEN[buffer[p]!] === 1) p++;
      const to = p;
      while (p < end && (buffer[p] === SP || buffer[p] === HTAB)) p++;
      // Where others would see no option, there must be none: parsers differ on what else parts two of them.
      const whole = to > from && (p === end || buffer[p] === COMMA);
      while (p < end && buffer[p] !== COMMA) p++;
      if (!whole) continue;
      if (equalsIgnoreCase(buffer, from, to, 'close')) this.close = true;
      else if (equalsIgnoreCase(buffer, from, to, 'keep-alive')) this.keepAlive = true;
      else if (equalsIgnoreCase(buffer, from, to, 'upgrade')) this.upgrade = true;
      else {
        this.#names ??= new Set();
        this.#names.add(buffer.latin1Slice(from, to).toLowerCase());
      }
    }
  }

  /** Whether a field ends here. @param name in lower case */
  names(name: string): boolean {
    return this.#names?.has(name) === true;
  }
}
