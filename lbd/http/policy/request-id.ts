import { FieldName } from '../field-names.ts';
import type { HttpRequest } from '../model.ts';
import type { Policy, PolicyClient } from './policy.ts';

const REQUEST_ID = new FieldName('X-Request-Id');

/** Tells backends under which id the logs of lbd know a request. */
export class RequestIdPolicy implements Policy {
  onSend({ edits }: HttpRequest, { requestId }: PolicyClient): void {
    edits.set(REQUEST_ID, requestId);
  }
}
