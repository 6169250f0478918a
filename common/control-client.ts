import { readFileSync, type Stats, statSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { dirname } from 'node:path';
import { messageOf, OperatorError } from './errors.ts';
import { printable } from './printable.ts';
import { daemonOf } from './unix-socket.ts';

/** Room for the longest list of sessions; what is longer is not an answer of ours. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/**
 * Sends one request to a daemon's control socket and returns its answer.
 *
 * @param path absolute, with percent-encoded segments
 * @param body sent as JSON; undefined: none
 * @param timeoutMs for the whole exchange
 * @throws OperatorError `NOT_RUNNING`, `NOT_ALLOWED`, `TIMEOUT`, `REFUSED` (the daemon's own words) or `CONTROL`
 */
export async function control<T>(
  socketPath: string,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
  timeoutMs = 2000,
): Promise<T> {
  const daemon = daemonOf(socketPath);
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const { status, text } = await exchange(socketPath, method, path, body, signal);
    return answerOf<T>(daemon, status, text);
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    if (signal.aborted) throw new OperatorError('TIMEOUT', `${daemon} did not answer within ${timeoutMs} ms`);
    throw unreachable(daemon, socketPath, error);
  }
}

async function exchange(
  socketPath: string,
  method: string,
  path: string,
  body: unknown,
  signal: AbortSignal,
): Promise<{ status: number; text: string }> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const headers =
    payload === undefined
      ? {}
      : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(payload) };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request({ socketPath, method, path, headers, signal, agent: false }, resolve)
      .on('error', reject)
      .end(payload);
  });
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`its answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') };
}

function answerOf<T>(daemon: string, status: number, text: string): T {
  let answer: unknown;
  try {
    answer = text === '' ? undefined : JSON.parse(text);
  } catch {
    throw new OperatorError('CONTROL', `${daemon} answered ${status} with something that is not JSON`);
  }
  if (status >= 200 && status <= 299) return answer as T;
  const said = (answer as { error?: unknown } | null | undefined)?.error;
  throw new OperatorError(
    'REFUSED',
    typeof said === 'string' ? said : `${daemon} answered with status ${status}`,
  );
}

function unreachable(daemon: string, socketPath: string, error: unknown): OperatorError {
  const cause = { cause: error };
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return new OperatorError('NOT_RUNNING', `${daemon} is not running (no socket at ${socketPath})`, cause);
    case 'ECONNREFUSED':
      return new OperatorError(
        'NOT_RUNNING',
        `${daemon} is not running (nobody listens at ${socketPath})`,
        cause,
      );
    case 'EACCES':
      return new OperatorError('NOT_ALLOWED', `no permission for ${socketPath}${whoMay(socketPath)}`, cause);
    case 'ECONNRESET':
    case 'EPIPE':
      return new OperatorError('NOT_RUNNING', `${daemon} closed the connection without an answer`, cause);
    default:
      return new OperatorError(
        'CONTROL',
        `cannot talk to ${daemon} at ${socketPath}: ${messageOf(error)}`,
        cause,
      );
  }
}

/** @returns undefined where the file, which all Linux systems have, does not know the id */
function nameOf(file: string, id: number): string | undefined {
  try {
    const line = readFileSync(file, 'utf8')
      .split('\n')
      .find((text) => text.split(':')[2] === String(id));
    return line === undefined ? undefined : printable(line.split(':')[0]!);
  } catch {
    return undefined;
  }
}

function nearestSeen(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES' || dirname(path) === path) throw error;
    return nearestSeen(dirname(path));
  }
}

/** Of the folder that refuses: who may not enter it cannot look at what is in it. A socket has the group of its folder. */
function whoMay(socketPath: string): string {
  try {
    const { uid, gid } = nearestSeen(dirname(socketPath));
    const group = nameOf('/etc/group', gid);
    const others = [
      ...(uid === 0 ? [] : [`user ${nameOf('/etc/passwd', uid) ?? `id ${uid}`}`]),
      ...(gid === 0 ? [] : [`members of group ${group ?? `id ${gid}`}`]),
    ];
    const last = others.pop();
    const who = ['root', ...others].join(', ') + (last === undefined ? '' : ` and ${last}`);
    // Where root runs a daemon by hand the group is root's, and nobody should join that.
    const advice =
      gid === 0 || group === undefined ? '' : ` (sudo usermod -aG ${group} NAME, and log in again)`;
    return `: ${who} may use it${advice}`;
  } catch {
    return '';
  }
}
