import type { FilterProgram } from '../common/socket-filter.ts';

/**
 * One way by which heartbeats travel to the peer: a pair of sockets, or a link that somebody else keeps. Whatever comes
 * in by it is judged by the same code, so it need not be trusted.
 */
export interface Lane {
  /** As people see it. */
  readonly name: string;
  /** It leads to the peer's own address, so that somebody else can send there for this process. */
  readonly unicast: boolean;
  /** Why it does not work; undefined when it does. */
  readonly why: string | undefined;
  /** Settles when it is open or has failed; it heals itself. */
  open(): Promise<void>;
  /** @returns whether the datagram was taken; settles late or never where the lane stalls, and never rejects */
  send(data: Buffer): Promise<boolean>;
  /**
   * Has the kernel drop what a program does not take; undefined: nothing. Stays for sockets that are opened later.
   *
   * @returns what went wrong
   */
  filter?(program: FilterProgram | undefined): string | undefined;
  /** Tries at once what waits for its next try; one that needs no interface has nothing to try. */
  retry?(): void;
  close(): Promise<void>;
}

export interface LaneEvents {
  /**
   * Called for each datagram, whoever sent it. Must not wait: meanwhile datagrams are lost.
   *
   * @param from address of the sender, as far as the lane knows it
   */
  onDatagram(data: Buffer, from: string | undefined): void;
  /** The peer's host says that nobody listens at the other end. */
  onRefused(roundTripMs: number): void;
  /**
   * It failed with this cause, or works (again): undefined. Called on change only; with the number of changes where it
   * flaps.
   */
  onState(why: string | undefined, changes?: number): void;
}
