import type net from 'node:net';
import type { DirectWriter } from './direct-write.ts';
import { RelaySocket } from './relay-socket.ts';
import { FEW, RING_ENTRIES } from './ring.ts';
import { endsConnection, socketError } from './socket-error.ts';

/** With so many behind it, the first one has waited long enough. */
const MOST = 64;
const BUFFER_BYTES = 64 * 1024;
/** What is longer does not wait: its copy would cost more than waking the other side. */
const MOST_BYTES = 16 * 1024;
/** With so many in one turn, the next ones have mostly come by its end. */
const BUSY = 4;
/** After so many pieces of work without Node, its timers and new connections have their turn: a few milliseconds. */
const ROUNDS = 8;

/** Something that is done once a turn of the event loop, before what is held back is let go. */
export interface TurnWork {
  endTurn(): void;
}

/**
 * Holds back what is written to sockets until the event loop has read what there was to read. A write wakes whoever
 * waits for it, and writes one behind the other mostly find it awake, where each among reads wakes it again. With 50
 * busy clients this is a tenth of what a request costs. What is written keeps its order, whatever else is done to the
 * socket; only `destroy` loses it.
 */
export class HoldBack {
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  readonly #writer: DirectWriter | undefined;
  #filled = 0;
  readonly #held: net.Socket[] = [];
  /** Those that are written together, and how much of each. */
  readonly #together: (RelaySocket | undefined)[] = [];
  readonly #lengths = new Int32Array(RING_ENTRIES);
  #due = false;
  /** To be done at the end of this turn; and the array of the last one. */
  #works: TurnWork[] = [];
  #spare: TurnWork[] = [];
  readonly #readMore: () => number;
  readonly #onTurn = () => this.#endTurn();

  /**
   * @param writer of this buffer; without it, Node writes
   * @param readMore reads what has come meanwhile; returns from how many sockets
   */
  constructor(writer?: (buffer: Buffer) => DirectWriter, readMore = () => 0) {
    this.#writer = writer?.(this.#buffer);
    this.#readMore = readMore;
  }

  /** @returns as `write` of a socket: false where it has to wait for `drain` */
  add(socket: net.Socket, from: Buffer, start: number, length: number): boolean {
    if (socket instanceof RelaySocket && length <= MOST_BYTES && this.#writer !== undefined) {
      if (socket.heldBytes > 0) socket.letGo();
      if (socket.isClear) {
        if (this.#filled + length > BUFFER_BYTES) this.#letGo();
        from.copy(this.#buffer, this.#filled, start, start + length);
        socket.heldAt = this.#filled;
        socket.heldBytes = length;
        socket.holder = this;
        this.#filled += length;
        this.#await(socket);
        return true;
      }
    }
    if (socket.writableCorked === 0) {
      socket.cork();
      this.#await(socket);
    }
    return socket.write(from.latin1Slice(start, start + length), 'latin1');
  }

  /** @param work to be done at the end of this turn, once for each call */
  atEnd(work: TurnWork): void {
    this.#works.push(work);
    this.#beDue();
  }

  #await(socket: net.Socket): void {
    this.#held.push(socket);
    if (this.#held.length > MOST) this.#letGo();
    else this.#beDue();
  }

  #beDue(): void {
    if (this.#due) return;
    this.#due = true;
    setImmediate(this.#onTurn);
  }

  #endTurn(): void {
    try {
      this.#work();
      let busy = this.#held.length >= BUSY;
      this.#letGo();
      for (let round = 0; busy && round < ROUNDS; round++) {
        busy = this.#readMore() > 0;
        this.#work();
        this.#letGo();
      }
    } finally {
      this.#due = false;
      // What the work of this turn has begun is the next one's.
      if (this.#works.length > 0) this.#beDue();
    }
  }

  #work(): void {
    const works = this.#works;
    if (works.length === 0) return;
    this.#works = this.#spare;
    for (let i = 0; i < works.length; i++) works[i]!.endTurn();
    works.length = 0;
    this.#spare = works;
  }

  #letGo(): void {
    const held = this.#held;
    if (held.length >= FEW && this.#writer?.ring !== undefined) this.#writeTogether(this.#writer);
    for (let i = 0; i < held.length; i++) release(held[i]!);
    held.length = 0;
    this.#filled = 0;
  }

  #writeTogether(writer: DirectWriter): void {
    const held = this.#held;
    const together = this.#together;
    const lengths = this.#lengths;
    let count = 0;
    for (let i = 0; i < held.length && count < RING_ENTRIES; i++) {
      const socket = held[i]!;
      if (!(socket instanceof RelaySocket) || socket.heldBytes === 0 || socket.fd < 0) continue;
      writer.add(socket.fd, socket.heldAt, socket.heldBytes);
      lengths[count] = socket.heldBytes;
      together[count++] = socket;
      socket.heldBytes = 0;
    }
    if (count === 0) return;
    const { ring } = writer;
    ring!.submit();
    for (let i = 0; i < count; i++) {
      const socket = together[i]!;
      together[i] = undefined;
      this.#settle(socket, lengths[i]!, ring!.results[i]!);
    }
  }

  /** What is held back of a socket goes to the kernel. */
  write(socket: RelaySocket): void {
    const { heldAt, heldBytes, fd } = socket;
    socket.heldBytes = 0;
    this.#settle(socket, heldBytes, fd < 0 ? 0 : this.#writer!.write(fd, heldAt, heldBytes));
  }

  /** @param result of the write of what lay at `heldAt` */
  #settle(socket: RelaySocket, heldBytes: number, result: number): void {
    if (result === heldBytes) return;
    if (result < 0 && endsConnection(-result)) {
      socket.fail(socketError('write', -result));
      return;
    }
    const sent = Math.max(0, result);
    socket.write(Buffer.copyBytesFrom(this.#buffer, socket.heldAt + sent, heldBytes - sent));
  }
}

/** What is held back of a socket goes now. */
export function release(socket: net.Socket): void {
  if (socket instanceof RelaySocket) socket.letGo();
  if (socket.writableCorked > 0) socket.uncork();
}
