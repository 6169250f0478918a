import type net from 'node:net';
import type { Timed } from '../deadlines.ts';
import type { Frontend } from '../frontend.ts';
import type { Pool } from '../pool.ts';
import { type ByteSink, clientAddress } from '../raw-socket.ts';
import { MAX_HELLO_BYTES, readClientHello } from './client-hello.ts';

/** RFC 6066 section 3: a fatal alert unrecognized_name (112), before any version is agreed on. */
const UNRECOGNIZED_NAME = Buffer.of(21, 3, 1, 0, 2, 2, 112);
/** What the access log says. */
const LOGGED = {
  refused_400: 'bad_request',
  refused_408: 'head_timeout',
  refused_other: 'no_route',
} as const;
/** So long a client may take to read it. */
const LINGER_MS = 1000;

type Owned = net.Socket & { helloPeek?: HelloPeek };

/** What becomes of a connection whose ClientHello was waited for. */
export interface PeekResult {
  /** Makes what handles the connection; it gets all bytes read so far. */
  connect(pool: Pool): ByteSink;
  /** Nobody serves it: once, with the cause. The frontend has been left. */
  refused(cause: string): void;
}

/** Reads the ClientHello of a connection for its server name, then hands on every byte to the pool's connection. */
export class HelloPeek implements ByteSink, Timed {
  deadline: number;
  listed = -1;
  readonly #socket: net.Socket;
  readonly #frontend: Frontend;
  readonly #result: PeekResult;
  #bytes: Buffer = Buffer.alloc(0);
  #sink: ByteSink | undefined;
  #over = false;

  /** @param socket paused; counted in on the frontend */
  constructor(socket: net.Socket, frontend: Frontend, result: PeekResult) {
    this.#socket = socket;
    this.#frontend = frontend;
    this.#result = result;
    (socket as Owned).helloPeek = this;
    const { deadlines } = frontend.context;
    this.deadline = deadlines.in(frontend.config.timeouts.headMs);
    deadlines.add(this);
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('close', onClose);
    socket.resume();
  }

  onBytes(buffer: Buffer, length: number): void {
    if (this.#sink !== undefined) {
      this.#sink.onBytes(buffer, length);
      return;
    }
    if (this.#over) return;
    this.#bytes = Buffer.concat([this.#bytes, buffer.subarray(0, length)]);
    const hello = readClientHello(this.#bytes.subarray(0, MAX_HELLO_BYTES));
    if (hello.kind === 'more') return;
    if (hello.kind === 'fault') {
      this.#refuse('refused_400', hello.fault);
      return;
    }
    const pool = this.#frontend.poolForName(hello.serverName);
    if (pool === undefined) {
      const cause =
        hello.serverName === '' ? 'no server name, and no pool for that' : 'no route for the server name';
      this.#refuse('refused_other', cause, UNRECOGNIZED_NAME);
      return;
    }
    this.#stop();
    this.#socket.pause();
    this.#sink = this.#result.connect(pool);
    this.#sink.onBytes(this.#bytes, this.#bytes.length);
    this.#bytes = Buffer.alloc(0);
  }

  onDeadline(): void {
    if (this.#over) this.#socket.destroy();
    else this.#refuse('refused_408', 'the ClientHello took too long');
  }

  onEnd(): void {
    this.#refuse('refused_400', 'the connection ended within the ClientHello');
  }

  onClose(): void {
    if (!this.#over) this.#refuse('refused_400', 'the connection broke within the ClientHello');
    this.#frontend.context.deadlines.remove(this);
  }

  #refuse(counter: 'refused_400' | 'refused_408' | 'refused_other', cause: string, alert?: Buffer): void {
    this.#frontend.logRefusal(clientAddress(this.#socket), LOGGED[counter], 0);
    this.#over = true;
    this.#socket.off('end', onEnd);
    this.#frontend.count(counter, 1);
    this.#frontend.leave();
    this.#result.refused(cause);
    // What a client is still sending would turn a close into a reset, and the alert would be lost in it.
    this.deadline = this.#frontend.context.deadlines.in(LINGER_MS);
    this.#socket.once('end', destroySoon);
    if (alert === undefined) this.#socket.end();
    else this.#socket.end(alert);
  }

  #stop(): void {
    this.#over = true;
    this.#socket.off('end', onEnd);
    this.#socket.off('close', onClose);
    this.#frontend.context.deadlines.remove(this);
  }
}

function onEnd(this: Owned): void {
  this.helloPeek!.onEnd();
}
function onError(this: Owned): void {
  // 'close' follows and does what is to be done; without a listener an error would end the thread.
}
function onClose(this: Owned): void {
  this.helloPeek!.onClose();
}
function destroySoon(this: Owned): void {
  this.destroySoon();
}
