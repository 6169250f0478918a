import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { connectProxied } from './connect-proxied.ts';
import { type Probe, passed, resultOfError, runBounded } from './probe.ts';

/** Healthy when the TCP handshake succeeds, and that of TLS where the pool has it. No byte of a request is sent. */
export const probeTcp: Probe = (target, signal) =>
  runBounded(target.config.timeoutMs, signal, (settle) => {
    const { host, address, port, config, tls, sendProxy } = target;
    const to = { host: address, port: config.port ?? port };
    let connected = false;
    const socket =
      sendProxy !== undefined
        ? connectProxied(target, sendProxy)
        : tls === undefined
          ? connect(to)
          : connectTls({ ...to, ...tls.optionsFor(host) });
    socket.on('connect', () => {
      connected = true;
      if (tls === undefined) settle(passed('connected'));
    });
    socket.on('secureConnect', () => settle(passed('connected, TLS handshake done')));
    socket.on('error', (error) => settle(resultOfError(error)));
    return {
      stop: () => socket.destroy(),
      stage: () => (connected ? 'in the TLS handshake' : 'while connecting'),
      heard: () => connected,
    };
  });
