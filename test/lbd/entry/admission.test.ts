import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { Admission } from '../../../lbd/entry/admission.ts';
import { Frontend } from '../../../lbd/entry/frontend.ts';
import { newHttp1Stream } from '../../../lbd/http/h1/backend-stream.ts';
import { HttpService } from '../../../lbd/http/service.ts';
import { Deadlines } from '../../../lbd/io/deadlines.ts';
import { Listener } from '../../../lbd/io/listener.ts';
import { Entrance } from '../../../lbd/plane/entrance.ts';
import { freePort } from '../../common/free-port.ts';
import { answering, OK, Plane, RawClient, RawOrigin, withoutDate } from '../harness.ts';
import { workerContext } from '../worker-context.ts';

const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

t.test('http over max_connections: the 503 arrives, whatever the client has sent', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  const plane = await Plane.start(
    t,
    `
frontends: { web: { bind: ["127.0.0.1:PORT"], mode: http, pool: web, max_connections: 1 } }
pools: { web: { backends: { s1: { address: "127.0.0.1:${origin.port}" } } } }
`,
  );
  const first = await RawClient.open(t, plane.port);
  first.write(REQUEST);
  await first.until((text) => text === OK);
  for (let i = 0; i < 20; i++) {
    const client = await RawClient.open(t, plane.port);
    client.write(REQUEST + 'x'.repeat(100_000));
    const text = await client.end();
    if (!/^HTTP\/1.1 503 .*Connection: close.*too many connections\n$/s.test(text)) t.fail(text);
    // A reset here, behind the answer, can overtake it in the client's kernel.
    await new Promise<void>((resolve) => client.socket.end('and more', () => resolve()));
    while (client.closed === 'no') await new Promise(setImmediate);
    if (client.closed !== 'clean') t.fail(`${client.closed} after the answer`);
  }
  t.equal(plane.control.frontendCounter(0, 'answered_503'), 20);
  t.equal(plane.control.frontendCounter(0, 'connections'), 1);
  first.write(REQUEST);
  t.equal(await first.until((text) => text === OK + OK), OK + OK, 'who is in is served');
});

t.test('overload is logged once, and a client that does not leave is not waited for', async (t) => {
  const told: string[] = [];
  const deadlines = new Deadlines();
  const config = parseConfig(
    `
frontends: { web: { bind: ["127.0.0.1:${await freePort()}"], mode: http, pool: web, max_connections: 1 } }
pools: { web: { backends: { s1: { address: "127.0.0.1:1" } } } }
`,
    '/test.yaml',
    { cpus: 1 },
  ).frontends[0]!;
  const context = workerContext({ deadlines });
  const frontend = new Frontend(0, context, config, [], undefined);
  const admission = new Admission((level, text) => told.push(`${level}: ${text}`));
  const entrance = new Entrance(admission, () => new HttpService(frontend, newHttp1Stream, undefined));
  frontend.enter();
  const listener = await Listener.open(
    config.bind[0]!,
    (socket) => entrance.arrived(socket, frontend),
    (error) => t.error(error),
  );
  t.teardown(() => listener.close());
  const clients: RawClient[] = [];
  for (let i = 0; i < 5; i++) {
    const client = await RawClient.open(t, config.bind[0]!.port);
    await client.end();
    clients.push(client);
  }
  t.strictSame(told, ['warn: frontend web has its max_connections 1: new clients are turned away']);
  t.equal(deadlines.size, 5);
  for (let i = 0; i < 12; i++) deadlines.sweep(deadlines.now + 100);
  while (deadlines.size > 0) await new Promise(setImmediate);
  t.pass('all were let go');
});

t.test('out of open files: it says so once, keeps some for itself, and goes on', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  for (const mode of ['http', 'tcp'])
    await t.test(mode, async (t) => {
      const port = await freePort();
      const child = spawn(
        '/bin/sh',
        [
          '-c',
          'ulimit -n 80; exec "$@"',
          'sh',
          process.execPath,
          fileURLToPath(new URL('./crowded-plane.ts', import.meta.url)),
          String(port),
          mode,
          String(origin.port),
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      t.teardown(() => child.kill('SIGKILL'));
      const lines: string[] = [];
      const reader = createInterface(child.stdout).on('line', (line) => lines.push(line));
      await once(reader, 'line');
      t.strictSame(lines, ['ready']);

      const sockets: net.Socket[] = [];
      const outcomes = await Promise.all(
        Array.from({ length: 150 }, () => {
          const socket = net.connect({ port, host: '127.0.0.1' });
          sockets.push(socket);
          socket.write(REQUEST);
          return new Promise<string>((resolve) => {
            socket.on('data', (bytes) => resolve(withoutDate('', bytes.toString('latin1'))));
            socket.on('error', () => resolve('reset'));
            socket.on('close', () => resolve('closed'));
          });
        }),
      );
      const served = outcomes.filter((outcome) => outcome === OK).length;
      const reset = outcomes.filter((outcome) => outcome === 'reset').length;
      t.ok(served > 0, `${served} were served`);
      t.equal(served + reset, 150, 'the others know at once');
      while (lines.length < 2) await once(reader, 'line');
      t.strictSame(lines.slice(1), [
        'warn: too few open files are left for backend connections and health checks: new clients are turned away (raise LimitNOFILE)',
      ]);

      for (const socket of sockets) socket.resetAndDestroy();
      for (;;) {
        const client = await RawClient.open(t, port).catch(() => undefined);
        client?.write(REQUEST);
        if ((await client?.until((text) => text === OK)) === OK) break;
      }
      t.equal(lines.length, 2);
    });
});
