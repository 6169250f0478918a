import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { HelperClient } from '../../../../lbd/kernel/helper/client.ts';
import { tempDir } from '../../../common/temp-dir.ts';

/** Longer than an answer takes here. */
const ANSWER_MS = 200;

/** A helper that does with each connection as it is told, and an lbd that asks it. */
async function setUp(t: Test, onConnection: (socket: Socket) => void) {
  const path = join(tempDir(t), 'kernel.sock');
  const server: Server = createServer((socket) => {
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    onConnection(socket);
  });
  await once(server.listen(path), 'listening');
  const client = new HelperClient(path, ANSWER_MS);
  t.teardown(() => {
    client.close();
    server.close();
  });
  return { path, client };
}
/** Answers each request with its number. */
const answer = (socket: Socket, ok: unknown) =>
  socket.on('data', (chunk: Buffer) => {
    for (const line of chunk.toString().trim().split('\n'))
      socket.write(`${JSON.stringify({ id: JSON.parse(line).id, ok })}\n`);
  });

t.test('a helper that says nothing, or nonsense, or ends, holds nobody up', async (t) => {
  for (const [does, says] of [
    [() => {}, /it has not answered within 0.2 s/],
    [(socket: Socket) => socket.write('nonsense\n'), /is not valid JSON/],
    [(socket: Socket) => socket.end(), /it closed the connection/],
  ] as const) {
    const { client } = await setUp(t, does);
    await t.rejects(client.ask({ type: 'facts' }), { code: 'KERNEL_HELPER', message: says });
    await t.rejects(client.openFlows(), { code: 'KERNEL_HELPER' });
    t.notOk(client.up);
    client.close();
  }
});

t.test('one that is not there is said to be absent, and is tried again', async (t) => {
  const path = join(tempDir(t), 'kernel.sock');
  const client = new HelperClient(path, ANSWER_MS);
  t.teardown(() => client.close());
  const downs: [string, boolean][] = [];
  const { promise: up, resolve } = Promise.withResolvers<void>();
  client.listen({ onUp: resolve, onDown: (...down) => downs.push(down), onEvent: () => {} });
  await t.rejects(client.ask({ type: 'facts' }), { message: `there is no socket ${path}` });
  t.strictSame(downs, [[`there is no socket ${path}`, true]]);
  const server = createServer((socket) => {
    t.teardown(() => socket.destroy());
    answer(socket, { token: 'x' });
  });
  await once(server.listen(path), 'listening');
  t.teardown(() => server.close());
  await up;
  t.ok(client.up);
});

t.test('answers find their questions, and refusals come with their words', async (t) => {
  const { client } = await setUp(t, (socket) => {
    socket.on('data', (chunk: Buffer) => {
      for (const line of chunk
        .toString()
        .trim()
        .split('\n')
        .map((it) => JSON.parse(it))
        .reverse())
        socket.write(
          `${JSON.stringify(line.type === 'cut' ? { id: line.id, refused: 'no such thing', code: 'NO_BACKEND' } : { id: line.id, ok: { token: 'x', type: line.type } })}\n`,
        );
    });
  });
  const [facts, cut, leftover] = await Promise.allSettled([
    client.ask({ type: 'facts' }),
    client.ask({ type: 'cut', frontend: 'f', backend: 'b' }),
    client.ask({ type: 'leftover' }),
  ]);
  t.match(facts, { value: { type: 'facts' } });
  t.match(cut, { reason: { code: 'NO_BACKEND', message: 'no such thing' } });
  t.match(leftover, { value: { type: 'leftover' } });
});

t.test('flows without a descriptor', async (t) => {
  const { client } = await setUp(t, (socket) => answer(socket, { token: 'x' }));
  await t.rejects(client.openFlows(), { code: 'KERNEL_HELPER' });
});

t.test('at rest nobody connects; after the end nobody asks', async (t) => {
  const gone = Promise.withResolvers<void>();
  const { client } = await setUp(t, (socket) => {
    answer(socket, { token: 'x' });
    socket.once('close', () => gone.resolve());
  });
  await client.ask({ type: 'facts' });
  client.rest();
  await gone.promise;
  await client.ask({ type: 'facts' });
  client.close();
  await t.rejects(client.ask({ type: 'facts' }), { message: 'lbd ends' });
});
