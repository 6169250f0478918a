import {
  type AddressInfo,
  createServer as createTcpServer,
  type Server,
  type Socket,
  type TcpNetConnectOpts,
} from 'node:net';
import { type ConnectionOptions, connect, createServer, type TLSSocket } from 'node:tls';
import { messageOf, OperatorError } from '../../common/errors.ts';
import { Turnstile } from '../../common/turnstile.ts';
import { Doorkeeper } from './doorkeeper.ts';
import type { KeyRing, SyncPurpose, TlsEnds } from './key-ring.ts';
import { monotonicMs } from './memory.ts';

/**
 * TLS-PSK works in Node with TLS 1.2 only. This suite has forward secrecy, so that a secret that leaks later
 * does not open recorded traffic. RFC 7905.
 */
const SECURE = {
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.2',
  ciphers: 'ECDHE-PSK-CHACHA20-POLY1305',
} as const;
const HANDSHAKE_MS = 3000;
/** A new attempt comes through sooner than TCP's next one. */
const SHORT_HANDSHAKE_MS = 1000;
/** Connections of others than the peer that are accepted, to be refused and named. */
const STRANGERS = { perSecond: 50, burst: 50 } as const;

export interface SyncListener {
  readonly port: number;
  close(): Promise<void>;
}

export interface ListenEvents {
  /** The peer is through the handshake. */
  onSocket(socket: TLSSocket, purpose: SyncPurpose): void;
  /** Somebody is not, and why. `stranger`: their address, where it is not the peer's. */
  onRefused(cause: string, stranger: string | undefined): void;
  /** So many strangers come that the kernel drops most of them; or why it does not. */
  onCrowded(trouble: string | undefined): void;
}

/**
 * Listens for the peer. Only a peer with the same key and the expected names gets through the handshake; how many may
 * try, the doorkeeper says.
 *
 * @param peerAddress from which the peer dials
 * @throws OperatorError where the address cannot be bound
 */
export async function listenTls(
  ends: TlsEnds,
  ring: KeyRing,
  host: string,
  port: number,
  peerAddress: string,
  events: ListenEvents,
): Promise<SyncListener> {
  const named = new WeakMap<TLSSocket, SyncPurpose>();
  const door = new Doorkeeper(peerAddress);
  const refuse = (cause: string, address: string | undefined) =>
    events.onRefused(cause, door.knows(address) ? undefined : (address ?? 'an unknown address'));
  const tls = createServer(
    {
      ...SECURE,
      handshakeTimeout: HANDSHAKE_MS,
      pskIdentityHint: 'tandem',
      pskCallback: (socket, id) => {
        const called = ring.called(id);
        if (called === undefined) return null;
        named.set(socket, called.purpose);
        return called.key;
      },
    },
    (socket) => {
      handshakes.get(endOf(socket))?.();
      events.onSocket(socket, named.get(socket)!);
    },
  );
  /** Ends what is counted as under way, by the remote end: the TLS socket is another object than the accepted one. */
  const handshakes = new Map<string, () => void>();
  const server = createTcpServer((socket) => {
    const { remoteAddress: address } = socket;
    socket.on('error', () => {});
    if (!door.admit(address, monotonicMs())) {
      refuse('too many handshakes', address);
      socket.resetAndDestroy();
      return;
    }
    const end = endOf(socket);
    const ended = () => {
      if (handshakes.delete(end)) door.done(address);
    };
    handshakes.set(end, ended);
    socket.once('close', ended);
    tls.emit('connection', socket);
  });
  tls.on('tlsClientError', (error, socket) => {
    refuse(tlsCause(error, ends.dialer), socket.remoteAddress);
    socket.destroy();
  });
  await bind(server, host, port);
  new Turnstile(server, {
    ...STRANGERS,
    exempt: peerAddress,
    onNarrow: (trouble) => events.onCrowded(trouble),
  });
  server.on('error', (error) => events.onRefused(messageOf(error), undefined));
  return {
    port: (server.address() as AddressInfo).port,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** Dials the peer. The socket emits `secureConnect`, or `error` and `close`. */
export function dialTls(
  ring: KeyRing,
  host: string,
  port: number,
  localAddress: string,
  purpose: SyncPurpose = 'sessions',
): TLSSocket {
  const call = ring.nextCall(purpose);
  const options: ConnectionOptions & Pick<TcpNetConnectOpts, 'localAddress'> = {
    ...SECURE,
    host,
    port,
    // Never from the VIP: it may move away under the link.
    localAddress,
    pskCallback: () => ({ identity: call.identity, psk: call.key }),
    // There is no certificate to check: the key is the identity.
    checkServerIdentity: () => undefined,
  };
  const socket = connect(options);
  const patienceMs = purpose === 'heartbeats' ? SHORT_HANDSHAKE_MS : HANDSHAKE_MS;
  const timer = setTimeout(() => socket.destroy(new Error('no answer')), patienceMs);
  socket.once('secureConnect', () => {
    clearTimeout(timer);
    call.worked();
  });
  socket.once('close', () => clearTimeout(timer));
  return socket;
}

/** What a failed connection means, in words for an operator. */
export function tlsCause(error: NodeJS.ErrnoException, peer: string): string {
  const code = error.code ?? '';
  if (/PSK_IDENTITY|UNKNOWN_PSK/.test(code))
    return `refused: cluster or node names differ between this node and ${peer}`;
  if (/BAD_RECORD_MAC|DECRYPT|DIGEST_CHECK/.test(code)) return `refused: ${peer} has another secret`;
  if (code === 'ECONNREFUSED') return `${peer} does not listen for session sync: is its lbd running?`;
  if (/WRONG_VERSION|UNSUPPORTED_PROTOCOL|HTTP_REQUEST|NO_SHARED_CIPHER/.test(code))
    return `refused: a stranger that does not speak session sync (${code})`;
  return `no link to ${peer}: ${messageOf(error)}`;
}

function endOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

function bind(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason =
        error.code === 'EADDRINUSE'
          ? 'another process has that port; change sync.port on both nodes or stop it'
          : error.code === 'EADDRNOTAVAIL'
            ? 'this host does not have that address; check cluster.nodes'
            : messageOf(error);
      reject(
        new OperatorError('SYNC_BIND', `session sync cannot listen on ${host} port ${port}: ${reason}`, {
          cause: error,
        }),
      );
    });
    server.listen({ host, port }, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}
