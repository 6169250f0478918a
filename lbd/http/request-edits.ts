import { FieldEdits } from './edits.ts';

/** RFC 9112 §3.2.1: origin-form, or the asterisk of OPTIONS. What is not ASCII, a space or a fragment would be read as something else. */
const TARGET = /^(?:\/[\x21\x22\x24-\x7e]*|\*)$/;

/** What policies change about one request. */
export class RequestEdits extends FieldEdits {
  #target: string | undefined;

  override clear(): void {
    super.clear();
    this.#target = undefined;
  }

  /** Path and query in the place of those that came; undefined: they stay. */
  get target(): string | undefined {
    return this.#target;
  }

  /**
   * The backend is asked for something else.
   *
   * @param target path and query, percent-encoded
   * @throws Error where it is none that a start line can have
   */
  rewrite(target: string): void {
    if (!TARGET.test(target)) throw new Error(`no request target: ${JSON.stringify(target)}`);
    this.#target = target;
  }
}
