import type { AnswerFacts, LoggedRequest } from '../route/facts.ts';
import type { FieldEdits } from './edits.ts';
import type { FieldName } from './field-names.ts';
import type { Message } from './message.ts';
import type { RequestEdits } from './request-edits.ts';

/** Length of a body that nobody knows before its end. */
export const UNKNOWN = -1;

/** A request as the exchange and its policies see it, whatever codec has read it. It is valid only during the call that brings it. */
export interface HttpRequest extends LoggedRequest {
  /** What the client speaks, or a trusted proxy says of it. */
  readonly scheme: 'http' | 'https';
  /** Host and port as received; empty where there is none. */
  readonly authority: string;
  /** Bytes of its body; 0: it has none; `UNKNOWN`. */
  readonly length: number;
  /** RFC 9110 §9.2.2: it may be sent again when nobody can tell whether it was carried out. */
  readonly idempotent: boolean;
  /** It asks to switch protocols, and may (RFC 9110 §7.8). */
  readonly upgrade: boolean;
  /** The client's own request id, where it sent a usable one. */
  readonly requestId: string | undefined;
  /** What its backend gets besides what came. `header`, `path` and `query` tell of both. */
  readonly edits: RequestEdits;
  /** Whether such a field came. @param id of `FIELD`, not `other` */
  has(id: number): boolean;
  /** As `header`, but as it came. */
  sent(name: string): string | undefined;
  /** The client has said that such a field ends here (RFC 9110 §7.6.1). @param name lower case */
  endsHere(name: string): boolean;
  /**
   * The head as a backend gets it, in the form that `RequestTransit` keeps: fields of this hop taken out (RFC 9110
   * §7.6.1), framing said anew, `edits` laid over.
   *
   * @param out takes it, and nothing else
   * @param host where the client has named none
   */
  render(out: Message, host: string): void;
}

/** An answer as the exchange and its policies see it. As with a request, it is valid only during the call. */
export interface HttpAnswer extends AnswerFacts {
  readonly status: number;
  /** Bytes of its body; 0: it has none; `UNKNOWN`. */
  readonly length: number;
  /** What the client gets besides what came. */
  readonly edits: FieldEdits;
  /** Whether such a field came. @param id of `FIELD`, not `other` */
  has(id: number): boolean;
  /** As the client gets it. @param name lower case. Repeated fields joined by `, ` */
  header(name: string): string | undefined;
  /** As `header`, but as it came. */
  sent(name: string): string | undefined;
  /**
   * Hands on its fields one by one, as its client gets them: fields of its hop taken out, `edits` laid over.
   *
   * @param trailed its trailers reach the client, and so are announced
   */
  fields(out: FieldSink, trailed: boolean): void;
}

/** Takes the fields of a message. */
export interface FieldSink {
  /**
   * One that came.
   *
   * @param buffer valid during the call; the name in any case
   * @param id of `FIELD`
   */
  came(
    buffer: Buffer,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
    id: number,
  ): void;
  /** One that was added. */
  added(name: FieldName, value: string): void;
}

/** Takes the body of a message, piece by piece. */
export interface BodySink {
  /**
   * @param buffer valid during the call
   * @param length may be 0
   * @param ended nothing comes behind it
   * @param trailers each with its CRLF; empty before the end
   */
  body(buffer: Buffer, start: number, length: number, ended: boolean, trailers: string): void;
}
