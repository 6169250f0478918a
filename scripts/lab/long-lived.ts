import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { VIP } from './hosts.ts';
import { TCP_PORT } from './pair-config.ts';
import { KeptConnection } from './request.ts';

/**
 * Clients that stay connected, one process in the client's namespace: TCP and WebSocket clients that send a line every
 * 20 ms (`--every-ms`) and want it back, and HTTP clients that ask over kept-alive connections.
 *
 * Prints a JSON line with `{ "type": "ready" }` when each has had its first answer. A line on standard input ends it:
 * it waits for the answers that are due, prints a LongLivedReport, closes all connections, and exits.
 */
export interface LongLivedReport {
  readonly type: 'report';
  readonly echo: LongLivedKind;
  readonly websocket: LongLivedKind;
  readonly http: LongLivedKind & { readonly renewed: number };
}

export interface LongLivedKind {
  readonly total: number;
  readonly broken: number;
  /** Answers that all of them got. */
  readonly answers: number;
  /** Why connections broke or answers were wrong, each reason once. */
  readonly causes: readonly string[];
}

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '34' },
    'every-ms': { type: 'string', default: '20' },
    'timeout-ms': { type: 'string', default: '3000' },
  },
});
const count = Number(values.count);
const everyMs = Number(values['every-ms']);
/** An answer that has not come by then will not come. */
const timeoutMs = Number(values['timeout-ms']);
/** Nobody asks for more any longer. */
let enough = false;

/** Sends numbered lines and wants each back before the next one. */
class Talker {
  readonly #socket: Socket;
  /** Ends with this before the talk begins. */
  readonly #greetingEnd: string;
  #text = '';
  #heard: ((line: string) => void) | undefined;
  answers = 0;
  broken: string | undefined;

  constructor(port: number, opening: string, greetingEnd: string) {
    this.#greetingEnd = greetingEnd;
    this.#socket = connect({ host: VIP, port });
    this.#socket.setNoDelay(true);
    this.#socket.write(opening);
    this.#socket.setEncoding('latin1').on('data', (chunk: string) => this.#read(chunk));
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#break(error.code ?? error.message));
    this.#socket.on('close', () => this.#break('closed'));
  }

  async greeted(): Promise<void> {
    await this.#next(this.#greetingEnd, '');
  }

  async talk(): Promise<void> {
    for (let i = 0; !enough && this.broken === undefined; i++) {
      const line = await this.#next('\n', `${i}\n`);
      if (line === `${i}\n`) this.answers++;
      else this.#break(`expected ${i}, got ${JSON.stringify(line)}`);
      await sleep(everyMs);
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  /** @returns what came up to `end`; empty when the connection broke */
  #next(end: string, text: string): Promise<string> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#break('timeout'), timeoutMs);
      this.#heard = (line) => {
        if (line !== '' && !line.endsWith(end)) return;
        clearTimeout(timer);
        this.#heard = undefined;
        this.#text = '';
        resolve(line);
      };
      if (this.broken !== undefined) this.#heard('');
      else if (text !== '') this.#socket.write(text);
    });
  }

  #read(chunk: string): void {
    this.#text += chunk;
    this.#heard?.(this.#text);
  }

  #break(why: string): void {
    this.broken ??= why;
    this.#socket.destroy();
    this.#heard?.('');
  }
}

const echoes = Array.from({ length: count }, () => new Talker(TCP_PORT, '', '\n'));
const upgrade = [
  'GET /ws HTTP/1.1',
  `Host: ${VIP}`,
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];
const sockets = Array.from(
  { length: count },
  () => new Talker(80, `${upgrade.join('\r\n')}\r\n\r\n`, '\r\n\r\n'),
);
const https = Array.from(
  { length: count },
  () => new KeptConnection({ host: VIP, port: 80, path: '/', timeoutMs }),
);
let requests = 0;

async function ask(connection: KeptConnection): Promise<void> {
  while (!enough && connection.broken === undefined) {
    const answer = await connection.ask().catch(() => undefined);
    if (answer?.status === 200) requests++;
    else if (answer !== undefined) connection.close(`status ${answer.status}`);
    await sleep(everyMs);
  }
}

function brokenOf(clients: readonly { broken: string | undefined }[]) {
  const reasons = clients.flatMap(({ broken }) => broken ?? []);
  return { broken: reasons.length, causes: [...new Set(reasons)] };
}

function kind(talkers: readonly Talker[]): LongLivedKind {
  const answers = talkers.reduce((sum, talker) => sum + talker.answers, 0);
  return { total: talkers.length, answers, ...brokenOf(talkers) };
}

await Promise.all([...echoes, ...sockets].map((talker) => talker.greeted()));
await Promise.all(https.map((connection) => connection.ask()));
const talks = [...[...echoes, ...sockets].map((talker) => talker.talk()), ...https.map(ask)];
console.log(JSON.stringify({ type: 'ready' }));

for await (const _ of createInterface({ input: process.stdin })) break;
enough = true;
await Promise.all(talks);
const report: LongLivedReport = {
  type: 'report',
  echo: kind(echoes),
  websocket: kind(sockets),
  http: {
    total: https.length,
    answers: requests,
    ...brokenOf(https),
    renewed: https.reduce((sum, { renewed }) => sum + renewed, 0),
  },
};
console.log(JSON.stringify(report));
for (const talker of [...echoes, ...sockets]) talker.close();
for (const connection of https) connection.close('stopped');
process.exit(0);
