import { statSync } from 'node:fs';

/** Certificates change every few weeks; whoever replaces two files needs a moment between the two. */
const INTERVAL_MS = 1_000;
/** To look at tens of thousands of files takes a good part of a second: at most a twentieth of the time goes into it. */
const REST = 20;

/**
 * Sees that files have changed, by asking for their state again and again: unlike notifications of the kernel that works
 * for a symbolic link that points elsewhere, for a directory that was replaced and for a network file system. A change is
 * told once nothing has changed any more for one interval, so that a pair of files is whole. It holds up its thread, which
 * must have nothing else to do.
 */
export class FileWatch {
  readonly #paths: () => readonly string[];
  readonly #onChange: () => void;
  readonly #intervalMs: number;
  readonly #looking: (path: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #seen: string | undefined;
  #unsettled = false;

  /**
   * @param paths asked before each look; one that is not there is a state as well
   * @param looking told each path before it is looked at
   */
  constructor(
    paths: () => readonly string[],
    onChange: () => void,
    intervalMs = INTERVAL_MS,
    looking = (_path: string) => {},
  ) {
    this.#paths = paths;
    this.#onChange = onChange;
    this.#intervalMs = intervalMs;
    this.#looking = looking;
  }

  /** Watches from now on. The first state counts as a change: whoever read the files has read them before. */
  start(): void {
    this.#again(this.#intervalMs);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #again(pauseMs: number): void {
    this.#timer = setTimeout(() => this.#look(), pauseMs);
  }

  #look(): void {
    const startedMs = performance.now();
    const now = stateOf(this.#paths(), this.#looking);
    const told = now === this.#seen && this.#unsettled;
    this.#unsettled = now !== this.#seen;
    this.#seen = now;
    this.#again(Math.max(this.#intervalMs, REST * (performance.now() - startedMs)));
    if (told) this.#onChange();
  }
}

function stateOf(paths: readonly string[], looking: (path: string) => void): string {
  const states = paths.map((path) => {
    looking(path);
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
      return `${path} ${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
    } catch (error) {
      return `${path} ${(error as NodeJS.ErrnoException).code}`;
    }
  });
  return states.join('\n');
}
