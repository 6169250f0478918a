import { stat } from 'node:fs/promises';

/** Certificates change every few weeks; whoever replaces two files needs a moment between the two. */
const INTERVAL_MS = 1_000;

/**
 * Sees that files have changed, by asking for their state again and again: unlike notifications of the kernel that works
 * for a symbolic link that points elsewhere, for a directory that was replaced and for a network file system. A change is
 * told once nothing has changed any more for one interval, so that a pair of files is whole.
 */
export class FileWatch {
  readonly #paths: () => readonly string[];
  readonly #onChange: () => void;
  readonly #intervalMs: number;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #seen: string | undefined;
  #unsettled = false;

  /** @param paths asked before each look; one that is not there is a state as well */
  constructor(paths: () => readonly string[], onChange: () => void, intervalMs = INTERVAL_MS) {
    this.#paths = paths;
    this.#onChange = onChange;
    this.#intervalMs = intervalMs;
  }

  /** Watches from now on. The first state counts as a change: whoever read the files has read them before. */
  start(): void {
    this.#again();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #again(): void {
    if (!this.#closed) this.#timer = setTimeout(() => void this.#look(), this.#intervalMs);
  }

  async #look(): Promise<void> {
    const now = await stateOf(this.#paths());
    if (this.#closed) return;
    if (now !== this.#seen) this.#unsettled = true;
    else if (this.#unsettled) {
      this.#unsettled = false;
      this.#onChange();
    }
    this.#seen = now;
    this.#again();
  }
}

/** One after the other, so that a thousand files on a slow disk do not take all threads of the pool. */
async function stateOf(paths: readonly string[]): Promise<string> {
  const states: string[] = [];
  for (const path of paths) {
    try {
      const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
      states.push(`${path} ${dev} ${ino} ${size} ${mtimeNs}`);
    } catch (error) {
      states.push(`${path} ${(error as NodeJS.ErrnoException).code}`);
    }
  }
  return states.join('\n');
}
