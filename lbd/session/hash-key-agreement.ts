import { FRAME, ProtocolError, wordsFrame } from './sync-frame.ts';
import type { Hello } from './sync-hello.ts';
import type { SessionTable } from './table.ts';

/**
 * Agrees with the peer on the key of the hashes. It differs where the secret was replaced and one of the two started before
 * that: who has had no sessions takes over the key from the other one, and of two such nodes the one whose name sorts first.
 */
export class HashKeyAgreement {
  readonly #table: Pick<SessionTable, 'hashKey' | 'keyFingerprint' | 'adoptHashKey'>;
  readonly #isUnused: () => boolean;
  /** A peer has agreed once. */
  #settled = false;
  /** What the hello of this link says. */
  #offersToTake = false;
  /** Fingerprint of the peer's key that must come before anything else; undefined: they agree, or the peer takes it. */
  #awaited: number | undefined;
  #isDue = false;

  /** @param isUnused whether nothing here is placed by this node's key */
  constructor(table: SessionTable, isUnused: () => boolean) {
    this.#table = table;
    this.#isUnused = isUnused;
  }

  /** A new link. */
  begin(): void {
    this.#offersToTake = this.#canTake;
    this.#awaited = undefined;
    this.#isDue = false;
  }

  /** Whether this node would take over the peer's key; for its hello. */
  get offersToTake(): boolean {
    return this.#offersToTake;
  }

  /** Whether the peer's key must come before anything else. */
  get isAwaited(): boolean {
    return this.#awaited !== undefined;
  }

  /** @throws ProtocolError where the keys differ and neither can take the other one's */
  onHello({ keyFingerprint, takesHashKey }: Hello, node: string, peer: string): void {
    if (keyFingerprint === this.#table.keyFingerprint) return;
    const takes = takesHashKey !== undefined && this.#offersToTake && (!takesHashKey || node < peer);
    if (takes) this.#awaited = keyFingerprint;
    else if (takesHashKey === true) this.#isDue = true;
    else
      throw new ProtocolError(
        'session keys differ: both nodes need the same secret; if they have it, restart lbd of the standby',
      );
  }

  /** @throws ProtocolError where it is not wanted, or another one than was offered */
  onKey(words: Int32Array): void {
    const awaited = this.#awaited;
    if (awaited === undefined) throw new ProtocolError('a key of the hashes, which nobody asked for');
    if (!this.#canTake) throw new ProtocolError('session keys differ, and sessions came meanwhile');
    if (!this.#table.adoptHashKey(words.slice(0, 4), awaited))
      throw new ProtocolError('another key of the hashes than the hello said');
    this.#awaited = undefined;
  }

  /** The peer goes on with the key that both have. */
  settle(): void {
    this.#settled = true;
  }

  /** The key, where the peer takes it. */
  next(): Buffer | undefined {
    if (!this.#isDue) return undefined;
    this.#isDue = false;
    return wordsFrame(FRAME.hashKey, [...this.#table.hashKey]);
  }

  get #canTake(): boolean {
    return !this.#settled && this.#isUnused();
  }
}
