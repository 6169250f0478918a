/** A sighting is shown for so long, and said again once it has been away for so long. */
const SHOWN_MS = 10_000;

/** What was noticed about somebody else, of each kind the latest: said once, and shown while it goes on. */
export class Sightings {
  readonly #now: () => number;
  readonly #say: (text: string) => void;
  readonly #seen = new Map<string, { readonly text: string; readonly ms: number; readonly saidMs: number }>();

  constructor(now: () => number, say: (text: string) => void) {
    this.#now = now;
    this.#say = say;
  }

  /** @param kind a few constant words, so that their number is bounded */
  add(kind: string, text: string): void {
    const now = this.#now();
    const before = this.#seen.get(kind);
    const isOld = before !== undefined && now - before.ms < SHOWN_MS;
    // Somebody may change the text as often as they like.
    const isSaid = isOld && (before.text === text || now - before.saidMs < SHOWN_MS);
    this.#seen.set(kind, { text, ms: now, saidMs: isSaid ? before.saidMs : now });
    if (!isSaid) this.#say(text);
  }

  /** What was noticed within the last seconds. */
  warnings(now: number): string[] {
    return [...this.#seen.values()].filter(({ ms }) => now - ms < SHOWN_MS).map(({ text }) => text);
  }
}
