import net from 'node:net';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import type { SocketAddress } from '../../../common/address.ts';
import type { Admission } from '../../../lbd/entry/admission.ts';
import type { Frontend } from '../../../lbd/entry/frontend.ts';
import type { Entrance } from '../../../lbd/plane/entrance.ts';
import { Listeners } from '../../../lbd/plane/listeners.ts';
import { freePort } from '../../common/free-port.ts';

/** Clients are told the name of the frontend that got them. */
function setUp(t: Test) {
  const entrance = {
    arrived(socket: net.Socket, { name }: Frontend) {
      socket.on('error', () => {});
      socket.end(name);
      socket.resume();
      return { onBytes() {} };
    },
  } as unknown as Entrance;
  const listeners = new Listeners({ tell: (line: string) => t.fail(line) } as unknown as Admission, entrance);
  t.teardown(() => listeners.close());
  return listeners;
}

function frontend(name: string, ...bind: SocketAddress[]): Frontend {
  return { name, config: { bind } } as unknown as Frontend;
}

function dial(port: number, host = '127.0.0.1'): Promise<string> {
  return text(net.connect({ host, port, family: 4 })).catch(
    (error: NodeJS.ErrnoException) => `${error.code}`,
  );
}

/** Clients whose handshakes are over, and that wait to be accepted: this thread has had no turn in which it could. */
async function waiting(port: number, host?: string): Promise<Promise<string>[]> {
  const clients = Array.from({ length: 20 }, () => dial(port, host));
  await new Promise<void>((resolve) => process.nextTick(resolve));
  return clients;
}

const all = (name: string) => Array.from({ length: 20 }, () => name);

t.test('clients that wait to be accepted are, when the address becomes all addresses and back', async (t) => {
  const listeners = setUp(t);
  const port = await freePort();
  const [here, everywhere] = [
    { host: '127.0.0.1', port },
    { host: '*', port },
  ];
  t.same(await listeners.apply([frontend('a', here)]), []);
  for (const [round, bind] of [everywhere, here, everywhere].entries()) {
    const clients = await waiting(port);
    const name = `b${round}`;
    t.same(await listeners.apply([frontend(name, bind)]), []);
    const got = await Promise.all(clients);
    t.ok(
      got.every((it) => /^(a|b\d)$/.test(it)),
      `${name}: ${got}`,
    );
    t.equal(await dial(port), name);
  }
});

t.test('clients that wait to be accepted are, when their address goes', async (t) => {
  const listeners = setUp(t);
  const [port, other] = [await freePort(), await freePort()];
  await listeners.apply([frontend('a', { host: '*', port })]);
  const clients = await waiting(port, '127.0.0.2');
  t.same(await listeners.apply([frontend('b', { host: '127.0.0.1', port: other })]), []);
  t.same(await Promise.all(clients), all('a'));
  t.equal(await dial(port, '127.0.0.2'), 'ECONNREFUSED', 'nobody else comes there');
  t.equal(await dial(other), 'b');
});

t.test('an address of which all addresses have taken over ends with them', async (t) => {
  const listeners = setUp(t);
  const [port, other] = [await freePort(), await freePort()];
  await listeners.apply([frontend('a', { host: '127.0.0.1', port })]);
  await listeners.apply([frontend('a', { host: '*', port })]);
  t.equal(await dial(port, '127.0.0.2'), 'a');
  await listeners.apply([frontend('a', { host: '127.0.0.2', port: other })]);
  t.same([await dial(port), await dial(port, '127.0.0.2')], ['ECONNREFUSED', 'ECONNREFUSED']);
});
