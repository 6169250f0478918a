import type net from 'node:net';
import type { ByteSink } from '../../io/byte-sink.ts';
import type { Deadlines, Timed } from '../../io/deadlines.ts';
import type { Refusal } from '../../log/refusal.ts';
import { refusalAnswer } from '../own-answer.ts';
import { lastAnswerText } from './own-answer.ts';

/** So long a client that was turned away may take to read why. */
const LINGER_MS = 1_000;

/**
 * Answers a client that may not enter, and waits for its end: a close with a request unread would be a reset, and the answer
 * would be lost in it.
 */
export class TurnedAway implements ByteSink, Timed {
  deadline: number;
  listed = -1;
  readonly #socket: net.Socket;

  constructor(socket: net.Socket, deadlines: Deadlines, refusal: Refusal) {
    this.#socket = socket;
    this.deadline = deadlines.in(LINGER_MS);
    deadlines.add(this);
    socket.on('error', ignore);
    socket.once('end', () => socket.destroySoon());
    socket.once('close', () => deadlines.remove(this));
    socket.end(lastAnswerText(refusalAnswer(refusal, '')), 'latin1');
    socket.resume();
  }

  onBytes(): void {
    // A request that nobody will answer.
  }

  onDeadline(): void {
    this.#socket.destroy();
  }
}

/** Without a listener an error would end the thread; 'close' follows it. */
function ignore(): void {}
