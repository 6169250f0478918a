import type net from 'node:net';
import type { ByteSink } from '../io/byte-sink.ts';
import type { Timed } from '../io/deadlines.ts';
import type { Frontend } from './frontend.ts';

type Owned = net.Socket & { preface?: Preface };

/**
 * Waits for what stands before a connection's own bytes, such as a PROXY header, for as long as the frontend waits for a
 * head. Then every byte goes to what the connection is.
 */
export abstract class Preface implements ByteSink, Timed {
  deadline: number;
  listed = -1;
  protected readonly socket: net.Socket;
  protected readonly frontend: Frontend;
  /** Gets the bytes from now on; undefined: they are the preface's. */
  protected sink: ByteSink | undefined;

  /** @param socket paused */
  constructor(socket: net.Socket, frontend: Frontend) {
    this.socket = socket;
    this.frontend = frontend;
    (socket as Owned).preface = this;
    const { deadlines } = frontend.context;
    this.deadline = deadlines.in(frontend.config.timeouts.headMs);
    deadlines.add(this);
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('close', onClose);
    socket.resume();
  }

  onBytes(buffer: Buffer, length: number): void {
    if (this.sink !== undefined) this.sink.onBytes(buffer, length);
    else this.read(buffer, length);
  }

  /** Bytes of the preface, or of what stands behind it. */
  protected abstract read(buffer: Buffer, length: number): void;
  abstract onDeadline(): void;
  /** The client ended its side. */
  abstract onEnd(): void;
  abstract onClose(): void;

  /** The end of the client's side is nobody's business here any more. */
  protected ignoreEnd(): void {
    this.socket.off('end', onEnd);
  }

  /** It is complete, or never will be: the socket belongs to somebody else. */
  protected release(): void {
    this.ignoreEnd();
    this.socket.off('close', onClose);
    this.frontend.context.deadlines.remove(this);
  }
}

function onEnd(this: Owned): void {
  this.preface!.onEnd();
}
function onError(this: Owned): void {
  // 'close' follows and does what is to be done; without a listener an error would end the thread.
}
function onClose(this: Owned): void {
  this.preface!.onClose();
}
