import { FLAG, MESSAGE } from '../../../lbd/flow/conntrack-message.ts';
import type { Flow } from '../../../lbd/flow/flow.ts';
import { addressBytes } from '../../../lbd/flow/flow-scope.ts';
import type { KernelFrontend } from '../../../lbd/flow/kernel-frontend.ts';

export const VIP = '10.0.0.100';
export const VIP6 = 'fd00::100';

/** Frontends of TCP at port 80 and UDP at port 53, with two backends each. */
export const FRONTENDS: readonly KernelFrontend[] = (
  [
    ['web', 'tcp', 80],
    ['dns', 'udp', 53],
  ] as const
).map(([name, protocol, port]) => ({
  name,
  protocol,
  ports: [[port, port]],
  addresses: [VIP, VIP6],
  backends: [
    { name: 's1', address: '10.0.0.21', port },
    { name: 's2', address: '10.0.0.22', port },
    { name: 's6', address: 'fd00::21', port },
  ],
}));

const port = (number: number) => String.fromCharCode(number >> 8, number & 255);

/** `10.0.0.1:80` or `[fd00::1]:80` as latin1 bytes. */
function end(text: string): [address: string, port: string] {
  const at = text.lastIndexOf(':');
  return [addressBytes(text.slice(0, at).replaceAll(/[[\]]/g, ''))!, port(Number(text.slice(at + 1)))];
}

/** Tuples of a flow: who came to whom, and between whom its answers go. */
export function tuplesOf(
  protocol: 'tcp' | 'udp',
  client: string,
  service: string,
  backend: string,
  translated = client,
): string {
  const [[a, ap], [b, bp], [c, cp], [d, dp]] = [end(client), end(service), end(backend), end(translated)];
  return String.fromCharCode(protocol === 'tcp' ? 6 : 17) + a + b + ap + bp + c + d + cp + dp;
}

/** An established flow from 10.1.0.x to the frontend `web`. */
export function webFlow(number: number, backend = '10.0.0.21:80'): Flow {
  const client = `10.1.${number >> 8}.${number & 255}:4000`;
  const tuples = tuplesOf('tcp', client, `${VIP}:80`, backend, `${VIP}:${10_000 + number}`);
  return { tuples, mark: 0, status: 14, tcpState: 3, timeoutS: 432_000 };
}

/** A request as the kernel understands it. */
export interface ReadRequest {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** With the translations applied; of an update or a deletion only the original direction. */
  readonly tuples: string;
  readonly words: ReadonlyMap<number, number>;
  readonly tcpInfo: ReadonlyMap<number, number>;
}

/** Reads a batch as the kernel does, but with another program than the one that wrote it. */
export function readRequests(bytes: Buffer): ReadRequest[] {
  const requests: ReadRequest[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    requests.push(readRequest(bytes.subarray(at, at + length)));
    at += (length + 3) & ~3;
  }
  return requests;
}

function readRequest(message: Buffer): ReadRequest {
  const top = attributes(message.subarray(20));
  const original = top.get(1) && tuple(top.get(1)!);
  const reply = top.get(2) && tuple(top.get(2)!);
  for (const [type, address, portAt] of [
    [13, 0, 2],
    [6, 1, 3],
  ] as const) {
    const range = top.get(type) && attributes(top.get(type)!);
    if (reply === undefined || range === undefined) continue;
    reply[address] = (range.get(1) ?? range.get(4))!.toString('latin1');
    reply[portAt] = attributes(range.get(3)!).get(1)!.toString('latin1');
  }
  const words = [...top].filter(([, value]) => value.length === 4);
  const tcp = top.get(4) && attributes(attributes(top.get(4)!).get(1)!);
  return {
    type: message.readUInt16LE(4),
    flags: message.readUInt16LE(6),
    sequence: message.readUInt32LE(8),
    tuples:
      original === undefined
        ? ''
        : original[4] + original.slice(0, 4).join('') + (reply?.slice(0, 4).join('') ?? ''),
    words: new Map(words.map(([type, value]) => [type, value.readUInt32BE()])),
    tcpInfo: new Map([...(tcp ?? [])].map(([type, value]) => [type, value.readUIntBE(0, value.length)])),
  };
}

/** Source, destination, their ports, protocol. */
function tuple(bytes: Buffer): [string, string, string, string, string] {
  const [ip, protocol] = [attributes(attributes(bytes).get(1)!), attributes(attributes(bytes).get(2)!)];
  const text = (value: Buffer | undefined) => value!.toString('latin1');
  return [
    text(ip.get(1) ?? ip.get(3)),
    text(ip.get(2) ?? ip.get(4)),
    text(protocol.get(2)),
    text(protocol.get(3)),
    text(protocol.get(1)),
  ];
}

function attributes(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4) throw new Error(`an attribute of ${length} bytes`);
    found.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

/** A netlink attribute of that type; the type of nested ones has its bit set. */
export function attribute(type: number, ...parts: Buffer[]): Buffer {
  const value = Buffer.concat(parts);
  const bytes = Buffer.alloc((4 + value.length + 3) & ~3);
  bytes.writeUInt16LE(4 + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(value, 4);
  return bytes;
}

/** What a kernel does with a batch: changes its flows, tells of that, and answers as it was asked to. */
export class FakeKernel {
  readonly flows = new Map<string, Flow>();
  /** Told as events, in order. */
  readonly events: { readonly kind: 'flow' | 'gone'; readonly flow: Flow }[] = [];
  /** Requests that carry an error in the place of their effect; the number of inserts left is how full it is. */
  room = Number.POSITIVE_INFINITY;

  set(flow: Flow): void {
    this.flows.set(keyChars(flow.tuples), flow);
    this.events.push({ kind: 'flow', flow });
  }

  remove(key: string): boolean {
    const flow = this.flows.get(key);
    if (flow === undefined) return false;
    this.flows.delete(key);
    this.events.push({ kind: 'gone', flow });
    return true;
  }

  /** @returns the answers: sequence and error number */
  run(batch: Buffer): [sequence: number, error: number][] {
    const answers: [number, number][] = [];
    for (const request of readRequests(batch)) {
      const error = this.#one(request);
      if (error !== 0 || request.flags & FLAG.ack) answers.push([request.sequence, error]);
    }
    return answers;
  }

  #one({ type, flags, tuples, words, tcpInfo }: ReadRequest): number {
    const [key, timeoutS] = [keyChars(tuples), words.get(7) ?? 0];
    const known = this.flows.get(key);
    if (type === MESSAGE.delete) return this.remove(key) ? 0 : 2;
    const mark = words.get(8) ?? 0;
    if ((flags & FLAG.create) === 0) {
      if (known === undefined) return 2;
      this.set({ ...known, timeoutS, mark, status: known.status | words.get(3)! });
      return 0;
    }
    if (known !== undefined) return 95;
    if (this.flows.size >= this.room) return 12;
    this.set({ tuples, mark, status: words.get(3)!, tcpState: tcpInfo.get(1) ?? 0, timeoutS });
    return 0;
  }
}

function keyChars(tuples: string): string {
  return tuples.slice(0, tuples.length > 26 ? 37 : 13);
}
