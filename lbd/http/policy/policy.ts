import type { Attempts } from '../../dispatch/attempts.ts';
import type { Asker } from '../asker.ts';
import type { BodySink, HttpAnswer, HttpRequest } from '../model.ts';
import type { OwnAnswer } from '../own-answer.ts';

/** Whose request it is, as policies see it. */
export interface PolicyClient {
  readonly asker: Asker;
  readonly requestId: string;
}

/**
 * One thing that lbd does with the requests of a frontend or a route, besides to pass them on. An instance is made when a
 * plan is applied and serves all requests after it, so it keeps nothing of any of them but what makes the next one cheaper.
 * What is not configured has no policy, and costs nothing.
 */
export interface Policy {
  /**
   * The request is here; of a frontend's policies before a route is chosen, of a route's before a backend is.
   *
   * @returns an answer: no backend is asked
   */
  onRequest?(request: HttpRequest, client: PolicyClient): OwnAnswer | undefined;
  /** A backend was chosen, and will get the request as it is after this. */
  onSend?(request: HttpRequest, client: PolicyClient, attempts: Attempts): void;
  /**
   * The client will get an answer as it is after this.
   *
   * @param attempts by which a backend gave it; undefined: it is lbd's own
   */
  onAnswer?(answer: HttpAnswer, client: PolicyClient, attempts: Attempts | undefined): void;
  /**
   * @param out where the body goes: the answer is over once it has taken the end, which may be later than the backend's
   * @param source to be held up where more comes than can be worked on
   * @returns what takes the body in the place of `out`, and gives it what becomes of it; undefined: it goes as it is
   */
  wrapBody?(answer: HttpAnswer, out: BodySink, source: BodySource): WrappedBody | undefined;
  /** As `onRequest`, for `lbctl explain`: counts and remembers nothing. Undefined: `onRequest` does not either. */
  explain?(request: HttpRequest, client: PolicyClient): OwnAnswer | undefined;
}

/** Where a body comes from. */
export interface BodySource {
  /** No more of it, but for what is on its way. */
  pause(): void;
  resume(): void;
}

export interface WrappedBody extends BodySink {
  /** Nobody waits for the body any more: `out` takes nothing from now on. */
  drop(): void;
}

/** Policies by what they take part in, so that a request calls those alone that have something to say. */
export class PolicySet {
  readonly onRequest: readonly (Policy & Required<Pick<Policy, 'onRequest'>>)[];
  readonly onSend: readonly (Policy & Required<Pick<Policy, 'onSend'>>)[];
  readonly onAnswer: readonly (Policy & Required<Pick<Policy, 'onAnswer'>>)[];
  readonly wrapBody: readonly (Policy & Required<Pick<Policy, 'wrapBody'>>)[];

  /** @param policies in the order in which requests meet them */
  constructor(policies: readonly Policy[]) {
    this.onRequest = policies.filter((it) => it.onRequest !== undefined) as typeof this.onRequest;
    this.onSend = policies.filter((it) => it.onSend !== undefined) as typeof this.onSend;
    this.onAnswer = policies.filter((it) => it.onAnswer !== undefined) as typeof this.onAnswer;
    this.wrapBody = policies.filter((it) => it.wrapBody !== undefined) as typeof this.wrapBody;
  }
}
