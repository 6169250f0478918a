import { Field, FieldBlock, FieldName } from '../field-names.ts';
import type { HttpAnswer } from '../model.ts';
import type { Policy } from './policy.ts';

const STRICT_TRANSPORT_SECURITY = new FieldName('Strict-Transport-Security');

/** Has browsers come by https alone (RFC 6797). */
export class HstsPolicy implements Policy {
  readonly #field: FieldBlock;

  constructor(value: string) {
    this.#field = new FieldBlock(new Field(STRICT_TRANSPORT_SECURITY, value));
  }

  onAnswer({ status, edits }: HttpAnswer): void {
    if (status !== 101) edits.addBlock(this.#field);
  }
}
