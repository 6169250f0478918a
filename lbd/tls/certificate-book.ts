import type { Certificate } from './certificate.ts';
import { certificatesByName, EVERYBODY_ELSE, namesOfServer } from './certificate-choice.ts';

/**
 * The certificates of a frontend in memory that threads share: ten thousand of them are given to a worker without a copy,
 * and it reads one when a client asks for its name. Holds private keys.
 *
 * Words (little-endian, 32 bits): number of certificates; of places in the table of names, a power of two; of different
 * groups; then where each certificate begins, then the table: where a name's entry begins, 0 for none, the next free place
 * after the one of its hash. An entry: bytes of the name, certificates, then the name, then where each certificate
 * begins. A certificate: its `id`, its bytes, and all of it as JSON.
 */
const HEAD_WORDS = 3;
const WORD = 4;
/** Of a `Certificate.id`. */
const ID_BYTES = 22;

/** Certificates for one name: at most one of each kind of key. */
export interface CertificateGroup {
  /** Equal for equal certificates and keys, also of another book. */
  readonly key: string;
  /** Where they begin. */
  readonly at: readonly number[];
}

/**
 * Writes a book.
 *
 * @param certificates at least one
 * @param defaultName see `certificatesByName`
 */
export function writeBook(
  certificates: readonly Certificate[],
  defaultName: string | undefined,
): SharedArrayBuffer {
  const byName = certificatesByName(certificates, defaultName);
  const places = 2 ** Math.ceil(Math.log2(2 * byName.size));
  const texts = certificates.map((certificate) => Buffer.from(JSON.stringify(certificate)));
  const names = [...byName].map(([name, group]) => ({ name, group, bytes: Buffer.from(name) }));
  const startOfTable = HEAD_WORDS + certificates.length;
  let end = WORD * (startOfTable + places);
  const at = new Map(
    certificates.map((certificate, i) => [certificate, advance(ID_BYTES + WORD + texts[i]!.length)]),
  );
  const entries = names.map(({ bytes, group }) => advance(2 * WORD + bytes.length + WORD * group.length));
  function advance(bytes: number): number {
    const from = end;
    end += bytes;
    return from;
  }
  const memory = new SharedArrayBuffer(end);
  const out = Buffer.from(memory);
  const groups = new Set([...byName.values()].map((group) => group.map(({ id }) => id).join('')));
  for (const [i, word] of [certificates.length, places, groups.size].entries())
    out.writeUInt32LE(word, WORD * i);
  for (const [i, certificate] of certificates.entries()) {
    const start = at.get(certificate)!;
    out.writeUInt32LE(start, WORD * (HEAD_WORDS + i));
    out.write(certificate.id, start, 'latin1');
    out.writeUInt32LE(texts[i]!.length, start + ID_BYTES);
    out.set(texts[i]!, start + ID_BYTES + WORD);
  }
  for (const [i, { name, bytes, group }] of names.entries()) {
    let place = hash(name) & (places - 1);
    while (out.readUInt32LE(WORD * (startOfTable + place)) !== 0) place = (place + 1) & (places - 1);
    let to = entries[i]!;
    out.writeUInt32LE(to, WORD * (startOfTable + place));
    to = out.writeUInt32LE(bytes.length, to);
    to = out.writeUInt32LE(group.length, to);
    out.set(bytes, to);
    to += bytes.length;
    for (const certificate of group) to = out.writeUInt32LE(at.get(certificate)!, to);
  }
  return memory;
}

/** Reads what `writeBook` wrote, in any thread. */
export class CertificateBook {
  readonly memory: SharedArrayBuffer;
  readonly #bytes: Buffer;
  readonly #count: number;
  readonly #places: number;

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#bytes = Buffer.from(memory);
    this.#count = this.#bytes.readUInt32LE(0);
    this.#places = this.#bytes.readUInt32LE(WORD);
  }

  /** Whether everybody gets the same, whatever name is asked for. */
  get isSingle(): boolean {
    return this.#bytes.readUInt32LE(2 * WORD) === 1;
  }

  /** What a client gets. @param serverName as it asked for, lower case; empty: for none */
  group(serverName: string): CertificateGroup {
    const [exact, wildcard] = namesOfServer(serverName);
    return this.#find(exact) ?? this.#find(wildcard) ?? this.#find(EVERYBODY_ELSE)!;
  }

  certificatesOf({ at }: CertificateGroup): Certificate[] {
    return at.map((start) => this.#read(start));
  }

  /** Every certificate, in the order of the list. */
  all(): Certificate[] {
    return Array.from({ length: this.#count }, (_, i) =>
      this.#read(this.#bytes.readUInt32LE(WORD * (HEAD_WORDS + i))),
    );
  }

  /** The `id` of each, in the order of the list. */
  ids(): string[] {
    return Array.from({ length: this.#count }, (_, i) => {
      const start = this.#bytes.readUInt32LE(WORD * (HEAD_WORDS + i));
      return this.#bytes.latin1Slice(start, start + ID_BYTES);
    });
  }

  #find(name: string): CertificateGroup | undefined {
    const mask = this.#places - 1;
    for (let place = hash(name) & mask; ; place = (place + 1) & mask) {
      const entry = this.#bytes.readUInt32LE(WORD * (HEAD_WORDS + this.#count + place));
      if (entry === 0) return undefined;
      const length = this.#bytes.readUInt32LE(entry);
      const start = entry + 2 * WORD;
      if (this.#bytes.toString('utf8', start, start + length) === name)
        return this.#groupAt(entry, start + length);
    }
  }

  #groupAt(entry: number, start: number): CertificateGroup {
    const at = Array.from({ length: this.#bytes.readUInt32LE(entry + WORD) }, (_, i) =>
      this.#bytes.readUInt32LE(start + WORD * i),
    );
    return { key: at.map((it) => this.#bytes.latin1Slice(it, it + ID_BYTES)).join(''), at };
  }

  #read(start: number): Certificate {
    const from = start + ID_BYTES + WORD;
    return JSON.parse(this.#bytes.toString('utf8', from, from + this.#bytes.readUInt32LE(start + ID_BYTES)));
  }
}

/** FNV-1a, over the units of a name. */
function hash(name: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return h >>> 0;
}
