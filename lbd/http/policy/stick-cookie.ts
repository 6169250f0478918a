import type { Attempts } from '../../dispatch/attempts.ts';
import type { Pool } from '../../dispatch/pool.ts';
import { withoutCookie } from '../../route/router.ts';
import { FIELD, FieldName } from '../field-names.ts';
import type { HttpAnswer, HttpRequest } from '../model.ts';
import type { Policy, PolicyClient } from './policy.ts';

const COOKIE = new FieldName('Cookie');
const SET_COOKIE = new FieldName('Set-Cookie');

/** Has a client keep which backend it has, and keeps this cookie from the backends where it is lbd's own. */
export class StickCookiePolicy implements Policy {
  readonly #pool: Pool;

  /** @param pool that inserts a cookie */
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  onSend(request: HttpRequest): void {
    const { ownCookie } = this.#pool;
    if (ownCookie === '' || !request.has(FIELD.cookie)) return;
    const sent = request.header(COOKIE.lower) ?? '';
    const kept = withoutCookie(sent, ownCookie);
    if (kept === sent) return;
    if (kept === '' || request.endsHere(COOKIE.lower)) request.edits.remove(COOKIE);
    else request.edits.set(COOKIE, kept);
  }

  onAnswer({ edits }: HttpAnswer, { asker }: PolicyClient, attempts: Attempts | undefined): void {
    if (attempts?.needsCookie === true)
      edits.add(SET_COOKIE, this.#pool.cookieText(attempts.index, asker.scheme));
  }
}
