import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { type RequestOptions, request as requestTls } from 'node:https';
import { isIPv6, type Socket } from 'node:net';
import { messageOf } from '../../../common/errors.ts';
import type { HealthConfig } from '../../../common/model.ts';
import { connectProxied } from './connect-proxied.ts';
import { judgeDeepBody } from './deep-body.ts';
import {
  failed,
  type HealthTarget,
  type Probe,
  type ProbeResult,
  passed,
  resultOfError,
  runBounded,
} from './probe.ts';

const MAX_HEAD_BYTES = 16 * 1024;
/** A report of the health of one service; more is no report. */
const MAX_BODY_BYTES = 64 * 1024;

/**
 * One request on a connection of its own. `http` looks at the status, `deep` also at the body, see
 * `judgeDeepBody`. A status of `drain_status` asks to be drained; without that key none does: servers add fields such as
 * `Connection: close` to a 503 of their own accord.
 */
export const probeHttp: Probe = (target, signal) =>
  runBounded(target.config.timeoutMs, signal, (settle) => {
    const { config } = target;
    let [stage, connected] = ['while connecting', false];
    let answered = false;
    let outgoing: ClientRequest | undefined;
    let connection: Socket | undefined;
    try {
      const { sendProxy } = target;
      if (sendProxy !== undefined)
        outgoing = request({
          ...optionsOf(target),
          // Node asks for the connection only where there is no agent.
          agent: undefined,
          createConnection: () => connectProxied(target, sendProxy),
        });
      else
        outgoing =
          target.tls === undefined ? request(optionsOf(target)) : requestTls(secureOptionsOf(target));
    } catch (error) {
      settle(failed(`cannot be asked: ${messageOf(error)}`));
      return { stop: () => {}, stage: () => stage, heard: () => false };
    }
    outgoing.on('socket', (socket) => {
      connection = socket;
      socket.on('connect', () => {
        [stage, connected] = ['while waiting for the answer', true];
      });
    });
    outgoing.on('response', (response) => {
      answered = true;
      stage = 'while reading the body';
      judge(response, config, settle);
    });
    outgoing.on('error', (error) => settle(resultOfError(error)));
    // Whatever ends without an answer or an error, such as 101 Switching Protocols.
    outgoing.on('close', () => {
      if (!answered) settle(failed('the connection ended without an answer'));
    });
    outgoing.end();
    const stop = () => {
      outgoing.destroy();
      // A request that is answered to the end lets go of a connection that was made for it, and leaves it open.
      connection?.destroy();
    };
    return { stop, stage: () => stage, heard: () => connected };
  });

function secureOptionsOf(target: HealthTarget): RequestOptions {
  const options = target.tls!.optionsFor(target.host);
  // Else node:https takes the Host field for the name of the server.
  return { ...optionsOf(target), ...options, servername: options.servername ?? '' };
}

function optionsOf({ host, address, port, config }: HealthTarget) {
  const realPort = config.port ?? port;
  return {
    host: address,
    port: realPort,
    method: config.method,
    path: config.path,
    agent: false,
    maxHeaderSize: MAX_HEAD_BYTES,
    headers: {
      host: config.host ?? `${isIPv6(host) ? `[${host}]` : host}:${realPort}`,
      'user-agent': 'tandem-health',
      accept: config.type === 'deep' ? 'application/health+json, application/json' : '*/*',
      // As a client of the data path asks; else node:http asks for a close.
      connection: 'keep-alive',
    },
  } as const;
}

function judge(response: IncomingMessage, config: HealthConfig, settle: (result: ProbeResult) => void): void {
  const status = response.statusCode ?? 0;
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
function readBody(response: IncomingMessage, done: (body: string | ProbeResult) => void): void {
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
