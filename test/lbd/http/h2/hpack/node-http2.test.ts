import { once } from 'node:events';
import http2 from 'node:http2';
import t from 'tap';
import { HpackDecoder } from '../../../../../lbd/http/h2/hpack/decoder.ts';
import {
  encodeField,
  HpackEncoder,
  writeAuthority,
  writeField,
  writeMethod,
  writePath,
  writeScheme,
  writeStatus,
  writeText,
} from '../../../../../lbd/http/h2/hpack/encoder.ts';
import { Message } from '../../../../../lbd/http/message.ts';
import { Collected } from './collected.ts';
import { RawPeer } from './raw-peer.ts';

const MESSAGES = 200;
const MESSAGE_NUMBERS = Array.from({ length: MESSAGES }, (_, i) => i);

/** Fields of a connection's messages: some say the same each time, some another thing, some are large. Always the same ones. */
function fieldsOf(message: number): [name: string, value: string][] {
  const nth = (values: readonly string[], step: number) => values[(message * step) % values.length]!;
  return [
    ['user-agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Safari/537.36'],
    [
      'accept',
      nth(['*/*', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'image/avif'], 1),
    ],
    ['x-trace', `${(message * 2_654_435_761) % 4_294_967_296}-"<{${message}}>"`],
    ['cookie', `session=${nth(['a', 'b', 'c', 'd'], 3).repeat(40 + (message % 7))}`],
    [`x-${message % 90}`, 'z'.repeat((message * 37) % 300)],
    ...(message % 50 === 49 ? [['x-large', '\x7e{}|'.repeat(5000)] as [string, string]] : []),
  ];
}

function pseudoOf(method: string, message: number): [name: string, value: string][] {
  return [
    [':method', method],
    [':scheme', method === 'GET' ? 'http' : 'https'],
    [':path', `/${message}`],
    [':authority', 'shop.example'],
  ];
}

const TABLE_SIZES = [4096, 0, 200, 65_536];

for (const tableSize of TABLE_SIZES) {
  t.test(`requests of node:http2 into a table of ${tableSize} bytes, answers to it`, async (t) => {
    const peer = new RawPeer('server', tableSize);
    const client = http2.connect('http://shop.example', { createConnection: () => peer.other });
    const decoder = new HpackDecoder(tableSize);
    const requests: Collected[] = [];
    const faults: string[] = [];
    const out = new Message(64);
    peer.onBlock = (stream, block) => {
      const collected = new Collected();
      faults.push(decoder.decode(block, 0, block.length, collected));
      const message = requests.push(collected) - 1;
      out.clear();
      writeStatus(out, 200 + (message % 100));
      for (const [name, value] of fieldsOf(message)) {
        const line = Buffer.from(`${name.toUpperCase()}: ${value}`);
        const valueStart = name.length + 2;
        writeField(out, line, 0, name.length, line, valueStart, line.length, name === 'cookie');
      }
      writeText(out, 'x-own', `${message}`);
      const often = encodeField('x-often', 'the same each time');
      out.copy(often, 0, often.length);
      peer.send(stream, Buffer.copyBytesFrom(out.bytes, 0, out.length));
    };
    // Before it, the client may use a table of the default size.
    await once(client, 'remoteSettings');
    const answers: unknown[] = [];
    for (let message = 0; message < MESSAGES; message++) {
      const request = client.request({
        ...Object.fromEntries([...pseudoOf('GET', message), ...fieldsOf(message)]),
        [http2.sensitiveHeaders]: ['x-trace'],
      });
      const [answer] = await once(request, 'response');
      request.resume();
      answers.push({ ...answer });
    }
    t.strictSame(
      answers,
      MESSAGE_NUMBERS.map((message) => ({
        ':status': 200 + (message % 100),
        ...Object.fromEntries(fieldsOf(message)),
        'x-own': `${message}`,
        'x-often': 'the same each time',
        [http2.sensitiveHeaders]: ['cookie'],
      })),
    );
    t.strictSame(
      requests.map(({ fields }) => Object.fromEntries(fields)),
      MESSAGE_NUMBERS.map((message) =>
        Object.fromEntries([...pseudoOf('GET', message), ...fieldsOf(message)]),
      ),
    );
    t.ok(
      requests.every(({ sensitive }) => sensitive.includes('x-trace')),
      'never indexed',
    );
    t.strictSame(new Set(faults), new Set(['']));
    client.destroy();
    peer.end();
  });

  t.test(
    `answers of node:http2, which keeps a table of ${tableSize} bytes, and requests to it`,
    async (t) => {
      const peer = new RawPeer('client', 4096);
      const server = http2.performServerHandshake(peer.other, { settings: { headerTableSize: tableSize } });
      const errors: Error[] = [];
      server.on('error', (error) => errors.push(error));
      const asked: unknown[] = [];
      server.on('stream', (stream, headers) => {
        const message = asked.push({ ...headers }) - 1;
        stream.respond({ ':status': 200, ...Object.fromEntries(fieldsOf(message)) }, { endStream: true });
      });
      const encoder = new HpackEncoder();
      const decoder = new HpackDecoder();
      const known = new Promise<void>((resolve) => {
        peer.onTableSize = (bytes) => {
          encoder.tableSize(bytes);
          resolve();
        };
      });
      // It says nothing where that is the default.
      if (tableSize !== 4096) await known;
      const answers: unknown[] = [];
      const faults: string[] = [];
      for (let message = 0; message < MESSAGES; message++) {
        const out = new Message(64);
        encoder.begin(out);
        writeMethod(out, 'PUT');
        writeScheme(out, 'https');
        writePath(out, `/${message}`);
        writeAuthority(out, 'shop.example');
        for (const [name, value] of fieldsOf(message)) writeText(out, name, value);
        const answer = new Promise<Buffer>((resolve) => {
          peer.onBlock = (_, block) => resolve(block);
        });
        peer.send(2 * message + 1, Buffer.copyBytesFrom(out.bytes, 0, out.length));
        const block = await answer;
        const collected = new Collected();
        faults.push(decoder.decode(block, 0, block.length, collected));
        const { date: _, ...answered } = Object.fromEntries(collected.fields);
        answers.push(answered);
      }
      t.strictSame(
        asked,
        MESSAGE_NUMBERS.map((message) => ({
          ...Object.fromEntries([...pseudoOf('PUT', message), ...fieldsOf(message)]),
          [http2.sensitiveHeaders]: [],
        })),
      );
      t.strictSame(
        answers,
        MESSAGE_NUMBERS.map((message) => ({ ':status': '200', ...Object.fromEntries(fieldsOf(message)) })),
      );
      t.strictSame(new Set(faults), new Set(['']));
      t.strictSame(errors, []);
      server.destroy();
      peer.end();
    },
  );
}
