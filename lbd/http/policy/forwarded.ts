import type { ForwardingConfig } from '../../../common/forwarding-config.ts';
import type { FieldEdits } from '../edits.ts';
import { FIELD, Field, FieldBlock, FieldName } from '../field-names.ts';
import { adds, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO } from '../forwarded-fields.ts';
import type { HttpRequest } from '../model.ts';
import type { Policy, PolicyClient } from './policy.ts';

const FORWARDED = new FieldName('Forwarded');

/** Tells backends who asked (`X-Forwarded-…`), and takes out what a client says of that itself. */
export class ForwardedPolicy implements Policy {
  readonly #addsFor: boolean;
  readonly #addsHost: boolean;
  /** The host of the last request, and of the last one that came twice in a row, with its field. */
  #host = '';
  #usualHost = '';
  #usual = new FieldBlock();

  constructor(config: ForwardingConfig) {
    this.#addsFor = adds(config, 'X-Forwarded-For');
    this.#addsHost = adds(config, 'X-Forwarded-Host');
  }

  onRequest(request: HttpRequest, { asker }: PolicyClient): undefined {
    const { edits } = request;
    const { believed, fields } = asker;
    const chained = believed === 'x-forwarded';
    if (this.#addsFor || !chained) edits.remove(FORWARDED_FOR);
    if (!chained) {
      edits.remove(FORWARDED_PROTO);
      edits.remove(FORWARDED_HOST);
    }
    if (believed !== 'forwarded') edits.remove(FORWARDED);
    edits.addBlock(fields);
    if (!this.#addsHost || (chained && request.has(FIELD.forwardedHost))) return;
    const { authority } = request;
    if (authority !== '') this.#addHost(edits, authority);
  }

  /** Most requests of a frontend are for one host: a field that is written already costs less. */
  #addHost(edits: FieldEdits, host: string): void {
    if (host !== this.#usualHost) {
      if (host !== this.#host) {
        this.#host = host;
        edits.add(FORWARDED_HOST, host);
        return;
      }
      this.#usualHost = host;
      this.#usual = new FieldBlock(new Field(FORWARDED_HOST, host));
    }
    edits.addBlock(this.#usual);
  }
}
