import type net from 'node:net';
import { messageOf } from '../../common/errors.ts';
import type { Holdings } from '../../common/holdings.ts';
import { DirectReader } from './direct-read.ts';
import { DirectWriter } from './direct-write.ts';
import { HoldBack, type TurnWork } from './hold-back.ts';
import { readBuffer } from './read-buffer.ts';
import { RelaySocket } from './relay-socket.ts';
import { Ring } from './ring.ts';
import { newTurn } from './turn-clock.ts';

/** Of this thread. */
let held: HoldBack | undefined;
let reader: DirectReader | undefined;
let rings: readonly Ring[] = [];

/**
 * Prepares this thread to read and write beside Node, where its sockets allow it.
 *
 * @param isWanted as `direct_io` of the config says
 * @param newRing for tests
 * @returns what is wanted and not possible, and why, as what the thread does instead, which costs more; empty: nothing
 */
export function beginDirectIo(isWanted = true, newRing = () => new Ring()): string {
  if (!isWanted) {
    leaveToNode();
    return '';
  }
  try {
    const [reads, writes, trouble] = makeRings(newRing);
    rings = [reads, writes].filter((ring) => ring !== undefined);
    reader = new DirectReader(readBuffer(), reads);
    held = new HoldBack((buffer) => new DirectWriter(buffer, writes), readMore);
    return trouble;
  } catch (error) {
    leaveToNode();
    return `leaves all reading and writing to Node: ${messageOf(error)}`;
  }
}

function leaveToNode(): void {
  for (const ring of rings) ring.close();
  rings = [];
  reader = undefined;
  held = new HoldBack();
}

/** @returns one to read and one to write, as one may be used while the other's results are looked at; or why there are none */
function makeRings(
  newRing: () => Ring,
): [reads: Ring | undefined, writes: Ring | undefined, trouble: string] {
  let first: Ring | undefined;
  try {
    first = newRing();
    return [first, newRing(), ''];
  } catch (error) {
    first?.close();
    return [undefined, undefined, `makes a system call for each message: ${messageOf(error)}`];
  }
}

/** What is to be given back when this thread has ended, however it did. */
export function holdings(): Holdings {
  const parts = rings.map((ring) => ring.holdings);
  return {
    descriptors: [
      ...(reader === undefined ? [] : [reader.epoll]),
      ...parts.flatMap(({ descriptors }) => descriptors),
    ],
    maps: parts.flatMap(({ maps }) => maps),
  };
}

function readMore(): number {
  newTurn();
  return reader!.round();
}

/**
 * Writes bytes that are valid only now to a socket, at the end of this turn of the event loop.
 *
 * @returns as `write` of a socket: false where it has to wait for `drain`
 */
export function writeSoon(socket: net.Socket, from: Buffer, start: number, length: number): boolean {
  if (held === undefined) beginDirectIo();
  return held!.add(socket, from, start, length);
}

/** Has something done at the end of this turn of the event loop, before what `writeSoon` holds back leaves. */
export function atTurnEnd(work: TurnWork): void {
  if (held === undefined) beginDirectIo();
  held!.atEnd(work);
}

/** A connection has been used more than once, so that it is worth while to read from it beside Node. */
export function readSoon(socket: net.Socket): void {
  if (reader !== undefined && socket instanceof RelaySocket && socket.reader === undefined)
    reader.watch(socket);
}
