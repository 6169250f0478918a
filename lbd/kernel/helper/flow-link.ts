import type { Socket } from 'node:net';
import { descriptorOf, sendDescriptor } from '../../../common/descriptors.ts';
import { RequestBatch } from '../../flow/conntrack-request.ts';
import { ConntrackSocket, conntrackDescriptor } from '../../flow/netlink-socket.ts';
import { monotonicMs } from '../../session/memory.ts';
import { admitFlows, type FlowRights, FRAME_HEAD_BYTES, MAX_RECORDS } from './flow-request.ts';
import type { Inbox } from './inbox.ts';

/** lbd reads the answers as they come; one that does not is cut off. */
const MAX_WAITING_BYTES = 1024 * 1024;
const SEQUENCE_BYTES = 4;

export interface FlowLinkOptions {
  rights(): FlowRights;
  /** Requests were refused, so many. */
  onRefused(count: number): void;
  /** It is over, and why. */
  onTrouble(error: unknown): void;
}

/**
 * Flow requests of lbd. Its own end of the socket to the kernel tells it all that the kernel says, answers to these
 * requests among it; the kernel takes requests from this process only.
 */
export class FlowLink {
  readonly #socket: Socket;
  readonly #options: FlowLinkOptions;
  readonly #kernel: ConntrackSocket;
  readonly #batch = new RequestBatch(MAX_RECORDS);

  /**
   * Opens the socket to the kernel and passes it to lbd.
   *
   * @param socket from lbd; nothing was written to it yet
   * @throws OperatorError
   */
  constructor(socket: Socket, options: FlowLinkOptions) {
    this.#socket = socket;
    this.#options = options;
    const descriptor = conntrackDescriptor();
    this.#kernel = new ConntrackSocket(descriptor);
    try {
      sendDescriptor(descriptorOf(socket), descriptor);
    } catch (error) {
      this.#kernel.close();
      throw error;
    }
    socket.once('close', () => this.#kernel.close());
  }

  /** Carries out the requests that came. */
  take(inbox: Inbox): void {
    try {
      for (let frame = inbox.frame(); frame !== undefined; frame = inbox.frame()) this.#carryOut(frame);
      if (this.#socket.writableLength > MAX_WAITING_BYTES) throw new Error('lbd does not read the answers');
    } catch (error) {
      this.#options.onTrouble(error);
      this.close();
    }
  }

  close(): void {
    this.#socket.destroy();
    this.#kernel.close();
  }

  #carryOut(records: Buffer): void {
    const refused = admitFlows(records, this.#options.rights(), monotonicMs(), this.#batch);
    if (this.#batch.count > 0) this.#kernel.write(this.#batch.take());
    if (refused.length > 0) this.#options.onRefused(refused.length);
    // The kernel's answers are where lbd reads them; this tells that, and whom the kernel never saw.
    const answer = Buffer.alloc(FRAME_HEAD_BYTES + refused.length * SEQUENCE_BYTES);
    answer.writeUInt32LE(refused.length * SEQUENCE_BYTES);
    for (const [i, sequence] of refused.entries())
      answer.writeUInt32LE(sequence, FRAME_HEAD_BYTES + i * SEQUENCE_BYTES);
    this.#socket.write(answer);
  }
}
