import { messageOf } from './errors.ts';
import { closeHttpOnce, createHttpOnce, type HttpAnswer, type HttpRequest } from './http-once.ts';
import { listenUnix } from './unix-socket.ts';

/** Larger than any request that `lbctl` makes, small enough that nobody fills the daemon's memory. */
const MAX_BODY_BYTES = 64 * 1024;
const MAX_CONNECTIONS = 64;
/** Far more than commands and scripts ask, and a tenth of a processor where each answer is the whole status. */
const ANSWERS_PER_SECOND = 200;
const JSON_TYPE = { 'Content-Type': 'application/json' };

export interface ControlRequest {
  /** Decoded values of the `:name` segments. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** Parsed JSON, not yet checked; undefined where there was no body. */
  readonly body: unknown;
}

export interface ControlRoute {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Absolute path; a segment `:name` matches any one segment. */
  readonly path: string;
  /** Its result is the JSON answer (200); undefined is 204. Throw `ControlError` for any other status. */
  handle(request: ControlRequest): unknown | Promise<unknown>;
}

/** A refusal that the caller of the control API should see, with its HTTP status. */
export class ControlError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'ControlError';
    this.status = status;
  }
}

/**
 * Serves HTTP with JSON bodies on a unix socket (mode 0660), see `SOCKETS`. Errors are `{ "error": "one line" }`.
 *
 * @param answersPerSecond more are answered with 429: whoever may use the socket must not keep the daemon from its work
 * @throws OperatorError when the socket is taken or cannot be made
 */
export async function serveControl(
  socketPath: string,
  routes: readonly ControlRoute[],
  answersPerSecond = ANSWERS_PER_SECOND,
): Promise<{ close(): Promise<void> }> {
  const table = routes.map((route) => ({ route, segments: route.path.split('/') }));
  const server = createHttpOnce({
    maxConnections: MAX_CONNECTIONS,
    maxBodyBytes: MAX_BODY_BYTES,
    perSecond: answersPerSecond,
    refuse: (status, text) => refusal(new ControlError(status, text)),
    handle: (request) => answer(table, request).catch(refusal),
  });
  await listenUnix(server, socketPath);
  return { close: () => closeHttpOnce(server) };
}

class MethodError extends ControlError {
  readonly allowed: string;

  constructor(method: string, path: string, allowed: string) {
    super(405, `${path} takes ${allowed}, not ${method}`);
    this.allowed = allowed;
  }
}

interface Entry {
  readonly route: ControlRoute;
  readonly segments: readonly string[];
}

async function answer(table: readonly Entry[], request: HttpRequest): Promise<HttpAnswer> {
  const url = urlOf(request.target);
  const { route, params } = find(table, request.method, url.pathname);
  const body = parseJson(request.body);
  const result = await route.handle({ params, query: url.searchParams, body });
  return result === undefined ? { status: 204 } : jsonAnswer(200, result);
}

function urlOf(target: string): URL {
  const url = target.startsWith('/') ? URL.parse(`http://localhost${target}`) : null;
  if (url === null) throw new ControlError(400, `not a path: ${target}`);
  return url;
}

function find(
  table: readonly Entry[],
  method: string,
  path: string,
): { route: ControlRoute; params: Record<string, string> } {
  const wanted = path.split('/');
  const allowed: string[] = [];
  for (const { route, segments } of table) {
    const params = match(segments, wanted);
    if (params === undefined) continue;
    if (route.method === method) return { route, params };
    allowed.push(route.method);
  }
  if (allowed.length > 0) throw new MethodError(method, path, allowed.join(', '));
  throw new ControlError(404, `no such path: ${path}`);
}

function match(segments: readonly string[], wanted: readonly string[]): Record<string, string> | undefined {
  if (segments.length !== wanted.length) return undefined;
  const params: Record<string, string> = {};
  for (const [i, segment] of segments.entries()) {
    const value = wanted[i]!;
    if (segment.startsWith(':')) params[segment.slice(1)] = decode(value);
    else if (segment !== value) return undefined;
  }
  return params;
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new ControlError(400, `bad percent-encoding in the path: ${segment}`);
  }
}

function parseJson(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new ControlError(400, `the body is not JSON: ${messageOf(error)}`);
  }
}

function refusal(error: unknown): HttpAnswer {
  const { status, body } = jsonAnswer(error instanceof ControlError ? error.status : 500, {
    error: messageOf(error),
  });
  const headers = { ...JSON_TYPE, ...(error instanceof MethodError ? { Allow: error.allowed } : {}) };
  return { status, body, headers };
}

function jsonAnswer(status: number, value: unknown): HttpAnswer & { body: readonly Buffer[] } {
  return { status, headers: JSON_TYPE, body: [Buffer.from(`${JSON.stringify(value)}\n`)] };
}
