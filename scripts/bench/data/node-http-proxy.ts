import { readFileSync } from 'node:fs';
import http, {
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream';
import { HTTP_PROXY } from './node-contenders.ts';

/**
 * A proxy on Node's own `http`, alone or below the package http-proxy-3: a program of its own, to be compared.
 * `node node-http-proxy.ts NAME ORIGIN_PORT CERTIFICATE http=PORT https=PORT`
 */
interface Proxy {
  web(request: IncomingMessage, response: ServerResponse): void;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

const [name, originPort, certificate, ...listeners] = process.argv.slice(2);
const proxy = name === HTTP_PROXY ? await packaged() : ownHands();
for (const [listener, port] of listeners.map((one) => one.split('='))) {
  const server = listener === 'https' ? secureServer(proxy.web) : http.createServer(proxy.web);
  server.keepAliveTimeout = 75_000;
  server.on('upgrade', proxy.upgrade);
  server.listen(Number(port), '127.0.0.1', 4096);
}
process.on('SIGTERM', () => process.exit());

function secureServer(web: RequestListener): https.Server {
  const pem = readFileSync(certificate!);
  return https.createServer({ cert: pem, key: pem }, web);
}

function ownHands(): Proxy {
  const agent = new http.Agent({ keepAlive: true });
  const ask = ({ method, url, headers, socket }: IncomingMessage) =>
    http.request({
      ...{ host: '127.0.0.1', port: Number(originPort), agent, method, path: url },
      headers: { ...endToEnd(headers), ...upgradeFields(headers), 'x-forwarded-for': socket.remoteAddress },
    });
  return {
    web: (request, response) => {
      const asked = ask(request);
      asked.on('error', () => response.destroy());
      asked.on('response', (answer) => {
        // The client has left: the load is over.
        if (response.destroyed) return answer.destroy();
        response.writeHead(answer.statusCode!, endToEnd(answer.headers));
        pipeline(answer, response, () => {});
      });
      pipeline(request, asked, (error) => {
        if (error) response.destroy();
      });
    },
    upgrade: (request, socket) => {
      socket.on('error', () => {});
      const asked = ask(request);
      asked.on('error', () => socket.destroy());
      asked.on('upgrade', (answer, backend, head) => {
        const fields = Object.entries(answer.headers).map(([field, value]) => `${field}: ${value}\r\n`);
        socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields.join('')}\r\n`);
        if (head.length > 0) socket.write(head);
        pipeline(socket, backend, socket, () => {});
      });
      asked.end();
    },
  };
}

/** RFC 9110 section 7.6.1: else a client that closes would have the proxy close its connection to the origin, too. */
function endToEnd(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const { connection: _, 'keep-alive': __, ...others } = headers;
  return others;
}

function upgradeFields({ connection, upgrade }: IncomingHttpHeaders): IncomingHttpHeaders {
  return upgrade === undefined ? {} : { connection, upgrade };
}

/** Not imported by its types: a machine without it runs all other benchmarks. */
async function packaged(): Promise<Proxy> {
  const { createProxyServer } = (await import(HTTP_PROXY)) as {
    createProxyServer(options: object): {
      on(event: 'error', listener: (error: Error, request: unknown, answer: Duplex) => void): void;
      web(request: IncomingMessage, response: ServerResponse): void;
      ws(request: IncomingMessage, socket: Duplex, head: Buffer): void;
    };
  };
  const one = createProxyServer({
    target: `http://127.0.0.1:${originPort}`,
    agent: new http.Agent({ keepAlive: true }),
    xfwd: true,
  });
  one.on('error', (_error, _request, answer) => answer.destroy());
  return {
    web: (request, response) => one.web(request, response),
    upgrade: (request, socket, head) => one.ws(request, socket, head),
  };
}
