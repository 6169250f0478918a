import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import type { Test } from 'tap';

/** What a client was told. */
export interface Told {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
  readonly trailers: Readonly<Record<string, unknown>>;
  /** 1xx before it. */
  readonly interim: readonly number[];
}

export interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
  /** Send with the body a Content-Length. */
  readonly counted?: boolean;
  readonly trailers?: Readonly<Record<string, string>>;
}

/** A client that speaks one version. */
export interface Way {
  readonly name: string;
  ask(asked?: Asked): Promise<Told>;
}

/** By HTTP/1.1 with node:http, over one agent. */
export function http1(t: Test, port: number): Way {
  const agent = new http.Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  return {
    name: 'HTTP/1.1',
    async ask({ method = 'GET', path = '/', headers = {}, body, counted, trailers } = {}) {
      const request = http.request({ agent, port, host: '127.0.0.1', method, path, headers });
      const interim: number[] = [];
      request.on('information', ({ statusCode }) => interim.push(statusCode));
      if (counted) request.setHeader('content-length', Buffer.byteLength(body!));
      else if (trailers !== undefined) request.setHeader('trailer', Object.keys(trailers).join(', '));
      if (trailers !== undefined) request.addTrailers(trailers);
      if (body !== undefined && !counted) request.write(body);
      request.end(counted ? body : undefined);
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      const chunks = await response.toArray();
      return {
        status: response.statusCode!,
        headers: response.headers,
        body: Buffer.concat(chunks),
        trailers: response.trailers,
        interim,
      };
    },
  };
}

/** By HTTP/2 in the clear with node:http2, over one connection. */
export function h2(t: Test, port: number): Way & { readonly session: http2.ClientHttp2Session } {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  return {
    name: 'HTTP/2',
    session,
    async ask({ method = 'GET', path = '/', headers = {}, body, counted, trailers: sent } = {}) {
      const stream = session.request(
        {
          ':method': method,
          ':path': path,
          ...headers,
          ...(counted && { 'content-length': Buffer.byteLength(body!) }),
        },
        { endStream: body === undefined && sent === undefined, waitForTrailers: sent !== undefined },
      );
      if (sent !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(sent));
      if (body !== undefined) stream.write(body);
      if (body !== undefined || sent !== undefined) stream.end();
      const interim: number[] = [];
      stream.on('headers', (came) => interim.push(Number(came[':status'])));
      let trailers: http2.IncomingHttpHeaders = {};
      stream.on('trailers', (came) => {
        trailers = came;
      });
      const [came] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
      const chunks = await stream.toArray();
      return {
        status: Number(came[':status']),
        headers: came,
        body: Buffer.concat(chunks),
        trailers,
        interim,
      };
    },
  };
}

/** A frontend that takes both in the clear, before origins of HTTP/2. @param pool further keys of the pool */
export function before(ports: readonly number[], pool = ''): string {
  return `
frontends:
  web: { bind: ["127.0.0.1:PORT"], mode: http, pool: web, protocols: [h2, http/1.1] }
pools:
  web:
    protocol: h2
    algorithm: round-robin
    ${pool}
    backends:
${ports.map((port, i) => `      s${i + 1}: { address: "127.0.0.1:${port}" }`).join('\n')}
`;
}
