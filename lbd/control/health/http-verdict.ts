import { isIPv6 } from 'node:net';
import type { Readable } from 'node:stream';
import type { HealthConfig } from '../../../common/model.ts';
import { judgeDeepBody } from './deep-body.ts';
import { failed, type HealthTarget, type ProbeResult, passed } from './probe.ts';

/** A report of the health of one service; more is no report. */
const MAX_BODY_BYTES = 64 * 1024;

/** Whom a check asks for. */
export function authorityOf({ host, port, config }: HealthTarget): string {
  return config.host ?? `${isIPv6(host) ? `[${host}]` : host}:${config.port ?? port}`;
}

/** What a check says of itself, whatever the version. */
export function fieldsOf({ type }: HealthConfig) {
  return {
    'user-agent': 'tandem-health',
    accept: type === 'deep' ? 'application/health+json, application/json' : '*/*',
  } as const;
}

/**
 * What the answer to a check means.
 *
 * @param response its body
 */
export function judgeAnswer(
  status: number,
  response: Readable,
  config: HealthConfig,
  settle: (result: ProbeResult) => void,
): void {
  if (config.drain !== undefined && isOneOf(status, config.drain)) {
    settle({ outcome: 'drain', detail: `status ${status}, asks to be drained`, failingChecks: [] });
    return;
  }
  const expected = isOneOf(status, config.expect);
  if (config.type !== 'deep') {
    settle(expected ? passed(`status ${status}`) : failed(unexpected(status, config)));
    return;
  }
  readBody(response, (body) => {
    if (typeof body !== 'string')
      return settle(expected ? body : failed(`${unexpected(status, config)}; ${body.detail}`));
    const { ok, detail, failingChecks } = judgeDeepBody(body);
    if (!expected) settle(failed(`${unexpected(status, config)}; ${detail}`, failingChecks));
    else settle((ok ? passed : failed)(`status ${status}, ${detail}`, failingChecks));
  });
}

/** Calls back once, with the body or with the reason why there is none. */
function readBody(response: Readable, done: (body: string | ProbeResult) => void): void {
  const chunks: Buffer[] = [];
  let length = 0;
  let finished = false;
  const finish = (body: string | ProbeResult) => {
    if (finished) return;
    finished = true;
    done(body);
  };
  response.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) finish(failed(`the body has more than ${MAX_BODY_BYTES / 1024} KiB`));
    else chunks.push(chunk);
  });
  response.on('end', () =>
    finish(
      Buffer.concat(chunks)
        .toString('utf8')
        .replace(/^\uFEFF/, ''),
    ),
  );
  response.on('error', () => finish(failed('the connection broke within the body')));
  response.on('close', () => finish(failed('the connection broke within the body')));
}

function isOneOf(status: number, ranges: HealthConfig['expect']): boolean {
  return ranges.some(([low, high]) => status >= low && status <= high);
}

function unexpected(status: number, config: HealthConfig): string {
  const ranges = config.expect.map(([low, high]) => (low === high ? `${low}` : `${low}–${high}`));
  return `status ${status}, expected ${ranges.join(', ')}`;
}
