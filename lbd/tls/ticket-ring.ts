import { randomBytes } from 'node:crypto';
import { z } from 'zod';

/** So long tickets are sealed with one secret, and so long each of them is good for (`SESSION_SECONDS`). */
const SEAL_MS = 3_600_000;
const TICKET_MS = 3_600_000;
/** After it no ticket is left that the secret opens; a minute is for the way between the nodes. */
export const SECRET_LIFE_MS = SEAL_MS + TICKET_MS + 60_000;
/** Where the active node makes no new secret in time, the other one does so much later. */
const GRACE_MS = 60_000;
/** Each start of a node makes one. */
const MAX_SECRETS = 16;
const SECRET_BYTES = 32;

const Wire = z
  .array(
    z.object({
      id: z.string().regex(/^[0-9a-f]{16}$/),
      secret: z.base64().length(Math.ceil(SECRET_BYTES / 3) * 4),
      /** Milliseconds since it was made. */
      age: z.int().nonnegative().max(SECRET_LIFE_MS),
    }),
  )
  .max(MAX_SECRETS);

interface TicketSecret {
  readonly id: string;
  readonly secret: Buffer;
  readonly madeMs: number;
}

/**
 * The random secrets from which the keys of session tickets derive, see `ticketKeys`. They live in memory only, for some
 * two hours: what was recorded before that cannot be opened by whoever breaks in, nor by the cluster's secret. Both nodes
 * know all of them, so either opens the other one's tickets; both seal with the oldest that is not too old, so they agree
 * without a word. Pure: time comes in, monotonic milliseconds.
 */
export class TicketRing {
  /** Oldest first. Never empty. */
  #secrets: readonly TicketSecret[] = [];
  /** Of what `tick` saw last. */
  #digest = '';

  constructor(nowMs: number) {
    this.#add([newSecret(nowMs)]);
  }

  /** The one to seal with, then the others that tickets may be sealed with. */
  secrets(nowMs: number): Buffer[] {
    const sealing = this.#sealing(nowMs);
    return [sealing, ...this.#secrets.filter((one) => one !== sealing)].map(({ secret }) => secret);
  }

  /**
   * Forgets what no ticket needs any more, and makes a new secret where it is time. Call it every few seconds.
   *
   * @param leads this node is the active one, or has no other one
   * @returns whether `secrets` has changed since the call before
   */
  tick(nowMs: number, leads: boolean): boolean {
    const before = this.#digest;
    for (const { madeMs, secret } of this.#secrets) if (nowMs - madeMs >= SECRET_LIFE_MS) secret.fill(0);
    this.#secrets = this.#secrets.filter(({ madeMs }) => nowMs - madeMs < SECRET_LIFE_MS);
    const newest = this.#secrets.at(-1)?.madeMs ?? Number.NEGATIVE_INFINITY;
    if (nowMs - newest >= SEAL_MS + (leads ? 0 : GRACE_MS)) this.#add([newSecret(nowMs)]);
    this.#digest = this.#secrets.map(({ id }) => id).join() + this.#sealing(nowMs).id;
    return this.#digest !== before;
  }

  /** For the other node, over a link that nobody can read. */
  encode(nowMs: number): Buffer {
    const secrets = this.#secrets.map(({ id, secret, madeMs }) => {
      const age = Math.min(Math.max(0, Math.round(nowMs - madeMs)), SECRET_LIFE_MS);
      return { id, secret: secret.toString('base64'), age };
    });
    return Buffer.from(JSON.stringify(secrets));
  }

  /**
   * Takes in what the other node told.
   *
   * @returns whether there was anything new
   * @throws Error where it is not what `encode` makes
   */
  merge(payload: Buffer, nowMs: number): boolean {
    const told = Wire.parse(JSON.parse(payload.toString('utf8')));
    const known = new Set(this.#secrets.map(({ id }) => id));
    const news = told
      .filter(({ id, age }) => !known.has(id) && age < SECRET_LIFE_MS)
      .map(({ id, secret, age }) => ({ id, secret: Buffer.from(secret, 'base64'), madeMs: nowMs - age }));
    this.#add(news.slice(0, MAX_SECRETS - this.#secrets.length));
    return news.length > 0;
  }

  #add(secrets: readonly TicketSecret[]): void {
    this.#secrets = [...this.#secrets, ...secrets].sort(
      (a, b) => a.madeMs - b.madeMs || (a.id < b.id ? -1 : 1),
    );
    // A new one of this node must have room.
    this.#secrets = this.#secrets.slice(-MAX_SECRETS);
  }

  #sealing(nowMs: number): TicketSecret {
    return this.#secrets.find(({ madeMs }) => nowMs - madeMs < SEAL_MS) ?? this.#secrets.at(-1)!;
  }
}

function newSecret(nowMs: number): TicketSecret {
  return { id: randomBytes(8).toString('hex'), secret: randomBytes(SECRET_BYTES), madeMs: nowMs };
}
