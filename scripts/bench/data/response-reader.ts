/** Longer heads are no answer to what the benchmarks ask. */
const MAX_HEAD_BYTES = 8192;

/** Reads the answers of one connection, one request at a time: a status and a body with Content-Length. */
export class ResponseReader {
  #head = '';
  #status = 0;
  #left = 0;

  /**
   * @param buffer read up to `length`; not kept
   * @returns the status when these bytes complete the answer, else undefined
   * @throws Error on bytes that are no such answer
   */
  take(buffer: Buffer, length: number): number | undefined {
    if (this.#status > 0) return this.#body(length);
    this.#head += buffer.latin1Slice(0, length);
    const end = this.#head.indexOf('\r\n\r\n');
    if (end < 0) {
      if (this.#head.length > MAX_HEAD_BYTES) throw new Error('a head without an end');
      return undefined;
    }
    const bytes = /\r\ncontent-length: *(\d+)/i.exec(this.#head)?.[1];
    const status = /^HTTP\/1\.1 (\d{3}) /.exec(this.#head)?.[1];
    if (status === undefined || bytes === undefined) throw new Error(`no answer: ${this.#head.slice(0, 60)}`);
    const here = this.#head.length - end - 4;
    this.#head = '';
    this.#status = Number(status);
    this.#left = Number(bytes);
    return this.#body(here);
  }

  #body(length: number): number | undefined {
    this.#left -= length;
    if (this.#left < 0) throw new Error('more bytes than the answer has');
    if (this.#left > 0) return undefined;
    const status = this.#status;
    this.#status = 0;
    return status;
  }
}
