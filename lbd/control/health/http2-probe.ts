import { type ClientHttp2Session, connect } from 'node:http2';
import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { messageOf } from '../../../common/errors.ts';
import { authorityOf, fieldsOf, judgeAnswer } from './http-verdict.ts';
import { failed, type HealthTarget, type Probe, resultOfError, runBounded } from './probe.ts';

/** As `probeHttp`, by HTTP/2: with TLS by ALPN, else by prior knowledge (RFC 9113 §3.3). */
export const probeHttp2: Probe = (target, signal) =>
  runBounded(target.config.timeoutMs, signal, (settle) => {
    const { config } = target;
    let [stage, connected] = ['while connecting', false];
    const fail = (error: NodeJS.ErrnoException) => {
      const isForeign = error.code?.startsWith('ERR_HTTP2') === true;
      settle(
        isForeign ? failed(`does not speak HTTP/2: ${messageOf(error)}`.slice(0, 200)) : resultOfError(error),
      );
    };
    const socket = open(target);
    socket.once(target.tls === undefined ? 'connect' : 'secureConnect', () => {
      [stage, connected] = ['while waiting for the answer', true];
      if ('alpnProtocol' in socket && socket.alpnProtocol !== 'h2')
        settle(failed('does not choose HTTP/2 by ALPN'));
    });
    let session: ClientHttp2Session | undefined;
    const stop = () => {
      session?.destroy();
      socket.destroy();
    };
    try {
      session = connect(`${target.tls === undefined ? 'http' : 'https'}://${authorityOf(target)}`, {
        createConnection: () => socket,
        settings: { enablePush: false },
      });
      session.on('error', fail);
      session.on('close', () => settle(failed('the connection ended without an answer')));
      const stream = session.request({
        ':method': config.method,
        ':path': config.path,
        ...fieldsOf(config),
      });
      stream.on('error', fail);
      stream.on('response', (fields) => {
        stage = 'while reading the body';
        judgeAnswer(Number(fields[':status']), stream, config, settle);
      });
      stream.end();
    } catch (error) {
      settle(failed(`cannot be asked: ${messageOf(error)}`));
    }
    return { stop, stage: () => stage, heard: () => connected };
  });

function open({ address, port, host, config, tls }: HealthTarget): Socket {
  const to = { host: address, port: config.port ?? port };
  return tls === undefined
    ? connectPlain(to)
    : connectTls({ ...to, ...tls.optionsFor(host), ALPNProtocols: ['h2'] });
}
