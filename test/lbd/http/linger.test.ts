import type net from 'node:net';
import { Duplex } from 'node:stream';
import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { Frontend } from '../../../lbd/entry/frontend.ts';
import { newHttp1Stream } from '../../../lbd/http/h1/backend-stream.ts';
import { HttpConnection } from '../../../lbd/http/h1/connection.ts';
import { HttpService } from '../../../lbd/http/service.ts';
import { Plane, RawClient, RawOrigin } from '../harness.ts';
import { workerContext } from '../worker-context.ts';
import { Exchange, yaml } from './exchange.ts';

/** A client's socket that passes its bytes on only when the test says so. */
class SlowSocket extends Duplex {
  readonly remoteAddress = '192.0.2.1';
  written = '';
  #release: (() => void) | undefined;

  constructor() {
    super({ allowHalfOpen: true, decodeStrings: false });
  }

  override _read(): void {}

  override _write(text: string, _encoding: string, done: () => void): void {
    this.#release = () => {
      this.written += text;
      done();
    };
  }

  /** As that of `net.Socket`. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', this.destroy);
  }

  /** The kernel took what was written. */
  drain(): void {
    this.#release?.();
  }
}

/** A connection whose client is refused, so that a last answer is on its way to it. */
function refused(t: Test): { socket: SlowSocket; ask(text?: string): void } {
  const config = parseConfig(
    `
frontends: { web: { bind: ["127.0.0.1:80"], mode: http, pool: web } }
pools: { web: { backends: { s1: { address: "127.0.0.1:1" } } } }
`,
    '/test.yaml',
    { cpus: 1 },
  ).frontends[0]!;
  const context = workerContext({ nextRequestId: () => 'id' });
  const frontend = new Frontend(0, context, config, [], undefined);
  const socket = new SlowSocket();
  t.teardown(() => socket.destroy());
  const connection = new HttpConnection(
    socket as unknown as net.Socket,
    new HttpService(frontend, newHttp1Stream, undefined),
  );
  socket.resume();
  return {
    socket,
    ask(text = 'GET / HTTP/7.0\r\n\r\n') {
      const request = Buffer.from(text);
      connection.onBytes(request, request.length);
    },
  };
}

t.test('a client that has ended its side still gets its last answer', async (t) => {
  for (const [when, ends] of [
    ['while the answer is written', true],
    ['before', false],
  ] as const)
    await t.test(when, async (t) => {
      const { socket, ask } = refused(t);
      const end = async () => {
        const ended = new Promise((resolve) => socket.once('end', resolve));
        socket.push(null);
        await ended;
      };
      if (ends) ask();
      else {
        // Its end comes in one turn with its request.
        const connection = (socket as unknown as { connection: HttpConnection }).connection;
        connection.ended = true;
        ask();
      }
      if (ends) await end();
      t.notOk(socket.destroyed, 'the answer is not out yet');
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.drain();
      await closed;
      t.match(socket.written, /^HTTP\/1\.1 505 /);
    });
});

t.test(
  'a client that sends its requests and its end in one piece, and reads slowly, gets all answers',
  async (t) => {
    const { socket, ask } = refused(t);
    const requests = 1000;
    ask('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(requests));
    const ended = new Promise((resolve) => socket.once('end', resolve));
    // TLS tells the end of a paused connection that came with the last bytes.
    socket.push(null);
    socket.read(0);
    await ended;
    while (!socket.closed) {
      socket.drain();
      await new Promise(setImmediate);
    }
    t.equal(socket.written.split('HTTP/1.1 404 ').length - 1, requests);
  },
);

t.test(
  'a tunnel whose ends both ended: what the client said still reaches a backend that reads late',
  async (t) => {
    const origin = await RawOrigin.start(t, (socket, data) => {
      if (!data.startsWith('GET')) return;
      socket.pause();
      socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n');
    });
    const plane = await Plane.start(t, yaml([origin.port]));
    const client = await RawClient.open(t, plane.port);
    client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
    await client.end();
    client.socket.end('x'.repeat(1 << 20));
    while (plane.control.frontendCounter(0, 'connections') > 0) await new Promise(setImmediate);
    origin.sockets[0]!.resume();
    await origin.until(() => /<(end|reset|close)>/.test(origin.received[0]!));
    const text = origin.received[0]!;
    t.equal(
      text
        .slice(text.indexOf('\r\n\r\n') + 4)
        .replaceAll('x', '')
        .slice(0, 5),
      '<end>',
    );
    t.ok(text.split('x').length - 1 > 1 << 20);
  },
);

t.test(
  'a client that uploads more than all socket buffers hold before it reads gets its early answer',
  async (t) => {
    const exchange = await Exchange.start(t);
    exchange.reply = (socket, data) =>
      data.startsWith('POST') && socket.end('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig');
    const client = await exchange.client();
    client.socket.pause();
    client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${8 << 20}\r\n\r\n`);
    await exchange.origin.until(() => exchange.origin.received[0]?.includes('\r\n\r\n') ?? false);
    await new Promise<void>((resolve) => {
      client.socket.once('close', resolve);
      client.socket.write('x'.repeat(8 << 20), 'latin1', () => resolve());
    });
    client.socket.resume();
    t.match(await client.end(), /^HTTP\/1\.1 413 [\s\S]*big$/);
  },
);
