import type { ForwardingConfig } from '../../../common/forwarding-config.ts';
import { LOOP } from '../../log/refusal.ts';
import { FIELD, Field, FieldBlock, FieldName } from '../field-names.ts';
import { adds } from '../forwarded-fields.ts';
import type { HttpRequest } from '../model.ts';
import { type OwnAnswer, refusalAnswer } from '../own-answer.ts';
import type { Policy, PolicyClient } from './policy.ts';

const CDN_LOOP = new FieldName('CDN-Loop');

/** Ends requests that come round (RFC 8586). */
export class LoopEndPolicy implements Policy {
  readonly #id: string;

  /** @param id how a frontend calls itself: a token that no other one has */
  constructor(id: string) {
    this.#id = id;
  }

  onRequest(request: HttpRequest, { requestId }: PolicyClient): OwnAnswer | undefined {
    if (!request.has(FIELD.cdnLoop)) return undefined;
    const passed = request.sent(CDN_LOOP.lower)!.split(',');
    const isLoop = passed.some((entry) => entry.split(';', 1)[0]!.trim() === this.#id);
    return isLoop ? refusalAnswer(LOOP, requestId) : undefined;
  }
}

/** Says that a frontend has passed a request on, so that it is known where it comes round. */
export class LoopMarkPolicy implements Policy {
  readonly #field: FieldBlock;
  /** A backend gets a request id from the first turn of a request on. */
  readonly #addsId: boolean;

  /** @param id as of `LoopEndPolicy` */
  constructor(id: string, config: ForwardingConfig) {
    this.#field = new FieldBlock(new Field(CDN_LOOP, id));
    this.#addsId = adds(config, 'X-Request-Id');
  }

  onSend(request: HttpRequest): void {
    // Of a client's own request nobody has to be told; one that has a request id has passed a proxy, maybe this one.
    if (request.has(FIELD.requestId) || !this.#addsId) request.edits.addBlock(this.#field);
  }
}
