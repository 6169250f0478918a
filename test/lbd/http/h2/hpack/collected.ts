import { type FieldSink, type HpackDecoder, STOP } from '../../../../../lbd/http/h2/hpack/decoder.ts';

/** Takes decoded fields as text. */
export class Collected implements FieldSink {
  readonly fields: [name: string, value: string][] = [];
  /** Of those, which came as never indexed. */
  readonly sensitive: string[] = [];
  /** Index and note of each. */
  readonly known: [index: number, note: number][] = [];
  /** Calls that it wants. */
  limit = Number.POSITIVE_INFINITY;
  #notes = 0;

  field(
    name: Buffer,
    nameStart: number,
    nameEnd: number,
    value: Buffer,
    valueStart: number,
    valueEnd: number,
    sensitive: boolean,
    index: number,
    note: number,
  ): number {
    const text = name.latin1Slice(nameStart, nameEnd);
    this.fields.push([text, value.latin1Slice(valueStart, valueEnd)]);
    if (sensitive) this.sensitive.push(text);
    this.known.push([index, note]);
    if (this.fields.length >= this.limit) return STOP;
    return note > 0 ? note : ++this.#notes;
  }
}

/** @returns fields, or what is wrong */
export function decode(decoder: HpackDecoder, block: Buffer | string): [string, string][] | string {
  const bytes = typeof block === 'string' ? Buffer.from(block.replaceAll(/\s/g, ''), 'hex') : block;
  // In the midst of other bytes, as in a read buffer.
  const around = Buffer.concat([Buffer.alloc(7, 0xff), bytes, Buffer.alloc(7, 0xff)]);
  const collected = new Collected();
  const fault = decoder.decode(around, 7, 7 + bytes.length, collected);
  return fault === '' ? collected.fields : fault;
}

/** A literal, unindexed unless `first` says otherwise, of strings that are not Huffman-coded and shorter than 127 bytes. */
export function literal(name: string, value: string, first = 0x00): Buffer {
  return Buffer.concat([
    Buffer.of(first, name.length),
    Buffer.from(name, 'latin1'),
    Buffer.of(value.length),
    Buffer.from(value, 'latin1'),
  ]);
}
