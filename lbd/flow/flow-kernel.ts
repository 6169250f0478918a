import { type FlowBatch, RequestBatch } from './conntrack-request.ts';
import { type NetlinkSocket, openConntrack } from './netlink-socket.ts';

/** A way to the kernel's connection tracking. */
export interface FlowKernel {
  /**
   * Opens a socket whose writes take what batches of `newBatch` have taken.
   *
   * @param onAnswers called when answers of the kernel to what was written can be read
   * @throws OperatorError, or rejects with it
   */
  open(onAnswers: () => void): NetlinkSocket | Promise<NetlinkSocket>;
  /** @param capacity most requests in it */
  newBatch(capacity: number): FlowBatch;
}

/** By this process itself, which needs CAP_NET_ADMIN. */
export const DIRECT: FlowKernel = { open: openConntrack, newBatch: (capacity) => new RequestBatch(capacity) };
