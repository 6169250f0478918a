import type { HttpRequest } from '../model.ts';
import type { Policy, PolicyClient } from './policy.ts';

/** Tells backends whose certificate a client has shown, in fields that no client may send. */
export class IdentityPolicy implements Policy {
  readonly #reserved: ReadonlySet<string>;

  /** @param reserved see `reservedFields` */
  constructor(reserved: ReadonlySet<string>) {
    this.#reserved = reserved;
  }

  onRequest({ edits }: HttpRequest, { asker }: PolicyClient): undefined {
    edits.reserve(this.#reserved);
    if (asker.identity !== undefined) edits.addBlock(asker.identity);
  }
}
