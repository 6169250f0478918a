import { FRAME_HEAD_BYTES, MAX_FRAME_BYTES } from './flow-request.ts';
import { MAX_LINE_BYTES, MalformedRequest } from './requests.ts';

const NEWLINE = 0x0a;

/** What came over a stream and was not read yet: lines, or frames with their length in front. */
export class Inbox {
  #chunks: Buffer[] = [];
  #bytes = 0;
  #mayHaveLine = false;

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    this.#mayHaveLine ||= chunk.includes(NEWLINE);
  }

  /** @returns the next line without its end; undefined: none is complete @throws MalformedRequest for one that is too long */
  line(): string | undefined {
    const all = this.#mayHaveLine ? this.#all() : undefined;
    const end = all?.indexOf(NEWLINE) ?? -1;
    if ((end < 0 ? this.#bytes : end) > MAX_LINE_BYTES)
      throw new MalformedRequest('a line that does not end');
    this.#mayHaveLine = end >= 0;
    if (all === undefined || end < 0) return undefined;
    this.#keep(all.subarray(end + 1));
    return all.toString('utf8', 0, end);
  }

  /** @returns the next frame without its length; undefined: none is complete @throws MalformedRequest for one that is too long */
  frame(): Buffer | undefined {
    if (this.#bytes < FRAME_HEAD_BYTES) return undefined;
    const all = this.#all();
    const end = FRAME_HEAD_BYTES + all.readUInt32LE(0);
    if (end > FRAME_HEAD_BYTES + MAX_FRAME_BYTES) throw new MalformedRequest('a frame that is too long');
    if (all.length < end) return undefined;
    this.#keep(all.subarray(end));
    return all.subarray(FRAME_HEAD_BYTES, end);
  }

  #all(): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }

  #keep(rest: Buffer): void {
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#bytes = rest.length;
  }
}
