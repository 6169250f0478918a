import type net from 'node:net';
import { messageOf } from '../common/errors.ts';
import { DirectReader } from './direct-read.ts';
import { DirectWriter } from './direct-write.ts';
import { HoldBack } from './hold-back.ts';
import { readBuffer } from './read-buffer.ts';
import { RelaySocket } from './relay-socket.ts';
import { newTurn } from './turn-clock.ts';

/** Of this thread. */
let held: HoldBack | undefined;
let reader: DirectReader | undefined;

/**
 * Prepares this thread to read and write beside Node, where its sockets allow it.
 *
 * @returns why that is not possible, and Node does all of it, which costs more; empty: it is
 */
export function beginDirectIo(): string {
  try {
    reader = new DirectReader(readBuffer());
    held = new HoldBack((buffer) => new DirectWriter(buffer), readMore);
    return '';
  } catch (error) {
    reader = undefined;
    held = new HoldBack();
    return messageOf(error);
  }
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

/** A connection has been used more than once, so that it is worth while to read from it beside Node. */
export function readSoon(socket: net.Socket): void {
  if (reader !== undefined && socket instanceof RelaySocket && socket.reader === undefined)
    reader.watch(socket);
}
