import type net from 'node:net';
import type { Pool } from '../dispatch/pool.ts';
import type { ByteSink } from '../io/byte-sink.ts';
import type { Cause } from '../log/cause.ts';
import { MAX_HELLO_BYTES, readClientHello } from '../tls/client-hello.ts';
import type { Frontend } from './frontend.ts';
import { Preface } from './preface.ts';

/** RFC 6066 section 3: a fatal alert unrecognized_name (112), before any version is agreed on. */
const UNRECOGNIZED_NAME = Buffer.of(21, 3, 1, 0, 2, 2, 112);
/** How a connection without a pool is counted, and what the access log says. */
type Fault = Readonly<{ counter: 'refused_400' | 'refused_408' | 'refused_other'; cause: Cause }>;
const BAD_HELLO: Fault = { counter: 'refused_400', cause: 'bad_request' };
const HELLO_TIMEOUT: Fault = { counter: 'refused_408', cause: 'head_timeout' };
const NO_NAME: Fault = { counter: 'refused_other', cause: 'no_route' };
/** So long a client may take to read it. */
const LINGER_MS = 1000;

/** What becomes of a connection whose ClientHello was waited for. */
export interface PeekResult {
  /** Makes what handles the connection; it gets all bytes read so far. */
  connect(pool: Pool): ByteSink;
  /** Nobody serves it: once, with the cause. The frontend has been left. */
  refused(cause: string): void;
}

/** Reads the ClientHello of a connection for its server name, then hands on every byte to the pool's connection. */
export class HelloPeek extends Preface {
  readonly #client: string;
  readonly #result: PeekResult;
  #bytes: Buffer = Buffer.alloc(0);
  #over = false;

  /**
   * @param socket paused; counted in on the frontend
   * @param client its address
   */
  constructor(socket: net.Socket, frontend: Frontend, client: string, result: PeekResult) {
    super(socket, frontend);
    this.#client = client;
    this.#result = result;
  }

  protected read(buffer: Buffer, length: number): void {
    if (this.#over) return;
    this.#bytes = Buffer.concat([this.#bytes, buffer.subarray(0, length)]);
    const hello = readClientHello(this.#bytes.subarray(0, MAX_HELLO_BYTES));
    if (hello.kind === 'more') return;
    if (hello.kind === 'fault') {
      this.#refuse(BAD_HELLO, hello.fault);
      return;
    }
    const pool = this.frontend.poolForName(hello.serverName);
    if (pool === undefined) {
      const text =
        hello.serverName === '' ? 'no server name, and no pool for that' : 'no route for the server name';
      this.#refuse(NO_NAME, text, UNRECOGNIZED_NAME);
      return;
    }
    this.#stop();
    this.socket.pause();
    this.sink = this.#result.connect(pool);
    this.sink.onBytes(this.#bytes, this.#bytes.length);
    this.#bytes = Buffer.alloc(0);
  }

  onDeadline(): void {
    if (this.#over) this.socket.destroy();
    else this.#refuse(HELLO_TIMEOUT, 'the ClientHello took too long');
  }

  onEnd(): void {
    this.#refuse(BAD_HELLO, 'the connection ended within the ClientHello');
  }

  onClose(): void {
    if (!this.#over) this.#refuse(BAD_HELLO, 'the connection broke within the ClientHello');
    this.frontend.context.deadlines.remove(this);
  }

  #refuse({ counter, cause }: Fault, text: string, alert?: Buffer): void {
    this.frontend.logRefusal(this.#client, cause, 0);
    this.#over = true;
    this.ignoreEnd();
    this.frontend.count(counter, 1);
    this.frontend.leave();
    this.#result.refused(text);
    // What a client is still sending would turn a close into a reset, and the alert would be lost in it.
    this.deadline = this.frontend.context.deadlines.in(LINGER_MS);
    this.socket.once('end', destroySoon);
    if (alert === undefined) this.socket.end();
    else this.socket.end(alert);
  }

  #stop(): void {
    this.#over = true;
    this.release();
  }
}

function destroySoon(this: net.Socket): void {
  this.destroySoon();
}
