import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { messageOf } from './errors.ts';
import { listenUnix } from './unix-socket.ts';

/** Larger than any request that `lbctl` makes, small enough that nobody fills the daemon's memory. */
const MAX_BODY_BYTES = 64 * 1024;
/** A client on the same machine that needs longer has hung. */
const REQUEST_TIMEOUT_MS = 10_000;

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
 * @throws OperatorError when the socket is taken or cannot be made
 */
export async function serveControl(
  socketPath: string,
  routes: readonly ControlRoute[],
): Promise<{ close(): Promise<void> }> {
  const table = routes.map((route) => ({ route, segments: route.path.split('/') }));
  const server = createServer({ maxHeaderSize: 8192, requestTimeout: REQUEST_TIMEOUT_MS }, (req, res) => {
    answer(table, req, res).catch((error: unknown) => {
      const status = error instanceof ControlError ? error.status : 500;
      if (error instanceof MethodError) res.setHeader('Allow', error.allowed);
      // What is left of an oversized body is not read, so the connection cannot be used again.
      if (!req.complete) res.setHeader('Connection', 'close');
      send(res, status, { error: messageOf(error) });
    });
  });
  await listenUnix(server, socketPath);
  return {
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
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

async function answer(table: readonly Entry[], req: IncomingMessage, res: ServerResponse): Promise<void> {
  const url = targetOf(req);
  const { route, params } = find(table, req.method ?? '', url.pathname);
  const body = await readJson(req);
  const result = await route.handle({ params, query: url.searchParams, body });
  if (result === undefined) res.writeHead(204).end();
  else send(res, 200, result);
}

function targetOf(req: IncomingMessage): URL {
  const target = req.url ?? '/';
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

async function readJson(req: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // The socket must outlive a refusal, or its answer would never arrive.
  for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new ControlError(413, `the body may have ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  if (bytes === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (error) {
    throw new ControlError(400, `the body is not JSON: ${messageOf(error)}`);
  }
}

function send(res: ServerResponse, status: number, value: unknown): void {
  if (res.headersSent || res.destroyed) return;
  const text = `${JSON.stringify(value)}\n`;
  res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
  res.end(text);
}
