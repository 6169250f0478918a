import type { BodySink, HttpAnswer } from './model.ts';
import type { BodySource, PolicySet, WrappedBody } from './policy/policy.ts';

/** What policies have put between the body of an answer and its client. */
export class BodyChain implements BodySink {
  #outermost: BodySink;
  #wrapped: readonly WrappedBody[] = [];
  /** The end has left, or nobody waits for it. */
  #over = false;

  /** @param client takes what becomes of the body */
  constructor(client: BodySink) {
    // What is late for one answer must not come into the next one.
    this.#outermost = {
      body: (buffer, start, length, ended, trailers) => {
        if (this.#over) return;
        this.#over = ended;
        client.body(buffer, start, length, ended, trailers);
      },
    };
  }

  /** @returns whether a policy wants the body */
  wrap({ wrapBody }: PolicySet, answer: HttpAnswer, source: BodySource): boolean {
    const own: BodySource = {
      pause: () => {
        if (!this.#over) source.pause();
      },
      resume: () => {
        if (!this.#over) source.resume();
      },
    };
    for (const policy of wrapBody) {
      const wrapped = policy.wrapBody(answer, this.#outermost, own);
      if (wrapped === undefined) continue;
      this.#outermost = wrapped;
      this.#wrapped = [...this.#wrapped, wrapped];
    }
    return this.#wrapped.length > 0;
  }

  body(buffer: Buffer, start: number, length: number, ended: boolean, trailers: string): void {
    this.#outermost.body(buffer, start, length, ended, trailers);
  }

  /** The answer is over, or nobody waits for it. */
  drop(): void {
    this.#over = true;
    for (const wrapped of this.#wrapped) wrapped.drop();
    this.#wrapped = [];
  }
}
