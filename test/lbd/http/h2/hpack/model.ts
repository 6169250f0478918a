import { encodeHuffman, huffmanLength } from '../../../../../lbd/http/h2/hpack/huffman.ts';

/** How to write a field. Where the tables have it, `indexed` and `kept` refer to them. */
export interface Wish {
  name: string;
  value: string;
  way: 'indexed' | 'kept' | 'plain' | 'sensitive';
  /** Spell the name out where the dynamic table has it. */
  spelt: boolean;
  huffman: boolean;
}

/** An encoder with a dynamic table, as simple as RFC 7541 says it: what the decoder's table is held against. */
export class ModelEncoder {
  /** The newest first. */
  table: [name: string, value: string][] = [];
  maxSize: number;

  constructor(maxSize: number) {
    this.maxSize = maxSize;
  }

  resize(size: number): Buffer {
    this.maxSize = size;
    this.#evict();
    return integer(0x20, 0x1f, size);
  }

  write({ name, value, way, spelt, huffman }: Wish): Buffer {
    const whole = this.table.findIndex((entry) => entry[0] === name && entry[1] === value);
    if (way === 'indexed' && whole >= 0) return integer(0x80, 0x7f, 62 + whole);
    const named = spelt ? -1 : this.table.findIndex((entry) => entry[0] === name);
    const keeps = way === 'indexed' || way === 'kept';
    const [first, prefix] = keeps ? [0x40, 0x3f] : [way === 'sensitive' ? 0x10 : 0x00, 0x0f];
    const start =
      named >= 0 ? [integer(first!, prefix!, 62 + named)] : [Buffer.of(first!), string(name, huffman)];
    if (keeps) {
      this.table.unshift([name, value]);
      this.#evict();
    }
    return Buffer.concat([...start, string(value, huffman)]);
  }

  #evict(): void {
    const size = () => this.table.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
    while (size() > this.maxSize) this.table.pop();
  }
}

function integer(first: number, prefix: number, value: number): Buffer {
  if (value < prefix) return Buffer.of(first | value);
  const bytes = [first | prefix];
  let rest = value - prefix;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push(128 + (rest % 128));
  return Buffer.from([...bytes, rest]);
}

function string(text: string, huffman: boolean): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  if (!huffman) return Buffer.concat([integer(0, 0x7f, bytes.length), bytes]);
  const code = Buffer.alloc(huffmanLength(bytes, 0, bytes.length));
  encodeHuffman(bytes, 0, bytes.length, code, 0);
  return Buffer.concat([integer(0x80, 0x7f, code.length), code]);
}
