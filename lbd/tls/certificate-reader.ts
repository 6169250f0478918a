import { CertificateCache } from './certificate-cache.ts';
import { FileWatch } from './file-watch.ts';
import { readTlsFiles, tlsPaths } from './files.ts';
import { type Comparison, compareFiles, type InForce, type TlsWanted } from './material.ts';
import type { ReadingMark } from './reading-mark.ts';

/** To the thread that reads certificates. */
export type ToReader =
  /** Answered by `read`. */
  | {
      readonly type: 'read';
      readonly serial: number;
      readonly wanted: TlsWanted;
      readonly inForce: InForce;
    }
  /** Follows the files of this config from now on. Answered by `changed`, each time. */
  | { readonly type: 'watch'; readonly wanted: TlsWanted; readonly intervalMs: number | undefined };

/** From the thread that reads certificates. */
export type FromReader =
  | {
      readonly type: 'read';
      readonly serial: number;
      readonly comparison: Comparison;
      /** Certificates that were parsed and checked for it; the others are as they were. */
      readonly parsed: number;
    }
  | { readonly type: 'changed' };

/**
 * Reads certificates and keys in a thread of its own: to parse and check one takes milliseconds, to see that ten thousand
 * are as they were takes a good part of a second, and a file may hang. What it has parsed it keeps.
 */
export class CertificateReader {
  readonly #post: (message: FromReader) => void;
  readonly #mark: ReadingMark;
  readonly #cache = new CertificateCache();
  #watch: FileWatch | undefined;

  /** @param mark told each file that is looked at */
  constructor(post: (message: FromReader) => void, mark: ReadingMark) {
    this.#post = post;
    this.#mark = mark;
  }

  take(message: ToReader): void {
    if (message.type === 'read') this.#read(message);
    else this.#follow(message);
  }

  #read({ serial, wanted, inForce }: Extract<ToReader, { type: 'read' }>): void {
    const before = this.#cache.parsed;
    const files = readTlsFiles(wanted, this.#cache, (path) => this.#mark.at(path));
    const comparison = compareFiles(wanted, files, inForce);
    this.#post({ type: 'read', serial, comparison, parsed: this.#cache.parsed - before });
  }

  #follow({ wanted, intervalMs }: Extract<ToReader, { type: 'watch' }>): void {
    this.#watch?.close();
    this.#watch = new FileWatch(
      () => tlsPaths(wanted),
      () => this.#post({ type: 'changed' }),
      intervalMs,
      (path) => this.#mark.at(path),
    );
    this.#watch.start();
  }
}
