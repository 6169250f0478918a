import { OperatorError } from '../../../common/errors.ts';
import { MESSAGE } from '../../flow/conntrack-message.ts';
import type { FlowKernel } from '../../flow/flow-kernel.ts';
import {
  ConntrackSocket,
  NETLINK_HEAD,
  type NetlinkSocket,
  type OnNetlinkMessage,
} from '../../flow/netlink-socket.ts';
import type { HelperClient, HelperFlows } from './client.ts';
import { TypedBatch } from './flow-request.ts';
import { Inbox } from './inbox.ts';

const EPERM = 1;
const ANSWER_BYTES = NETLINK_HEAD + 4;

/** The kernel's connection tracking, for a process that may not ask it: the helper does, and the answers come here. */
export function remoteFlows(client: HelperClient): FlowKernel {
  return {
    open: async (onAnswers) => new RemoteFlows(await client.openFlows(), onAnswers),
    newBatch: (capacity) => new TypedBatch(capacity),
  };
}

class RemoteFlows implements NetlinkSocket {
  readonly #flows: HelperFlows;
  readonly #kernel: ConntrackSocket;
  /** Of requests that the helper refused: their answers come after all that the kernel has said by then. */
  readonly #refused: number[] = [];
  #trouble: string | undefined;
  #closed = false;

  constructor(flows: HelperFlows, onAnswers: () => void) {
    this.#flows = flows;
    this.#kernel = new ConntrackSocket(flows.descriptor);
    const inbox = new Inbox();
    const end = (why: string) => {
      this.#trouble ??= why;
      onAnswers();
    };
    const { requests } = flows;
    requests.on('data', (chunk: Buffer) => {
      inbox.push(chunk);
      try {
        for (let frame = inbox.frame(); frame !== undefined; frame = inbox.frame())
          for (let at = 0; at + 4 <= frame.length; at += 4) this.#refused.push(frame.readUInt32LE(at));
        onAnswers();
      } catch (error) {
        end(`the helper says what cannot be read: ${(error as Error).message}`);
      }
    });
    requests.once('close', () => end('the helper of the kernel engine has ended'));
    requests.resume();
    if (requests.destroyed) end('the helper of the kernel engine has ended');
  }

  read(onMessage: OnNetlinkMessage): boolean {
    if (this.#closed) return false;
    if (this.#kernel.read(onMessage)) return true;
    for (const sequence of this.#refused.splice(0)) if (!this.#closed) onMessage(...refusal(sequence));
    if (this.#trouble !== undefined && !this.#closed) throw new OperatorError('KERNEL_HELPER', this.#trouble);
    return false;
  }

  write(requests: Buffer): void {
    if (this.#trouble !== undefined) throw new OperatorError('KERNEL_HELPER', this.#trouble);
    // The batch uses its buffer again.
    this.#flows.requests.write(Buffer.copyBytesFrom(requests));
  }

  close(): void {
    this.#closed = true;
    this.#flows.requests.destroy();
    this.#kernel.close();
  }
}

/** What the kernel would say of a request that it does not carry out for us. */
function refusal(sequence: number): [bytes: Buffer, at: number, end: number] {
  const bytes = Buffer.alloc(ANSWER_BYTES);
  bytes.writeUInt32LE(ANSWER_BYTES);
  bytes.writeUInt16LE(MESSAGE.error, 4);
  bytes.writeUInt32LE(sequence, 8);
  bytes.writeInt32LE(-EPERM, NETLINK_HEAD);
  return [bytes, 0, ANSWER_BYTES];
}
