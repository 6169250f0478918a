import type { Config } from '../../common/model.ts';
import { AccessFile } from './access-file.ts';

/** What waits for a disk at the end may take so long. */
const CLOSE_MS = 1000;
/** Requests that began under an older config write to its files for so long. */
const LATE_MS = 30_000;

/** The access logs of a config, by path; the main thread's end of `AccessLog`. */
export class AccessFiles {
  readonly #files = new Map<string, AccessFile>();
  readonly #tell: (level: 'info' | 'warn', text: string) => void;
  /** Limits of the files of the config in force, by path. */
  #wanted: ReadonlyMap<string, number> = new Map();
  #tidying: NodeJS.Timeout | undefined;
  /** Lines lost in files that are no longer written. */
  #dropped = 0;

  /** @param tell trouble of a file began or is over; one line */
  constructor(tell: (level: 'info' | 'warn', text: string) => void) {
    this.#tell = tell;
  }

  /** Opens the files of a config, and soon closes those that it does not name. */
  apply(config: Pick<Config, 'frontends'>): void {
    const wanted = new Map<string, number>();
    for (const { accessLog } of config.frontends)
      if (accessLog !== undefined)
        wanted.set(accessLog.path, Math.min(accessLog.maxBytes, wanted.get(accessLog.path) ?? Infinity));
    this.#wanted = wanted;
    for (const [path, maxBytes] of wanted) {
      const file = this.#files.get(path);
      if (file === undefined) this.#files.set(path, new AccessFile(path, { tell: this.#tell, maxBytes }));
      else file.limit(maxBytes);
    }
    clearTimeout(this.#tidying);
    this.#tidying = setTimeout(() => this.#tidy(), LATE_MS).unref();
  }

  #tidy(): void {
    for (const [path, file] of this.#files) {
      if (this.#wanted.has(path)) continue;
      this.#files.delete(path);
      this.#dropped += file.dropped;
      void file.close(CLOSE_MS);
    }
  }

  /** Lines of a worker; those for a file that is closed by now are let go. */
  append(path: string, lines: Uint8Array): void {
    this.#files.get(path)?.append(lines);
  }

  /** After a rotation. */
  reopen(): void {
    for (const file of this.#files.values()) file.reopen();
  }

  /** Lines lost since the start. */
  get dropped(): number {
    return [...this.#files.values()].reduce((sum, file) => sum + file.dropped, this.#dropped);
  }

  warnings(): string[] {
    return [...this.#files.values()].flatMap(({ warning }) => (warning === undefined ? [] : [warning]));
  }

  async close(): Promise<void> {
    clearTimeout(this.#tidying);
    await Promise.all([...this.#files.values()].map((file) => file.close(CLOSE_MS)));
  }
}
