import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';

/** Larger files are no configuration of a resolver; reading and parsing stay below a few milliseconds. */
const MAX_BYTES = 256 * 1024;

/** What a small text file means, read again when the file has changed; one that cannot be read is empty. */
export class FileCopy<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T;
  #version: string | undefined;
  #value: T;

  /** @param parse gets at most the first 256 KiB */
  constructor(path: string, parse: (text: string) => T) {
    this.#path = path;
    this.#parse = parse;
    this.#value = parse('');
  }

  get value(): T {
    const version = this.#look();
    if (version !== this.#version) {
      this.#version = version;
      this.#value = this.#parse(version === '' ? '' : this.#read());
    }
    return this.#value;
  }

  /** @returns empty: it is not there, or cannot be looked at */
  #look(): string {
    try {
      const stat = statSync(this.#path, { throwIfNoEntry: false, bigint: true });
      return stat === undefined ? '' : `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs}`;
    } catch {
      return '';
    }
  }

  #read(): string {
    try {
      const fd = openSync(this.#path, 'r');
      try {
        if (!fstatSync(fd).isFile()) return '';
        const buffer = Buffer.allocUnsafe(MAX_BYTES);
        return buffer.toString('utf8', 0, readSync(fd, buffer, 0, MAX_BYTES, 0));
      } finally {
        closeSync(fd);
      }
    } catch {
      return '';
    }
  }
}
