import { connect } from 'node:net';
import { type Probe, passed, resultOfError, runBounded } from './probe.ts';

/** Healthy when the TCP handshake succeeds. No byte is sent. */
export const probeTcp: Probe = ({ host, port, config }, signal) =>
  runBounded(config.timeoutMs, signal, (settle) => {
    const socket = connect({ host, port: config.port ?? port });
    socket.on('connect', () => settle(passed('connected')));
    socket.on('error', (error) => settle(resultOfError(error, host)));
    return { stop: () => socket.destroy(), stage: () => 'while connecting' };
  });
