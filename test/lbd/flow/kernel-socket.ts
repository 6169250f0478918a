import { ATTRIBUTE, FLAG, MESSAGE } from '../../../lbd/flow/conntrack-message.ts';
import type { Flow } from '../../../lbd/flow/flow.ts';
import { DIRECT, type FlowKernel } from '../../../lbd/flow/flow-kernel.ts';
import type { NetlinkSocket, OnNetlinkMessage } from '../../../lbd/flow/netlink-socket.ts';
import { attribute, FakeKernel } from './flows.ts';

/** A way to a fake kernel, for what talks to connection tracking by netlink. */
export class KernelSocket implements NetlinkSocket {
  readonly kernel = new FakeKernel();
  readonly #found: Buffer[] = [];
  /** Requests that are not carried out yet; undefined: each is at once. */
  #held: Buffer[] | undefined;
  #onAnswers = () => {};
  #isOpen = false;

  get way(): FlowKernel {
    const open = (onAnswers: () => void) => {
      this.#onAnswers = onAnswers;
      this.#isOpen = true;
      return this;
    };
    return { ...DIRECT, open };
  }

  /** Requests wait from now on, but for those that read. */
  hold(): void {
    this.#held = [];
  }

  /** Whether a request waits. */
  get holds(): boolean {
    return this.#held !== undefined && this.#held.length > 0;
  }

  release(): void {
    for (const requests of this.#held?.splice(0) ?? []) this.#run(requests);
    this.#held = undefined;
    this.#onAnswers();
  }

  read(onMessage: OnNetlinkMessage): boolean {
    this.#tellEvents();
    for (const message of this.#found.splice(0)) if (this.#isOpen) onMessage(message, 0, message.length);
    return false;
  }

  write(requests: Buffer): void {
    const [type, sequence] = [requests.readUInt16LE(4), requests.readUInt32LE(8)];
    if (type === MESSAGE.get) {
      for (const flow of this.kernel.flows.values())
        this.#found.push(flowMessage(MESSAGE.new, FLAG.multi, flow));
      this.#found.push(message(MESSAGE.done, FLAG.multi, sequence, Buffer.alloc(4)));
    } else if (type !== MESSAGE.new && type !== MESSAGE.delete) this.#answer(sequence, 0);
    else if (this.#held === undefined) this.#run(requests);
    else this.#held.push(Buffer.from(requests));
    this.#onAnswers();
  }

  close(): void {
    this.#isOpen = false;
  }

  #run(requests: Buffer): void {
    const answers = this.kernel.run(requests);
    this.#tellEvents();
    for (const [sequence, error] of answers) this.#answer(sequence, error);
  }

  #tellEvents(): void {
    for (const { kind, flow } of this.kernel.events.splice(0))
      this.#found.push(flowMessage(kind === 'flow' ? MESSAGE.new : MESSAGE.delete, 0, flow));
  }

  #answer(sequence: number, error: number): void {
    const value = Buffer.alloc(4);
    value.writeInt32LE(-error);
    this.#found.push(message(MESSAGE.error, 0, sequence, value));
  }
}

/** A flow over IPv4 as the kernel tells it. */
function flowMessage(type: number, flags: number, flow: Flow): Buffer {
  const bytes = Buffer.from(flow.tuples, 'latin1');
  const tuple = (at: number) =>
    Buffer.concat([
      attribute(1, attribute(1, bytes.subarray(at, at + 4)), attribute(2, bytes.subarray(at + 4, at + 8))),
      attribute(
        2,
        attribute(1, bytes.subarray(0, 1)),
        attribute(2, bytes.subarray(at + 8, at + 10)),
        attribute(3, bytes.subarray(at + 10, at + 12)),
      ),
    ]);
  const word = (attributeType: number, value: number) => {
    const content = Buffer.alloc(4);
    content.writeUInt32BE(value);
    return attribute(attributeType, content);
  };
  return message(
    type,
    flags,
    0,
    Buffer.alloc(4),
    attribute(ATTRIBUTE.tupleOriginal, tuple(1)),
    attribute(ATTRIBUTE.tupleReply, tuple(13)),
    word(ATTRIBUTE.status, flow.status),
    word(ATTRIBUTE.timeout, flow.timeoutS),
    word(ATTRIBUTE.mark, flow.mark),
    attribute(ATTRIBUTE.protocolInfo, attribute(1, attribute(1, Buffer.from([flow.tcpState])))),
  );
}

function message(type: number, flags: number, sequence: number, ...content: Buffer[]): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(16), ...content]);
  bytes.writeUInt32LE(bytes.length);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(flags, 6);
  bytes.writeUInt32LE(sequence, 8);
  return bytes;
}
