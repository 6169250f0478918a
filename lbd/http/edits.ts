import { hyphened } from '../tls/client-identity.ts';
import { FIELD, FIELD_IDS, Field, type FieldBlock, type FieldName } from './field-names.ts';
import type { FieldSink } from './model.ts';
import { NO_BYTES } from './no-bytes.ts';

/** Fields that end here or frame the message, a bit each: what a policy said there could be read as another message. */
const FRAMING = [
  FIELD.connection,
  FIELD.contentLength,
  FIELD.transferEncoding,
  FIELD.upgrade,
  FIELD.keepAlive,
  FIELD.te,
  FIELD.trailer,
  FIELD.proxyConnection,
].reduce((bits, id) => bits | (1 << id), 0);

/**
 * What policies change about the fields of one message: an overlay that codecs lay over the fields as they came. While it
 * is empty it costs nothing. One instance serves message after message.
 */
export class FieldEdits {
  /** Fields to add, in this order. */
  count = 0;
  readonly #fields: Field[] = [];
  /** What HTTP/1 writes for a field, where that was known before; for those behind the first one of a block it is empty. */
  readonly #lines: (Buffer | undefined)[] = [];
  /** Removed of those that came, a bit for each id of `FIELD`. */
  #known = 0;
  /** Removed ones that have no id, in lower case. */
  readonly #others: string[] = [];
  #reserved: ReadonlySet<string> | undefined;

  clear(): void {
    this.count = 0;
    this.#known = 0;
    if (this.#others.length > 0) this.#others.length = 0;
    this.#reserved = undefined;
  }

  /** @throws Error where the field frames the message, which is its codec's to say */
  add(name: FieldName, value: string): void {
    if ((FRAMING & (1 << name.id)) !== 0) throw new Error(`a policy cannot say ${name.lower}`);
    const at = this.count++;
    this.#fields[at] = new Field(name, value);
    this.#lines[at] = undefined;
  }

  addBlock({ fields, lines }: FieldBlock): void {
    for (let i = 0; i < fields.length; i++) {
      const at = this.count++;
      this.#fields[at] = fields[i]!;
      this.#lines[at] = i === 0 ? lines : NO_BYTES;
    }
  }

  /** In the place of all that came under this name, and of all that was added. */
  set(name: FieldName, value: string): void {
    this.remove(name);
    this.add(name, value);
  }

  /** What came under this name, and what was added. */
  remove(name: FieldName): void {
    if (name.id === FIELD.other) this.#others.push(name.lower);
    else this.#known |= 1 << name.id;
    for (let at = 0; at < this.count; at++)
      if (this.#fields[at]!.name.lower === name.lower) {
        this.#dropAdded(name);
        return;
      }
  }

  #dropAdded({ lower }: FieldName): void {
    let kept = 0;
    for (let at = 0; at < this.count; at++) {
      const field = this.#fields[at]!;
      if (field.name.lower === lower) continue;
      this.#fields[kept] = field;
      // The lines of a block tell of all of it.
      this.#lines[kept++] = undefined;
    }
    this.count = kept;
  }

  /**
   * Removes fields that came, in whatever spelling: what was added under these names is all that there is.
   *
   * @param names see `hyphened`
   */
  reserve(names: ReadonlySet<string>): void {
    this.#reserved = names;
  }

  /** Hands on all that was added. */
  addTo(out: FieldSink): void {
    for (let at = 0; at < this.count; at++) out.added(this.#fields[at]!.name, this.#fields[at]!.value);
  }

  field(at: number): Field {
    return this.#fields[at]!;
  }

  /** What HTTP/1 writes for it, where that was known before; empty where the line of a field before it tells of it, too. */
  line(at: number): Buffer | undefined {
    return this.#lines[at];
  }

  /** A field that came is taken out. @param id of `FIELD`, not `other` */
  removesKnown(id: number): boolean {
    return (this.#known & (1 << id)) !== 0;
  }

  /** Fields without an id have to be looked at by name. */
  get removesOthers(): boolean {
    return this.#reserved !== undefined || this.#others.length > 0;
  }

  /** A field that came without an id is taken out. @param name in lower case */
  removesOther(name: string): boolean {
    return this.#others.includes(name) || this.#reserves(name);
  }

  #reserves(name: string): boolean {
    return this.#reserved?.has(hyphened(name)) ?? false;
  }

  /** What came under a name is taken out. @param name in lower case. @param id its own, of `FIELD` */
  removes(name: string, id: number): boolean {
    return id === FIELD.other ? this.removesOther(name) : this.removesKnown(id) || this.#reserves(name);
  }

  /** What routes and hashes see of the fields that were added under a name. @param name in lower case */
  added(name: string): string | undefined {
    if (this.count === 0) return undefined;
    // An identity is found in any spelling that is taken out for it.
    const spelling = this.#reserves(name) ? hyphened(name) : undefined;
    let value: string | undefined;
    for (let at = 0; at < this.count; at++) {
      const { name: named, seen } = this.#fields[at]!;
      const { lower } = named;
      if (lower !== name && (spelling === undefined || hyphened(lower) !== spelling)) continue;
      value = value === undefined ? seen : `${value}, ${seen}`;
    }
    return value;
  }

  /** What is there under a name once these are laid over a message. @param name in lower case */
  over(name: string, message: { sent(name: string): string | undefined }): string | undefined {
    const added = this.added(name);
    if (this.removes(name, FIELD_IDS[name] ?? FIELD.other)) return added;
    const sent = message.sent(name);
    if (added === undefined || sent === undefined) return sent ?? added;
    return `${sent}${name === 'cookie' ? '; ' : ', '}${added}`;
  }
}
