import type { NodeName } from '../hosts.ts';

/**
 * What datagrams are made of. `question` is one of a lease, for a witness; `refusal` is no datagram, but what a host says when
 * nobody listens at the port: that of `forgedSource`, to the one that sends from `port`.
 */
export type Content =
  | 'noise'
  | 'oversize'
  | 'truncated'
  | 'future version'
  | 'another cluster'
  | 'a third node'
  | 'another secret'
  | 'forged'
  | 'altered'
  | 'replayed'
  | 'question'
  | 'refusal';

interface Bounds {
  /** Datagrams or connections a second, at most. */
  readonly perSecond: number;
  /** It ends by itself after so long. */
  readonly forMs: number;
}

/** Datagrams to one port. */
export interface DatagramOrder extends Bounds {
  readonly kind: 'datagrams';
  readonly content: Content;
  /** Nodes that they claim to be of, in turn. */
  readonly claims: readonly NodeName[];
  /** The address from which they are sent. */
  readonly own: string;
  readonly to: string;
  readonly port: number;
  /** The address and port that they claim to come from; needs CAP_NET_RAW. */
  readonly forgedSource?: { readonly address: string; readonly port: number };
  /** `altered` and `replayed` are made of heartbeats of this group. */
  readonly group: { readonly address: string; readonly port: number };
}

/** Where a connection goes. */
export type Target = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * What becomes of a connection once it is open: `read` what comes until the other side ends it, `hold` it without reading a
 * byte until the other side ends it, `reset` it at once.
 */
export type After = 'read' | 'hold' | 'reset';

/** Connections that say all the same. */
export interface StreamOrder extends Bounds {
  readonly kind: 'streams';
  readonly to: Target;
  /** Said at once, latin1, so many times. */
  readonly text: string;
  readonly times: number;
  readonly after: After;
  /** Open at a time. */
  readonly connections: number;
}

/** TLS handshakes with a name that the sync port knows, and another key. */
export interface HandshakeOrder extends Bounds {
  readonly kind: 'handshakes';
  readonly to: Target;
  readonly identity: string;
  readonly connections: number;
}

/** What a flood does; it travels as JSON to the program that carries it out (`attacker.ts`). */
export type Order = DatagramOrder | StreamOrder | HandshakeOrder;

/** What came of it. */
export interface Outcome {
  /** Datagrams or connections that were begun. */
  readonly sent: number;
  /** Those that the own kernel refused, or that came to nothing, by cause. */
  readonly refused: Readonly<Record<string, number>>;
}
