import { createConnection, type Socket } from 'node:net';
import { descriptorOf, receiveDescriptor } from '../../../common/descriptors.ts';
import { messageOf, OperatorError } from '../../../common/errors.ts';
import { VERSION } from '../../../common/version.ts';
import { Inbox } from './inbox.ts';
import type { HelperRequest, HelperSaying } from './requests.ts';

/** On a machine that boots the helper takes some seconds to start; what takes longer hangs. */
const ANSWER_MS = 15_000;
/** Many flows take long to cut. */
const CUT_MS = 60_000;
const [MIN_RETRY_MS, MAX_RETRY_MS] = [100, 5_000];

type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;

export interface HelperEvents {
  /** It answers; for the first time, or again. */
  onUp(): void;
  /** It does not, and why; also for each try that fails. @param isAbsent nobody listens: it is not installed, or was disabled */
  onDown(why: string, isAbsent: boolean): void;
  onEvent(event: Extract<HelperSaying, { event: string }>): void;
}

/** A socket to the kernel's connection tracking that the helper has opened, and where it takes requests about flows. */
export interface HelperFlows {
  /** For reading; the caller closes it. */
  readonly descriptor: number;
  /** Frames of `TypedBatch`, each answered with a frame of refused sequence numbers. Nobody reads it yet. */
  readonly requests: Socket;
}

interface Waiting {
  settle(ok: unknown): void;
  fail(error: OperatorError): void;
}

/**
 * lbd's side of the conversation with the helper of the kernel engine. Connects when it is first asked, and again and again
 * from then on, until `rest`. Each question has its time, and fails at once where nobody is there.
 */
export class HelperClient {
  readonly #path: string;
  readonly #answerMs: number;
  #events: HelperEvents = { onUp: () => {}, onDown: () => {}, onEvent: () => {} };
  #socket: Socket | undefined;
  /** Settles when the latest try to connect has come to an end; rejects where it failed. */
  #connected: Promise<void> | undefined;
  /** Of the connection; undefined before its hello was answered. */
  #token: string | undefined;
  readonly #waiting = new Map<number, Waiting>();
  #id = 0;
  #retry: NodeJS.Timeout | undefined;
  #retryMs = MIN_RETRY_MS;
  #closed = false;

  /** @param path of the helper's socket @param answerMs time for an answer; another one only in tests */
  constructor(path: string, answerMs = ANSWER_MS) {
    this.#path = path;
    this.#answerMs = answerMs;
  }

  /** Who hears of it from now on. */
  listen(events: HelperEvents): void {
    this.#events = events;
  }

  get up(): boolean {
    return this.#token !== undefined;
  }

  /**
   * Asks, and waits for the answer.
   *
   * @throws OperatorError `KERNEL_HELPER` where nobody answers; with the helper's own code and words where it refuses
   */
  async ask<T>(request: WithoutId<HelperRequest>): Promise<T> {
    await this.#connect();
    return (await this.#send(this.#socket, request)) as T;
  }

  /** Opens a socket to the kernel's connection tracking. @throws OperatorError as of `ask` */
  async openFlows(): Promise<HelperFlows> {
    await this.#connect();
    const requests = createConnection({ path: this.#path });
    // Node must not read: what comes first is a descriptor, which only we can take.
    requests.pause();
    const broken = new Promise<never>((_resolve, reject) => {
      requests.once('error', (error) => reject(new Unreachable(messageOf(error))));
      requests.once('close', () => reject(new Unreachable('it closed the connection for flows')));
    });
    broken.catch(() => {});
    requests.on('error', () => {});
    try {
      // The helper says that the descriptor is on its way after it has sent it.
      await Promise.race([this.#send(requests, { type: 'flows', token: this.#token ?? '' }), broken]);
      return { descriptor: receiveDescriptor(descriptorOf(requests)), requests };
    } catch (error) {
      requests.destroy();
      throw error;
    }
  }

  /** Nothing is wanted for now: the helper may end. The next question connects again. */
  rest(): void {
    clearTimeout(this.#retry);
    this.#drop('it is not needed');
  }

  close(): void {
    this.#closed = true;
    this.rest();
  }

  #connect(): Promise<void> {
    if (this.#closed) return Promise.reject(new Unreachable('lbd ends'));
    this.#connected ??= this.#try();
    return this.#connected;
  }

  async #try(): Promise<void> {
    clearTimeout(this.#retry);
    const socket = createConnection({ path: this.#path });
    this.#socket = socket;
    const inbox = new Inbox();
    socket.on('error', (error) => this.#lost(socket, wordsOf(error, this.#path), isAbsent(error)));
    socket.on('close', () => this.#lost(socket, 'it closed the connection'));
    socket.on('data', (chunk: Buffer) => {
      inbox.push(chunk);
      try {
        for (let line = inbox.line(); line !== undefined; line = inbox.line()) this.#hear(JSON.parse(line));
      } catch (error) {
        this.#lost(socket, messageOf(error));
      }
    });
    try {
      const { token } = (await this.#send(socket, { type: 'hello', version: VERSION })) as { token: string };
      this.#token = token;
    } catch (error) {
      this.#lost(socket, error instanceof Unreachable ? error.why : messageOf(error));
      throw error;
    }
    this.#retryMs = MIN_RETRY_MS;
    this.#events.onUp();
  }

  /** On the control connection, or on another one, whose answer comes on the control connection all the same. */
  #send(socket: Socket | undefined, request: WithoutId<HelperRequest>): Promise<unknown> {
    const id = ++this.#id;
    const timeMs = request.type === 'cut' ? CUT_MS : this.#answerMs;
    return new Promise((resolve, reject) => {
      const over = setTimeout(
        () => waiting.fail(new Unreachable(`it has not answered within ${timeMs / 1000} s`)),
        timeMs,
      );
      const end = () => {
        clearTimeout(over);
        this.#waiting.delete(id);
      };
      const waiting: Waiting = {
        settle: (ok) => {
          end();
          resolve(ok);
        },
        fail: (error) => {
          end();
          reject(error);
        },
      };
      this.#waiting.set(id, waiting);
      if (socket === undefined) waiting.fail(new Unreachable('it is not there'));
      else socket.write(`${JSON.stringify({ ...request, id })}\n`);
    });
  }

  #hear(saying: HelperSaying): void {
    if ('event' in saying) this.#events.onEvent(saying);
    else if ('ok' in saying) this.#waiting.get(saying.id)?.settle(saying.ok);
    else this.#waiting.get(saying.id)?.fail(new OperatorError(saying.code, saying.refused));
  }

  /** This connection is over. */
  #lost(socket: Socket, why: string, isAbsent = false): void {
    if (this.#socket !== socket) return;
    this.#drop(why);
    if (this.#closed) return;
    this.#retry = setTimeout(() => void this.#connect().catch(() => {}), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
    this.#events.onDown(why, isAbsent);
  }

  #drop(why: string): void {
    const socket = this.#socket;
    this.#socket = this.#token = this.#connected = undefined;
    socket?.destroy();
    for (const waiting of [...this.#waiting.values()]) waiting.fail(new Unreachable(why));
  }
}

/** Nobody has answered. */
class Unreachable extends OperatorError {
  readonly why: string;

  constructor(why: string) {
    super('KERNEL_HELPER', `lbd has no CAP_NET_ADMIN, and its helper cannot be asked: ${why}`);
    this.why = why;
  }
}

function isAbsent({ code }: NodeJS.ErrnoException): boolean {
  return code === 'ENOENT' || code === 'ECONNREFUSED';
}

function wordsOf(error: NodeJS.ErrnoException, path: string): string {
  if (error.code === 'ENOENT') return `there is no socket ${path}`;
  if (error.code === 'ECONNREFUSED') return `nobody listens at ${path}`;
  if (error.code === 'EACCES') return `no permission for ${path}`;
  return messageOf(error);
}
