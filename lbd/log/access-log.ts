/** A batch leaves when it has so many bytes, or so long after its first line. */
const BATCH_BYTES = 64 * 1024;
const BATCH_MS = 200;

/** Takes a batch of whole lines for a file (empty: standard output). The bytes are the receiver's. */
export type SendLines = (path: string, lines: Uint8Array<ArrayBuffer>) => void;

/**
 * Lines of one worker for one access log. A line costs a copy into the batch; files are the main thread's business,
 * since there one write at a time cannot hold up anything else, however slow a disk is.
 */
export class AccessLog {
  readonly #path: string;
  readonly #send: SendLines;
  readonly #batch = Buffer.allocUnsafeSlow(BATCH_BYTES);
  #length = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(path: string, send: SendLines) {
    this.#path = path;
    this.#send = send;
  }

  /** @param line ASCII with its line feed, at most 64 KiB */
  write(line: string): void {
    if (this.#length + line.length > BATCH_BYTES) this.flush();
    this.#length += this.#batch.latin1Write(line, this.#length);
    this.#timer ??= setTimeout(() => this.flush(), BATCH_MS).unref();
  }

  /** Hands over what there is. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#length === 0) return;
    this.#send(this.#path, new Uint8Array(this.#batch.subarray(0, this.#length)));
    this.#length = 0;
  }
}
