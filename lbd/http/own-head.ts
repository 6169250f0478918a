import { FieldEdits } from './edits.ts';
import { FIELD, type Field } from './field-names.ts';
import type { FieldSink, HttpAnswer } from './model.ts';
import { NO_BYTES } from './no-bytes.ts';
import type { OwnAnswer } from './own-answer.ts';

/** An answer of lbd's own as policies and codecs see it. One instance serves a thread: it is valid only during the call. */
export class OwnHead implements HttpAnswer {
  status = 0;
  readonly edits = new FieldEdits();
  #fields: readonly Field[] = [];
  #body: Buffer = NO_BYTES;

  /** @param toHead the request was HEAD: the fields tell of a body that does not leave */
  begin({ status, fields, body }: OwnAnswer, toHead: boolean): this {
    this.status = status;
    this.#fields = fields;
    this.#body = toHead || body === '' ? NO_BYTES : Buffer.from(body, 'latin1');
    this.edits.clear();
    return this;
  }

  get length(): number {
    return this.#body.length;
  }

  /** All of it. */
  get body(): Buffer {
    return this.#body;
  }

  has(id: number): boolean {
    return id !== FIELD.other && this.#fields.some(({ name }) => name.id === id);
  }

  header(name: string): string | undefined {
    return this.edits.over(name, this);
  }

  sent(name: string): string | undefined {
    const values = this.#fields.filter((field) => field.name.lower === name).map(({ value }) => value);
    return values.length === 0 ? undefined : values.join(', ');
  }

  cookie(): undefined {
    return undefined;
  }

  fields(out: FieldSink): void {
    for (const { name, value } of this.#fields)
      if (!this.edits.removes(name.lower, name.id)) out.added(name, value);
    this.edits.addTo(out);
  }
}

/** Of this thread. */
export const ownHead = new OwnHead();
