import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { failed, type Probe, passed, resultOfError, runBounded } from './probe.ts';

/** A lost datagram is not a dead backend: it is sent again so often within the time-out. */
const TRIES = 3;
const MAX_SHOWN_BYTES = 16;

/** Healthy when it answers the configured datagram, with the configured bytes where there are some. */
export const probeUdp: Probe = ({ address, port, config }, signal) =>
  runBounded(config.timeoutMs, signal, (settle) => {
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
    const question = Buffer.from(config.send, 'latin1');
    let stage = 'while connecting';
    let again: NodeJS.Timeout | undefined;
    let open = true;
    socket.on('connect', () => {
      stage = 'without an answer';
      const ask = () => socket.send(question);
      ask();
      again = setInterval(ask, config.timeoutMs / TRIES);
    });
    socket.on('message', (answer) => {
      const fits = answer.includes(Buffer.from(config.receive, 'latin1'));
      settle(
        fits
          ? passed(`answered with ${answer.length} bytes`)
          : failed(
              `its answer (${answer.length} bytes, ${answer.toString('hex', 0, MAX_SHOWN_BYTES)}…) does not contain what is expected`,
            ),
      );
    });
    socket.on('error', (error) => settle(resultOfError(error)));
    socket.connect(config.port ?? port, address);
    return {
      stop: () => {
        clearInterval(again);
        if (open) socket.close();
        open = false;
      },
      stage: () => stage,
      heard: () => false,
    };
  });
