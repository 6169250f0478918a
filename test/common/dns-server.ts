import dgram from 'node:dgram';
import { once } from 'node:events';
import type { Test } from 'tap';
import { ipBytes } from '../../common/address.ts';

const TYPE_A = 1;
const TYPE_AAAA = 28;
const NOERROR = 0;
const SERVFAIL = 2;
const NXDOMAIN = 3;

/** What the server says of a name: addresses with their TTL in seconds, a failure, or nothing at all. */
export type Said = { readonly addresses: readonly string[]; readonly ttl: number } | 'servfail' | 'silence';

/** A small name server on loopback, over UDP. Names that it does not know do not exist (NXDOMAIN). */
export class DnsServer {
  /** By name, in lower case. */
  readonly names = new Map<string, Said>();
  /** Questions so far, such as `app.test A`. */
  readonly asked: string[] = [];
  /** Types of questions that get no answer, such as `AAAA`. */
  readonly silentFor = new Set<string>();
  /** Answers nobody, as one that has died. */
  dead = false;
  readonly #socket = dgram.createSocket('udp4');
  readonly #waiting: (() => void)[] = [];

  /** Closed with the test. */
  static async start(t: Test, port = 0): Promise<DnsServer> {
    const server = new DnsServer();
    server.#socket.bind(port, '127.0.0.1');
    await once(server.#socket, 'listening');
    t.teardown(() => server.#socket.close());
    server.#socket.on('message', (question, from) => {
      const answer = server.#answerTo(question);
      if (answer !== undefined) server.#socket.send(answer, from.port, from.address);
      for (const wake of server.#waiting.splice(0)) wake();
    });
    return server;
  }

  /** As in `resolver.servers`. */
  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  set(name: string, addresses: readonly string[], ttl = 1): void {
    this.names.set(name, { addresses, ttl });
  }

  /** Resolves once a question has come for which the condition holds. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #answerTo(question: Buffer): Buffer | undefined {
    const { name, end } = nameIn(question);
    const type = question.readUInt16BE(end);
    const typeName = type === TYPE_A ? 'A' : type === TYPE_AAAA ? 'AAAA' : String(type);
    this.asked.push(`${name} ${typeName}`);
    const said = this.names.get(name.toLowerCase());
    if (this.dead || said === 'silence' || this.silentFor.has(typeName)) return undefined;
    if (said === undefined) return response(question, end, NXDOMAIN, []);
    if (said === 'servfail') return response(question, end, SERVFAIL, []);
    const addresses = said.addresses.filter((it) => (it.includes(':') ? TYPE_AAAA : TYPE_A) === type);
    return response(
      question,
      end,
      NOERROR,
      addresses.map((address) => record(type, said.ttl, address)),
    );
  }
}

/** RFC 1035 section 4.1.2. @returns the name, and where its type begins */
function nameIn(question: Buffer): { name: string; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = question[at]!; length > 0; length = question[at]!) {
    labels.push(question.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.'), end: at + 1 };
}

/** RFC 1035 section 4.1.1: the question again, and answers that point to its name. */
function response(question: Buffer, end: number, code: number, records: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(12);
  question.copy(head, 0, 0, 2);
  head.writeUInt16BE(0x8180 | code, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(records.length, 6);
  return Buffer.concat([head, question.subarray(12, end + 4), ...records]);
}

function record(type: number, ttl: number, address: string): Buffer {
  const data = ipBytes(address);
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(ttl, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}
