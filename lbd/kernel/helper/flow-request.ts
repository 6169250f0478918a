import type { FlowBatch, FlowWrite } from '../../flow/conntrack-request.ts';
import { KEY_CHARS_IPV4, KEY_CHARS_IPV6, protocolOf, STATUS, TCP, UDP } from '../../flow/flow.ts';
import { MAX_TIMEOUT_S } from '../../flow/flow-frame.ts';
import { FlowScope } from '../../flow/flow-scope.ts';
import type { KernelFrontend } from '../../flow/kernel-frontend.ts';
import { MalformedRequest } from './requests.ts';

/** What a record asks for. */
const OPERATION = { insert: 1, update: 2, delete: 3, dump: 4, nothing: 5 } as const;
type Operation = (typeof OPERATION)[keyof typeof OPERATION];
const LAST_OPERATION = OPERATION.nothing;

/**
 * Head of a record: operation, length of what follows, status, status that it has, sequence, mark, bits of the mark, life in
 * seconds; numbers of four bytes, little-endian. Then the tuples or the key of a flow.
 */
const HEAD = {
  operation: 0,
  length: 1,
  status: 2,
  has: 3,
  sequence: 4,
  mark: 8,
  marks: 12,
  timeout: 16,
} as const;
const HEAD_BYTES = 20;
const [TUPLE_CHARS_IPV4, TUPLE_CHARS_IPV6] = [25, 73];

/** Before the records of a frame stands their length in bytes, in four. */
export const FRAME_HEAD_BYTES = 4;
/** Records of one frame, as many as a batch of lbd has. */
export const MAX_RECORDS = 256;
export const MAX_FRAME_BYTES = MAX_RECORDS * (HEAD_BYTES + TUPLE_CHARS_IPV6);

/** Requests for the helper, in one frame. */
export class TypedBatch implements FlowBatch {
  readonly #buffer: Buffer;
  readonly #capacity: number;
  #count = 0;
  #at = FRAME_HEAD_BYTES;

  /** @param capacity most requests in a batch, up to MAX_RECORDS */
  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#buffer = Buffer.alloc(FRAME_HEAD_BYTES + capacity * (HEAD_BYTES + TUPLE_CHARS_IPV6));
  }

  get count(): number {
    return this.#count;
  }

  get room(): number {
    return this.#capacity - this.#count;
  }

  insert(sequence: number, flow: FlowWrite): void {
    this.#add(OPERATION.insert, sequence, flow.tuples, flow);
  }

  update(sequence: number, flow: FlowWrite, has: number, marks: number): void {
    this.#add(OPERATION.update, sequence, flow.tuples, flow, has, marks);
  }

  delete(sequence: number, tuples: string): void {
    this.#add(OPERATION.delete, sequence, tuples);
  }

  dump(sequence: number): void {
    this.#add(OPERATION.dump, sequence, '');
  }

  nothing(sequence: number): void {
    this.#add(OPERATION.nothing, sequence, '');
  }

  take(): Buffer {
    const bytes = this.#buffer.subarray(0, this.#at);
    bytes.writeUInt32LE(this.#at - FRAME_HEAD_BYTES);
    this.#count = 0;
    this.#at = FRAME_HEAD_BYTES;
    return bytes;
  }

  #add(operation: Operation, sequence: number, tuples: string, flow?: FlowWrite, has = 0, marks = 0): void {
    const [buffer, at] = [this.#buffer, this.#at];
    buffer[at + HEAD.operation] = operation;
    buffer[at + HEAD.length] = tuples.length;
    buffer[at + HEAD.status] = (flow?.status ?? 0) & TOLD;
    buffer[at + HEAD.has] = has & TOLD;
    buffer.writeUInt32LE(sequence, at + HEAD.sequence);
    buffer.writeUInt32LE((flow?.mark ?? 0) >>> 0, at + HEAD.mark);
    buffer.writeUInt32LE(marks >>> 0, at + HEAD.marks);
    buffer.writeUInt32LE(flow?.timeoutS ?? 0, at + HEAD.timeout);
    buffer.latin1Write(tuples, at + HEAD_BYTES);
    this.#at += HEAD_BYTES + tuples.length;
    this.#count++;
  }
}

/** Bits of a status that one node tells the other. */
const TOLD = STATUS.seenReply | STATUS.assured;

/** What lbd may do to flows, by the config. */
export interface FlowRights {
  /** A flow of any of them is ours. */
  readonly scopes: readonly FlowScope[];
  /** Bits of marks that may be set. */
  readonly marks: number;
}

/** lbd goes by the former config until it hears that the next one is in force, which takes a transaction or two. */
const FORMER_MS = 10_000;

/** The rights of now, which for a while are also those of just before. */
export class RecentRights {
  #scope = new FlowScope([]);
  #marks = 0;
  #former: FlowRights = { scopes: [], marks: 0 };
  #formerUntilMs = 0;

  /** @param frontends that the kernel has from now on @param marks bits of marks that may be set @param nowMs monotonic */
  change(frontends: readonly KernelFrontend[], marks: number, nowMs: number): void {
    this.#former = { scopes: [this.#scope], marks: this.#marks };
    this.#formerUntilMs = nowMs + FORMER_MS;
    this.#scope = new FlowScope(frontends, this.#scope, nowMs);
    this.#marks = marks;
  }

  at(nowMs: number): FlowRights {
    const { scopes, marks } = nowMs < this.#formerUntilMs ? this.#former : { scopes: [], marks: 0 };
    return { scopes: [this.#scope, ...scopes], marks: (this.#marks | marks) >>> 0 };
  }
}

/**
 * Hands the requests of a frame on to a batch for the kernel, as far as they are about flows of ours.
 *
 * @param records without the head of the frame
 * @param into has room for all
 * @returns sequence numbers of those that are not
 * @throws MalformedRequest where it is no such frame; what was handed on until then must not be sent
 */
export function admitFlows(records: Buffer, rights: FlowRights, nowMs: number, into: FlowBatch): number[] {
  const refused: number[] = [];
  let count = 0;
  for (let at = 0; at < records.length; count++) {
    const length = at + HEAD_BYTES <= records.length ? records[at + HEAD.length]! : -1;
    const end = at + HEAD_BYTES + length;
    if (length < 0 || end > records.length || count === MAX_RECORDS)
      throw new MalformedRequest('flow requests with a wrong length');
    const sequence = records.readUInt32LE(at + HEAD.sequence);
    if (!admit(records, at, records.latin1Slice(at + HEAD_BYTES, end), rights, nowMs, into))
      refused.push(sequence);
    at = end;
  }
  if (count === 0) throw new MalformedRequest('no flow request in a frame');
  return refused;
}

/** @returns whether it was handed on */
function admit(
  records: Buffer,
  at: number,
  tuples: string,
  { scopes, marks: allowed }: FlowRights,
  nowMs: number,
  into: FlowBatch,
): boolean {
  const operation = records[at + HEAD.operation]!;
  const sequence = records.readUInt32LE(at + HEAD.sequence);
  if (operation < OPERATION.insert || operation > LAST_OPERATION)
    throw new MalformedRequest('a flow request of no type that there is');
  if (operation === OPERATION.dump || operation === OPERATION.nothing) {
    if (tuples !== '') throw new MalformedRequest('a flow where none belongs');
    if (operation === OPERATION.dump) into.dump(sequence);
    else into.nothing(sequence);
    return true;
  }
  const isKey = operation === OPERATION.delete;
  const lengths = isKey ? [KEY_CHARS_IPV4, KEY_CHARS_IPV6] : [TUPLE_CHARS_IPV4, TUPLE_CHARS_IPV6];
  if (!lengths.includes(tuples.length)) throw new MalformedRequest('a flow of a wrong length');
  const protocol = protocolOf(tuples);
  if (protocol !== TCP && protocol !== UDP) return false;
  if (isKey) {
    const key = Buffer.from(tuples, 'latin1');
    if (!scopes.some((scope) => scope.has(key, key.length))) return false;
    into.delete(sequence, tuples);
    return true;
  }
  const [status, has] = [records[at + HEAD.status]!, records[at + HEAD.has]!];
  const mark = records.readUInt32LE(at + HEAD.mark);
  const marks = records.readUInt32LE(at + HEAD.marks);
  const timeoutS = records.readUInt32LE(at + HEAD.timeout);
  const fits = ((status | has) & ~TOLD) === 0 && ((mark | marks) & ~allowed) === 0;
  if (
    !fits ||
    timeoutS === 0 ||
    timeoutS > MAX_TIMEOUT_S ||
    !scopes.some((scope) => scope.allows(tuples, nowMs))
  )
    return false;
  const flow = { tuples, mark, status, timeoutS };
  if (operation === OPERATION.insert) into.insert(sequence, flow);
  else into.update(sequence, flow, has, marks);
  return true;
}
