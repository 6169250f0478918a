import dgram from 'node:dgram';
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { probeUdp } from '../../../../lbd/control/health/udp-probe.ts';
import { target } from './servers.ts';

const { signal } = new AbortController();
const CHECK = { type: 'udp', send: 'ping', receive: '' } as const;

/** @param answer to the n-th datagram; undefined: none */
async function service(t: Test, answer: (n: number, text: string) => string | undefined): Promise<number> {
  const socket = dgram.createSocket('udp4');
  let n = 0;
  socket.on('message', (bytes, { port, address }) => {
    const text = answer(++n, bytes.toString('latin1'));
    if (text !== undefined) socket.send(text, port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  return socket.address().port;
}

t.test('any answer will do, or one that contains what is expected', async (t) => {
  const port = await service(t, (_, text) => `pong to ${text}`);
  t.match(await probeUdp(target(port, CHECK), signal), { outcome: 'pass', detail: 'answered with 12 bytes' });
  t.match(await probeUdp(target(port, { ...CHECK, receive: 'to ping' }), signal), { outcome: 'pass' });
  t.match(await probeUdp(target(port, { ...CHECK, receive: 'x' }), signal), {
    outcome: 'fail',
    detail: 'its answer (12 bytes, 706f6e6720746f2070696e67…) does not contain what is expected',
  });
});

t.test('a datagram that is lost is sent again', async (t) => {
  const port = await service(t, (n) => (n === 1 ? undefined : 'late'));
  t.match(await probeUdp(target(port, { ...CHECK, timeoutMs: 3_000 }), signal), { outcome: 'pass' });
});

t.test('nobody listens', async (t) => {
  const socket = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  t.match(await probeUdp(target(port, CHECK), signal), { outcome: 'fail', detail: 'connection refused' });
});

t.test('silence is a failure at its time', async (t) => {
  const port = await service(t, () => undefined);
  t.match(await probeUdp(target(port, { ...CHECK, timeoutMs: 60 }), signal), {
    outcome: 'fail',
    detail: 'timed out after 60 ms without an answer',
  });
});

t.test('an aborted check ends', async (t) => {
  const port = await service(t, () => undefined);
  const controller = new AbortController();
  const result = probeUdp(target(port, CHECK), controller.signal);
  controller.abort();
  t.equal((await result).outcome, 'inconclusive');
});
