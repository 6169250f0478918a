import { createSocket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { PathConfig } from '../../common/model.ts';
import { HeartbeatPath } from '../../ha-agent/heartbeat-path.ts';
import { freeDatagramPort } from '../common/free-port.ts';
import { lackingForScene, runScene } from './scene.ts';

const SCENE = fileURLToPath(new URL('heartbeat-path.scene.ts', import.meta.url));

function makePath(t: Test, config: PathConfig, selfAddress: string, peerAddress: string) {
  const bus = new EventEmitter();
  const path = new HeartbeatPath({
    config,
    selfAddress,
    peerAddress,
    vips: new Set(),
    onDatagram: (data) => bus.emit('data', data.toString()),
    onRefused: (roundTripMs) => bus.emit('refused', roundTripMs),
    onState: (why) => bus.emit('state', why),
  });
  t.teardown(() => path.close());
  return { path, bus };
}

t.test('unicast: a burst arrives complete and in order', async (t) => {
  const port = await freeDatagramPort();
  const a = makePath(t, { type: 'unicast', port }, '127.0.0.1', '127.0.0.2');
  const b = makePath(t, { type: 'unicast', port }, '127.0.0.2', '127.0.0.1');
  await Promise.all([a.path.open(), b.path.open()]);
  const got: string[] = [];
  const wanted = Array.from({ length: 50 }, (_, i) => `beat ${i}`);
  const complete = new Promise<void>((resolve) => {
    b.bus.on('data', (text) => {
      got.push(text);
      if (got.length === wanted.length) resolve();
    });
  });
  await Promise.all(wanted.map((text) => a.path.send(Buffer.from(text))));
  await complete;
  t.same(got, wanted);
  t.equal(a.path.why, undefined);
});

t.test(
  'unicast: the end of the process at the other end is told at once, with the next datagram',
  async (t) => {
    const port = await freeDatagramPort();
    const a = makePath(t, { type: 'unicast', port }, '127.0.0.1', '127.0.0.2');
    const b = makePath(t, { type: 'unicast', port }, '127.0.0.2', '127.0.0.1');
    await Promise.all([a.path.open(), b.path.open()]);
    const got = once(b.bus, 'data');
    await a.path.send(Buffer.from('there?'));
    t.same(await got, ['there?']);
    await b.path.close();
    const refused = once(a.bus, 'refused');
    t.equal(await a.path.send(Buffer.from('still there?')), true);
    const [roundTripMs] = await refused;
    t.ok(roundTripMs >= 0);
    t.equal(a.path.why, undefined, 'the path itself is well');
    const c = makePath(t, { type: 'unicast', port }, '127.0.0.2', '127.0.0.1');
    await c.path.open();
    const again = once(c.bus, 'data');
    await a.path.send(Buffer.from('back'));
    t.same(await again, ['back']);
  },
);

t.test('unicast: what the peer said before it ended is heard before the refusal', async (t) => {
  const port = await freeDatagramPort();
  const a = makePath(t, { type: 'unicast', port }, '127.0.0.1', '127.0.0.2');
  const b = makePath(t, { type: 'unicast', port }, '127.0.0.2', '127.0.0.1');
  await Promise.all([a.path.open(), b.path.open()]);
  const seen: string[] = [];
  // Each answer is refused; so are the two that follow a refusal.
  const answer = () => {
    void a.path.send(Buffer.from('one'));
    void a.path.send(Buffer.from('two'));
  };
  a.bus.on('data', (text) => {
    seen.push(text);
    answer();
  });
  a.bus.on('refused', () => {
    seen.push('refused');
    answer();
  });
  const words = ['1', '2', '3', '4', '5'];
  await Promise.all(words.map((text) => b.path.send(Buffer.from(text))));
  const refused = once(a.bus, 'refused');
  await Promise.all([b.path.close(), refused]);
  t.same(seen, [...words, 'refused']);
  t.equal(a.path.why, undefined, 'the path itself is well');
});

t.test('unicast: a farewell comes from another port, and is heard', async (t) => {
  const port = await freeDatagramPort();
  const { path, bus } = makePath(t, { type: 'unicast', port }, '127.0.0.1', '127.0.0.2');
  await path.open();
  const stranger = createSocket('udp4');
  t.teardown(() => stranger.close());
  const got = once(bus, 'data');
  stranger.send('farewell', port, '127.0.0.1');
  t.same(await got, ['farewell']);
});

t.test('an address that the machine does not have: told once with its cause, nothing is sent', async (t) => {
  const { path, bus } = makePath(t, { type: 'unicast', port: 7471 }, '192.0.2.1', '192.0.2.2');
  const told = once(bus, 'state');
  await path.open();
  t.match((await told)[0], /no interface of this machine has the address/);
  t.equal(await path.send(Buffer.from('x')), false);
});

t.test('a multicast interface that does not exist: told with its name', async (t) => {
  const config: PathConfig = { type: 'multicast', group: '239.255.84.9', port: 7479, interface: 'nope0' };
  const { path } = makePath(t, config, '127.0.0.1', '127.0.0.2');
  await path.open();
  t.equal(path.why, 'interface nope0 does not exist, is down or has no IPv4 address');
  t.equal(path.name, 'multicast 239.255.84.9:7479 on nope0');
});

t.test('a path of IPv6 is named so that its port can be told', (t) => {
  const multicast: PathConfig = { type: 'multicast', group: 'ff12::7470', port: 7470, interface: 'eth1' };
  t.equal(makePath(t, multicast, 'fd84::1', 'fd84::2').path.name, 'multicast [ff12::7470]:7470 on eth1');
  const unicast: PathConfig = { type: 'unicast', port: 7471 };
  t.equal(makePath(t, unicast, 'fd84::1', 'fd84::2').path.name, 'unicast [fd84::2]:7471');
  t.end();
});

t.test('a path whose port is taken by another program works again when it is free', async (t) => {
  const port = await freeDatagramPort();
  const other = createSocket('udp4');
  await new Promise<void>((resolve) => other.bind({ port, address: '127.0.0.1', exclusive: true }, resolve));
  const { path, bus } = makePath(t, { type: 'unicast', port }, '127.0.0.1', '127.0.0.2');
  await path.open();
  t.match(path.why, /another program uses the port/);
  const works = once(bus, 'state');
  other.close();
  t.equal((await works)[0], undefined);
  t.equal(path.why, undefined);
});

t.test(
  'a real kernel: a group of one link, and ports that no other user gets',
  {
    skip: lackingForScene([]) ?? false,
  },
  (t) => {
    const { status, stderr, found } = runScene(SCENE);
    t.equal(status, 0, stderr);
    const expected: Record<string, unknown> = {
      opened: [null, null, null],
      taken: true,
      'heard over the link from eth1': true,
      'heard over the link from wire1': true,
      'heard on another link': [],
      'heard on both sockets': 33,
    };
    for (const [name, value] of Object.entries(expected)) t.strictSame(found.get(name), value, name);
    const thefts = [...found].filter(([name]) => name.startsWith('another user'));
    t.equal(thefts.length, 4);
    for (const [name, outcome] of thefts) t.match(outcome, /^EADDRINUSE$|^no other user$/, name);
    t.end();
  },
);
