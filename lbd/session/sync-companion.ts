/**
 * What else travels on the link, in frames of type `flows`, to a peer whose hello offers it. All calls come from the
 * protocol; a frame may be made and read in about a millisecond.
 */
export interface SyncCompanion {
  /** Names the connection table of this node's kernel, 16 hex digits: another one after each boot. Told to the peer. */
  readonly tableMark: string | undefined;
  /** A link to a peer that takes part. @param peerMark of the peer; undefined: it has none, or its release tells none */
  connect(nowMs: number, peerMark?: string): void;
  disconnect(): void;
  /** @param payload valid during the call only @throws ProtocolError where it breaks the rules */
  receive(payload: Buffer, nowMs: number): void;
  /** The next frame to send, whole; undefined where there is none now. */
  pull(nowMs: number): Buffer | undefined;
  /** Whether this node has what the peer holds for it, or cannot have it. */
  readonly complete: boolean;
  /** Milliseconds until there is something to pull, if nothing happens; `Infinity`: never. */
  idleMs(nowMs: number): number;
  /** To be called when that changes by itself; set by whoever pulls. */
  onNews: (() => void) | undefined;
  /** The place after every change up to now, and whether the peer has everything before it. */
  mark(): number;
  reached(mark: number): boolean;
}

/** Secrets of session tickets, told as a whole whenever they change. The link is the only place where they travel. */
export interface TicketSharing {
  encode(nowMs: number): Buffer;
  /** @param payload valid during the call only @throws Error where it breaks the rules */
  merge(payload: Buffer, nowMs: number): void;
}
