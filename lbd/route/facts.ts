/** A request as routes, pools and the access log see it, whatever codec has read it. */
export interface RequestFacts {
  /** As received; methods are case-sensitive (RFC 9110 §9.1). */
  readonly method: string;
  /** Lower case, without port; empty where there is none. */
  readonly host: string;
  /** As received, without query. */
  readonly path: string;
  /** `matchedPath` would leave the path as it is; undefined: not known. */
  readonly plainPath?: boolean;
  /** Without the `?`; may be empty. */
  readonly query: string;
  /** @param name lower case. Repeated fields joined by `, `, those of `cookie` by `; ` (RFC 9113 §8.2.3). */
  header(name: string): string | undefined;
}

/** What the access log says of a request besides. */
export interface LoggedRequest extends RequestFacts {
  /** As received, with its query. */
  readonly target: string;
  /** As a start line names it, such as `HTTP/1.1`. */
  readonly protocol: string;
}

/** An answer as pools see it, whatever codec has read it. */
export interface AnswerFacts {
  /** Value of a cookie that it sets; undefined: it does not. */
  cookie(name: string): string | undefined;
}
