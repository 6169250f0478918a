import { once } from 'node:events';
import http2 from 'node:http2';
import type net from 'node:net';
import type { Test } from 'tap';

export type Answer = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void;

/** An origin that speaks HTTP/2 in the clear, and whose answers the test may change at any time. */
export class Http2Origin {
  answer: Answer;
  readonly sessions: http2.ServerHttp2Session[] = [];
  /** Under the sessions. */
  readonly sockets: net.Socket[] = [];
  /** Requests, as `METHOD path`. */
  readonly requests: string[] = [];
  readonly server: http2.Http2Server;
  port = 0;

  private constructor(answer: Answer, server: http2.Http2Server) {
    this.answer = answer;
    this.server = server;
    server.on('connection', (socket: net.Socket) => this.sockets.push(socket));
    server.on('session', (session) => {
      this.sessions.push(session);
      session.on('error', () => {});
    });
    server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
      stream.on('error', () => {});
      this.requests.push(`${headers[':method']} ${headers[':path']}`);
      this.answer(stream, headers);
    });
  }

  static async start(t: Test, answer: Answer = ok, server = http2.createServer()): Promise<Http2Origin> {
    const origin = new Http2Origin(answer, server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    origin.port = (server.address() as net.AddressInfo).port;
    t.teardown(() => {
      server.close();
      for (const session of origin.sessions) session.destroy();
    });
    return origin;
  }
}

export function ok(stream: http2.ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-length': 2 });
  stream.end('ok');
}

/** Sends back what comes, as it comes, with its trailers. */
export function echo(stream: http2.ServerHttp2Stream): void {
  let trailers: http2.IncomingHttpHeaders = {};
  stream.on('trailers', (came) => {
    trailers = came;
  });
  stream.respond({ ':status': 200 }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.pipe(stream);
}
