import { copyBytes } from './bytes.ts';
import { DynamicTable } from './dynamic-table.ts';
import { decodeHuffman, HUFFMAN_FAULT, mostDecoded } from './huffman.ts';
import {
  EXACT,
  NAME_END,
  NAME_INDEX,
  NAME_START,
  STATIC_BYTES,
  STATIC_ENTRIES,
  staticName,
  VALUE_END,
} from './static-table.ts';

/** What `FieldSink.field` returns where the message is over its limits. */
export const STOP = -1;
/** Within the decoder the same, where `#fault` is set. */
const FAULTY = -1;

/** Takes the fields of a header block, one after the other. */
export interface FieldSink {
  /**
   * Bytes of name and value are valid only during the call.
   *
   * @param sensitive to be passed on as never indexed (RFC 7541 §6.2.3)
   * @param index of the name in the static table, the first one where it has several; 0: the name is not there
   * @param note 0: the field is new, or was noted as 0; above: it stands in the table, since a call that returned this;
   *   below: it is a whole entry of the static table, the one at `-note`
   * @returns what to note with the field, should it come again: 0 to 2^31 - 1, or `STOP`: the decoder goes on only to keep
   *   its table right, and calls no more
   */
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
  ): number;
}

/** What is wrong with a header block, which is an error of the whole connection (RFC 9113 §4.3). */
export type HpackFault =
  | ''
  | 'header block ends within a field'
  | 'integer too large'
  | 'index 0'
  | 'index beyond the table'
  | 'string longer than its header block'
  | 'EOS in a Huffman string'
  | 'Huffman padding of more than 7 bits'
  | 'Huffman padding that is not all ones'
  | 'table size update behind a field'
  | 'more than two table size updates'
  | 'table size above the setting';

/** RFC 7541 §5.1: octets that may follow a prefix, so that a number has little more than 28 bits. */
const MOST_OCTETS = 4;
/** RFC 9113 §6.5.2: what a table has before either side says anything. */
export const DEFAULT_TABLE_BYTES = 4096;
const FIRST_SCRATCH = 4096;

/** RFC 7541 §4.2: the smallest size since the last block, and the last one. */
const MOST_UPDATES = 2;
/** Where that many could stand: none may. */
const BEHIND_FIELD = 3;

/** Of this thread: decoded strings that go to no table. A block is decoded within one call. */
let scratch: Buffer = Buffer.alloc(0);

function scratchOf(bytes: number): Buffer {
  if (scratch.length < bytes) scratch = Buffer.allocUnsafeSlow(Math.max(FIRST_SCRATCH, bytes));
  return scratch;
}

/** Decodes the header blocks that one side of a connection sends (RFC 7541). */
export class HpackDecoder {
  readonly #table: DynamicTable;
  readonly #maxTableBytes: number;
  #fault: HpackFault = '';
  /** Behind what was read last. */
  #at = 0;
  /** Of the literal that was read last: its name's index, and where name and value are in the block. */
  #index = 0;
  #nameStart = 0;
  #nameEnd = 0;
  #isNameHuffman = false;
  #isHuffman = false;
  #valueStart = 0;
  #isValueHuffman = false;

  /** @param maxTableBytes SETTINGS_HEADER_TABLE_SIZE; one below 4096 must be known to the peer before its first block */
  constructor(maxTableBytes = DEFAULT_TABLE_BYTES) {
    this.#maxTableBytes = maxTableBytes;
    this.#table = new DynamicTable(Math.min(maxTableBytes, DEFAULT_TABLE_BYTES));
  }

  /**
   * Decodes a whole header block. Its length bounds work and memory, and is the caller's to bound.
   *
   * @returns what is wrong; the decoder is of no more use then
   */
  decode(buffer: Buffer, start: number, end: number, sink: FieldSink): HpackFault {
    let listener: FieldSink | undefined = sink;
    let updates = 0;
    this.#at = start;
    while (this.#at < end) {
      const first = buffer[this.#at]!;
      let result = 0;
      if (first >= 0x80) result = this.#indexed(buffer, end, listener);
      else if (first >= 0x40) result = this.#keptLiteral(buffer, end, listener);
      else if (first < 0x20) result = this.#literal(buffer, end, (first & 0x10) !== 0, listener);
      else if (!this.#update(buffer, end, updates++)) return this.#fault;
      else continue;
      if (result < 0) {
        if (this.#fault !== '') return this.#fault;
        listener = undefined;
      }
      updates = BEHIND_FIELD;
    }
    return '';
  }

  /** RFC 7541 §6.1 */
  #indexed(buffer: Buffer, end: number, sink: FieldSink | undefined): number {
    const index = this.#integer(buffer, end, 0x7f);
    if (index > STATIC_ENTRIES) {
      const table = this.#table;
      const row = table.row(index - STATIC_ENTRIES);
      if (row < 0) return this.#fail('index beyond the table');
      if (sink === undefined) return 0;
      const { bytes } = table;
      const known = table.staticName(row);
      const valueStart = table.valueStart(row);
      const valueEnd = valueStart + table.valueLength(row);
      const name = known > 0 ? STATIC_BYTES : bytes;
      const nameStart = known > 0 ? NAME_START[known]! : table.nameStart(row);
      const nameEnd = known > 0 ? NAME_END[known]! : valueStart;
      const note = table.note(row);
      return sink.field(name, nameStart, nameEnd, bytes, valueStart, valueEnd, false, known, note);
    }
    if (index <= 0) return index === 0 ? this.#fail('index 0') : FAULTY;
    if (sink === undefined) return 0;
    const nameEnd = NAME_END[index]!;
    return sink.field(
      STATIC_BYTES,
      NAME_START[index]!,
      nameEnd,
      STATIC_BYTES,
      nameEnd,
      VALUE_END[index]!,
      false,
      NAME_INDEX[index]!,
      -index,
    );
  }

  /** RFC 7541 §6.2.2, §6.2.3: strings are handed on where they stand, unless they have to be decoded. */
  #literal(buffer: Buffer, end: number, sensitive: boolean, sink: FieldSink | undefined): number {
    if (!this.#readLiteral(buffer, end, 0x0f)) return FAULTY;
    if (sink === undefined) return 0;
    const decoded = this.#decodedLength();
    const to = decoded > 0 ? scratchOf(decoded) : buffer;
    const index = this.#index;
    let name = buffer;
    let nameStart = this.#nameStart;
    let nameEnd = this.#nameEnd;
    let known = 0;
    let place = 0;
    if (index === 0) {
      if (this.#isNameHuffman) {
        place = decodeHuffman(buffer, nameStart, nameEnd, to, 0);
        if (place < 0) return this.#failHuffman(place);
        name = to;
        nameStart = 0;
        nameEnd = place;
      }
      known = staticName(name, nameStart, nameEnd, EXACT);
    } else if (index <= STATIC_ENTRIES) known = NAME_INDEX[index]!;
    else {
      const table = this.#table;
      const row = table.row(index - STATIC_ENTRIES);
      known = table.staticName(row);
      name = table.bytes;
      nameStart = table.nameStart(row);
      nameEnd = table.valueStart(row);
    }
    if (known > 0) {
      name = STATIC_BYTES;
      nameStart = NAME_START[known]!;
      nameEnd = NAME_END[known]!;
    }
    if (!this.#isValueHuffman)
      return sink.field(name, nameStart, nameEnd, buffer, this.#valueStart, this.#at, sensitive, known, 0);
    const valueEnd = decodeHuffman(buffer, this.#valueStart, this.#at, to, place);
    if (valueEnd < 0) return this.#failHuffman(valueEnd);
    return sink.field(name, nameStart, nameEnd, to, place, valueEnd, sensitive, known, 0);
  }

  /** RFC 7541 §6.2.1: strings are put behind the table's entries at once, and become one of them when the sink has had them. */
  #keptLiteral(buffer: Buffer, end: number, sink: FieldSink | undefined): number {
    if (!this.#readLiteral(buffer, end, 0x3f)) return FAULTY;
    const table = this.#table;
    const index = this.#index;
    const length = this.#keptLength();
    const fits = length <= table.maxSize;
    const start = fits ? table.reserve(length) : 0;
    const to = fits ? table.bytes : scratchOf(length);
    let valueStart = start;
    let known = 0;
    if (index === 0) {
      valueStart = this.#copy(buffer, this.#nameStart, this.#nameEnd, this.#isNameHuffman, to, start);
      if (valueStart < 0) return FAULTY;
      known = staticName(to, start, valueStart, EXACT);
      if (known > 0) valueStart = start;
    } else if (index <= STATIC_ENTRIES) known = NAME_INDEX[index]!;
    else {
      const row = table.row(index - STATIC_ENTRIES);
      known = table.staticName(row);
      if (known === 0) {
        const from = table.nameStart(row);
        valueStart = start + table.valueStart(row) - from;
        copyBytes(table.bytes, from, table.valueStart(row), to, start);
      }
    }
    const valueEnd = this.#copy(buffer, this.#valueStart, this.#at, this.#isValueHuffman, to, valueStart);
    if (valueEnd < 0) return FAULTY;
    const name = known > 0 ? STATIC_BYTES : to;
    const nameStart = known > 0 ? NAME_START[known]! : start;
    const nameEnd = known > 0 ? NAME_END[known]! : valueStart;
    const note = sink?.field(name, nameStart, nameEnd, to, valueStart, valueEnd, false, known, 0) ?? 0;
    if (!fits && valueEnd - start <= table.maxSize)
      to.copy(table.bytes, table.reserve(valueEnd - start), start, valueEnd);
    table.add(known, nameEnd - nameStart, valueEnd - valueStart, Math.max(0, note));
    return note;
  }

  /** Bytes that the strings of a literal may take where only those of Huffman code are written anew. */
  #decodedLength(): number {
    return (
      (this.#isNameHuffman ? mostDecoded(this.#nameEnd - this.#nameStart) : 0) +
      (this.#isValueHuffman ? mostDecoded(this.#at - this.#valueStart) : 0)
    );
  }

  /** Bytes that all of a literal may take. */
  #keptLength(): number {
    let length = this.#decodedLength();
    if (!this.#isValueHuffman) length += this.#at - this.#valueStart;
    if (this.#index === 0) return this.#isNameHuffman ? length : length + this.#nameEnd - this.#nameStart;
    if (this.#index <= STATIC_ENTRIES) return length;
    const row = this.#table.row(this.#index - STATIC_ENTRIES);
    return length + this.#table.valueStart(row) - this.#table.nameStart(row);
  }

  /** @returns where the string ends in `to`, or FAULTY */
  #copy(from: Buffer, start: number, end: number, isHuffman: boolean, to: Buffer, at: number): number {
    if (isHuffman) {
      const after = decodeHuffman(from, start, end, to, at);
      return after < 0 ? this.#failHuffman(after) : after;
    }
    copyBytes(from, start, end, to, at);
    return at + end - start;
  }

  /** Finds the parts of a literal; `#at` is its end. */
  #readLiteral(buffer: Buffer, end: number, prefix: number): boolean {
    const index = this.#integer(buffer, end, prefix);
    if (index < 0) return false;
    this.#index = index;
    this.#isNameHuffman = false;
    if (index === 0) {
      const length = this.#stringLength(buffer, end);
      if (length < 0) return false;
      this.#isNameHuffman = this.#isHuffman;
      this.#nameStart = this.#at;
      this.#nameEnd = this.#at += length;
    } else if (index > STATIC_ENTRIES && this.#table.row(index - STATIC_ENTRIES) < 0) {
      this.#fault = 'index beyond the table';
      return false;
    }
    const length = this.#stringLength(buffer, end);
    if (length < 0) return false;
    this.#isValueHuffman = this.#isHuffman;
    this.#valueStart = this.#at;
    this.#at += length;
    return true;
  }

  /** RFC 7541 §5.2: what stands before a string. @returns bytes, -1: faulty */
  #stringLength(buffer: Buffer, end: number): number {
    if (this.#at === end) return this.#fail('header block ends within a field');
    this.#isHuffman = buffer[this.#at]! >= 0x80;
    const length = this.#integer(buffer, end, 0x7f);
    return length <= end - this.#at ? length : this.#fail('string longer than its header block');
  }

  /** RFC 7541 §6.3 */
  #update(buffer: Buffer, end: number, before: number): boolean {
    const size = this.#integer(buffer, end, 0x1f);
    if (size < 0) return false;
    if (before === BEHIND_FIELD) this.#fault = 'table size update behind a field';
    else if (before === MOST_UPDATES) this.#fault = 'more than two table size updates';
    else if (size > this.#maxTableBytes) this.#fault = 'table size above the setting';
    else this.#table.resize(size);
    return this.#fault === '';
  }

  /**
   * RFC 7541 §5.1
   *
   * @param prefix the bits of it, which are the last ones of the first byte
   * @returns the number, or FAULTY
   */
  #integer(buffer: Buffer, end: number, prefix: number): number {
    let at = this.#at;
    let value = buffer[at++]! & prefix;
    if (value === prefix) {
      for (let shift = 0, more = true; more; shift += 7) {
        if (at === end) return this.#fail('header block ends within a field');
        if (shift === 7 * MOST_OCTETS) return this.#fail('integer too large');
        const byte = buffer[at++]!;
        value += (byte & 0x7f) << shift;
        more = byte >= 0x80;
      }
    }
    this.#at = at;
    return value;
  }

  #fail(fault: HpackFault): typeof FAULTY {
    this.#fault = fault;
    return FAULTY;
  }

  #failHuffman(fault: number): typeof FAULTY {
    switch (fault) {
      case HUFFMAN_FAULT.eos:
        return this.#fail('EOS in a Huffman string');
      case HUFFMAN_FAULT.longPadding:
        return this.#fail('Huffman padding of more than 7 bits');
      default:
        return this.#fail('Huffman padding that is not all ones');
    }
  }
}
