import type { ForwardingConfig } from '../../../common/forwarding-config.ts';
import { FIELD, FieldName } from '../field-names.ts';
import { adds, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO } from '../forwarded-fields.ts';
import type { HttpRequest } from '../model.ts';
import type { Policy, PolicyClient } from './policy.ts';

const FORWARDED = new FieldName('Forwarded');

/** Tells backends who asked (`X-Forwarded-…`), and takes out what a client says of that itself. */
export class ForwardedPolicy implements Policy {
  readonly #addsFor: boolean;
  readonly #addsHost: boolean;

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
    if (authority !== '') edits.add(FORWARDED_HOST, authority);
  }
}
