import { type ClientRequest, request } from 'node:http';
import { type RequestOptions, request as requestTls } from 'node:https';
import type { Socket } from 'node:net';
import { messageOf } from '../../../common/errors.ts';
import { connectProxied } from './connect-proxied.ts';
import { authorityOf, fieldsOf, judgeAnswer } from './http-verdict.ts';
import { failed, type HealthTarget, type Probe, resultOfError, runBounded } from './probe.ts';

const MAX_HEAD_BYTES = 16 * 1024;

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
      judgeAnswer(response.statusCode ?? 0, response, config, settle);
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

function optionsOf(target: HealthTarget) {
  const { address, port, config } = target;
  const realPort = config.port ?? port;
  return {
    host: address,
    port: realPort,
    method: config.method,
    path: config.path,
    agent: false,
    maxHeaderSize: MAX_HEAD_BYTES,
    headers: {
      host: authorityOf(target),
      ...fieldsOf(config),
      // As a client of the data path asks; else node:http asks for a close.
      connection: 'keep-alive',
    },
  } as const;
}
