import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { Backend } from '../../../lbd/dispatch/backend.ts';
import { Pool } from '../../../lbd/dispatch/pool.ts';
import { Admission } from '../../../lbd/entry/admission.ts';
import { Frontend } from '../../../lbd/entry/frontend.ts';
import { Deadlines } from '../../../lbd/io/deadlines.ts';
import { UdpPlane } from '../../../lbd/plane/udp-plane.ts';
import { PoolLoads } from '../../../lbd/shared/pool-load.ts';
import { createSharedBuffers, GATE_CLOSED, GATE_OPEN, SharedState } from '../../../lbd/shared/shared.ts';
import { TRIPPED_FAILURES } from '../../../lbd/shared/vitals.ts';
import type { UdpFlow } from '../../../lbd/udp/udp-flow.ts';
import { UdpFlows } from '../../../lbd/udp/udp-flows.ts';
import { UdpListener } from '../../../lbd/udp/udp-listener.ts';
import { freePort } from '../../common/free-port.ts';
import { settled } from '../../common/settled.ts';
import { Plane } from '../harness.ts';
import { sessionTable, workerContext } from '../worker-context.ts';
import { Client, Origin } from './udp-peers.ts';

const HAS_IPV6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === '::1'),
);

function yaml(
  origins: readonly Origin[],
  { frontend = '', pool = '', bind = '127.0.0.1:PORT' } = {},
): string {
  const backends = origins.map(
    ({ socket }, i) =>
      `s${i + 1}: { address: "${socket.address().address.includes(':') ? '[::1]' : '127.0.0.1'}:${socket.address().port}" }`,
  );
  return `
frontends:
  dns: { bind: ["${bind}"], mode: udp, pool: dns, ${frontend} }
pools:
  dns: { algorithm: round-robin, health: { type: none }, ${pool} backends: { ${backends.join(', ')} } }
`;
}

const count = (plane: Plane, name: Parameters<typeof plane.control.frontendCounter>[1]) =>
  plane.control.frontendCounter(0, name);

t.test('a client keeps its backend, and the next one gets the next backend', async (t) => {
  const origins = await Promise.all(['a', 'b'].map((name) => Origin.start(t, name)));
  const plane = await Plane.start(t, yaml(origins));
  const [one, two] = [await Client.open(t, plane.port), await Client.open(t, plane.port)];
  const name = (await one.ask('1'))[0]!;
  t.equal(await one.ask('2'), `${name} 2`);
  t.equal((await two.ask('3'))[0], name === 'a' ? 'b' : 'a');
  t.equal(await one.ask('4'), `${name} 4`);
  t.equal(one.answers.length, 3, 'and nothing else comes');
  t.equal(count(plane, 'connections'), 2);
  t.equal(count(plane, 'accepted'), 2);
  t.equal(count(plane, 'datagrams_received'), 4);
  t.equal(count(plane, 'datagrams_sent'), 4);
  t.equal(count(plane, 'bytes_received'), 4);
  t.equal(plane.active, 2);
});

t.test('datagrams of every size go through whole, empty ones too', async (t) => {
  const origin = await Origin.start(t, '');
  const plane = await Plane.start(t, yaml([origin]));
  const client = await Client.open(t, plane.port);
  for (const size of [0, 1, 512, 1200, 1472, 1473, 9000, 65_506]) {
    const question = Buffer.alloc(size, 'x');
    t.equal((await client.ask(question)).length, size + 1, `${size} bytes`);
  }
});

t.test('what others send to the socket of a flow does not reach the client', async (t) => {
  const origin = await Origin.start(t, 'a');
  const stranger = await Origin.start(t, 'stranger');
  const plane = await Plane.start(t, yaml([origin]));
  const client = await Client.open(t, plane.port);
  await client.ask('1');
  const [, port] = origin.heard[0]!.from.split(':');
  await new Promise((resolve) => stranger.socket.send('forged', Number(port), '127.0.0.1', resolve));
  t.equal(await client.ask('2'), 'a 2');
  t.equal(client.answers.length, 2);
});

t.test('a backend that is taken out: its clients go on with another one', async (t) => {
  const origins = await Promise.all(['a', 'b'].map((name) => Origin.start(t, name)));
  const plane = await Plane.start(t, yaml(origins, { pool: 'stick: { source: ip },' }));
  const client = await Client.open(t, plane.port);
  const name = (await client.ask('1'))[0];
  const [slot, other] = name === 'a' ? ['dns/s1', 'b'] : ['dns/s2', 'a'];
  plane.gate(slot, GATE_CLOSED);
  t.equal(await client.ask('2'), `${other} 2`);
  plane.gate(slot, 0);
  t.equal(await client.ask('3'), `${other} 3`, 'and stays there');
  t.equal(await (await Client.open(t, plane.port)).ask('4'), `${other} 4`, 'so does the same address anew');
  t.equal(plane.control.active(plane.slot(slot)), 0);
});

t.test(
  'a backend whose host answers that nobody listens: the next datagram goes to another one',
  async (t) => {
    const origins = await Promise.all(['a', 'b'].map((name) => Origin.start(t, name)));
    const plane = await Plane.start(t, yaml(origins));
    const client = await Client.open(t, plane.port);
    const name = (await client.ask('1'))[0];
    const [dead, other] = name === 'a' ? [0, 'b'] : [1, 'a'];
    origins[dead]!.stop();
    client.send('lost');
    await settled(
      () =>
        plane.control.backendCounter(plane.slot(`dns/s${dead + 1}`), 'errors') +
          plane.control.backendCounter(plane.slot(`dns/s${dead + 1}`), 'connect_failures') ===
        1,
    );
    t.equal(await client.ask('2'), `${other} 2`);
  },
);

t.test(
  'the limits of a pool hold for flows: what is more is dropped, counted, and served once there is room',
  async (t) => {
    for (const limit of ['requests', 'connections'] as const) {
      const origin = await Origin.start(t, 'a');
      const plane = await Plane.start(t, yaml([origin], { pool: `limits: { ${limit}: 2 },` }));
      const slot = plane.slot('dns/s1');
      const load = new PoolLoads(plane.control, [slot]);
      const clients = await Promise.all([1, 2, 3].map(() => Client.open(t, plane.port)));
      t.equal(await clients[0]!.ask('1'), 'a 1');
      t.equal(await clients[1]!.ask('2'), 'a 2');
      t.match(load, { requests: 2, connections: 2, pending: 0 }, limit);
      clients[2]!.send('dropped');
      await settled(() => count(plane, 'datagrams_dropped') === 1);
      t.equal(count(plane, 'refused_breaker'), 1);
      t.equal(plane.control.backendCounter(slot, `broken_${limit}`), 1);
      t.equal(await clients[0]!.ask('3'), 'a 3', 'those that are there go on');
      t.same(
        origin.heard.map(({ text }) => text),
        ['1', '2', '3'],
      );
      plane.plane.cut(slot);
      t.match(load, { requests: 0, connections: 0, pending: 0 }, 'what ends is counted off');
      t.equal(await clients[2]!.ask('4'), 'a 4');
    }
  },
);

t.test('outlier: a backend where nobody listens trips it, and an answer begins anew', async (t) => {
  const origin = await Origin.start(t, 'a');
  const plane = await Plane.start(t, yaml([origin], { pool: 'outlier: { consecutive_failures: 2 },' }));
  const slot = plane.slot('dns/s1');
  const tripped = () => plane.control.vitals.tripped(slot);
  const failures = () =>
    plane.control.backendCounter(slot, 'errors') + plane.control.backendCounter(slot, 'connect_failures');
  const fail = async () => {
    const before = failures();
    (await Client.open(t, plane.port)).send('lost');
    await settled(() => failures() > before);
  };
  const { port } = origin;
  origin.stop();
  await fail();
  t.equal(tripped(), 0, 'once is not in a row');
  const back = await Origin.start(t, 'back', '127.0.0.1', port);
  t.equal(await (await Client.open(t, plane.port)).ask('2'), 'back 2');
  back.stop();
  await fail();
  t.equal(tripped(), 0, 'it answered in between');
  await fail();
  t.equal(tripped(), TRIPPED_FAILURES);
});

t.test('a backend that no route leads to harms nobody', async (t) => {
  const origin = await Origin.start(t, 'b');
  // Not a broadcast socket: the kernel refuses to connect.
  const text = yaml([origin, origin]).replace(
    /s1: \{ address: "[^"]+"/,
    's1: { address: "127.255.255.255:9"',
  );
  const plane = await Plane.start(t, text);
  const clients = await Promise.all([1, 2].map(() => Client.open(t, plane.port)));
  for (const client of clients) client.send('1');
  await settled(() => plane.control.backendCounter(plane.slot('dns/s1'), 'connect_failures') === 1);
  for (const client of clients) t.equal(await client.ask('2'), 'b 2');
});

t.test('a datagram from port 0 cannot be answered', async (t) => {
  const origin = await Origin.start(t, 'a');
  const { flows, shared } = await timedPlane(t, origin, '');
  const from = { address: '192.0.2.1', port: 0, family: 'IPv4', size: 1 } as const;
  flows.begin({ flows: new Map() } as never, '192.0.2.1 0', Buffer.from('x'), from);
  t.equal(shared.frontendCounter(0, 'datagrams_dropped'), 1);
  t.equal(shared.frontendCounter(0, 'connections'), 0);
});

t.test('no backend: the datagram is dropped and counted, no flow stays', async (t) => {
  const origin = await Origin.start(t, 'a');
  const plane = await Plane.start(t, yaml([origin]));
  plane.gate('dns/s1', GATE_CLOSED);
  const client = await Client.open(t, plane.port);
  client.send('1');
  await settled(() => count(plane, 'datagrams_dropped') === 1);
  t.equal(count(plane, 'refused_no_backend'), 1);
  t.equal(count(plane, 'connections'), 0);
  plane.gate('dns/s1', 0);
  t.equal(await client.ask('2'), 'a 2');
});

/** A UDP frontend in this process whose time the test moves on by hand. */
async function timedPlane(t: Test, origin: Origin, frontend: string, filesLimit?: number) {
  const port = await freePort();
  const text = yaml([origin], { frontend }).replaceAll('PORT', String(port));
  const config = parseConfig(text, '/test.yaml', { cpus: 1 });
  const shared = new SharedState(createSharedBuffers(1), 0);
  shared.setGate(0, GATE_OPEN, 1);
  const sessions = sessionTable();
  const [poolConfig, deadlines] = [config.pools[0]!, new Deadlines()];
  const pool = new Pool(
    poolConfig,
    [new Backend('dns', poolConfig.backends[0]!, 0, shared)],
    shared,
    sessions,
    0,
  );
  const context = workerContext({ shared, deadlines });
  const it = new Frontend(0, context, config.frontends[0]!, [], pool);
  const admission = new Admission(() => {}, filesLimit);
  const plane = new UdpPlane(admission);
  t.strictSame(await plane.apply([it], []), []);
  t.teardown(() => {
    plane.close();
    for (const flow of deadlines.all() as UdpFlow[]) flow.cut();
  });
  return { port, shared, deadlines, flows: new UdpFlows(it, admission) };
}

t.test('a silent client is forgotten, one without proof of its address sooner', async (t) => {
  const origin = await Origin.start(t, 'a');
  const { port, shared, deadlines } = await timedPlane(t, origin, 'timeouts: { idle: 60s }');
  const [fresh, assured] = [await Client.open(t, port), await Client.open(t, port)];
  await fresh.ask('1');
  await assured.ask('1');
  await assured.ask('2');
  const flows = deadlines.all() as UdpFlow[];
  t.strictSame(
    flows.map(({ backend, localAddress }) => [backend?.slot, localAddress]),
    [
      [0, undefined],
      [0, undefined],
    ],
    'a stop and a drain find it, a switchover does not wait for it',
  );
  const pass = (ms: number) => {
    for (let left = ms; left > 0; left -= 100) deadlines.sweep(deadlines.now + 100);
  };
  pass(31_000);
  t.equal(shared.frontendCounter(0, 'connections'), 1);
  t.ok(flows.find(({ assured }) => assured)!.listed >= 0, 'who went on is still known');
  pass(31_000);
  t.equal(shared.frontendCounter(0, 'connections'), 0);
  t.equal(shared.active(0), 0);
  t.equal(deadlines.size, 0);
  t.equal(await assured.ask('3'), 'a 3', 'a forgotten one begins anew');
});

t.test('a flood from forged addresses takes no memory and no client that talks', async (t) => {
  const origin = await Origin.start(t, 'a');
  const plane = await Plane.start(t, yaml([origin], { frontend: 'max_connections: 20' }));
  const talker = await Client.open(t, plane.port);
  await talker.ask('1');
  await talker.ask('2');
  origin.silence();
  for (let i = 0; i < 300; i++) {
    const forged = await Client.open(t, plane.port);
    await new Promise((resolve) => forged.socket.send('flood', plane.port, '127.0.0.1', resolve));
    await settled(() => count(plane, 'accepted') === i + 2);
    if (count(plane, 'connections') > 20) t.fail('above the limit');
  }
  t.equal(count(plane, 'connections'), 20);
  t.equal(count(plane, 'flows_evicted'), 281);
  t.equal(plane.active, 20, 'one socket each');
  const before = origin.heard.at(-1)!.from;
  talker.send('3');
  await settled(() => origin.heard.at(-1)!.text === '3');
  t.equal(origin.heard.at(-1)!.from, origin.heard[0]!.from, 'the flow that talked is still the same');
  t.not(origin.heard.at(-1)!.from, before);
});

t.test('open files run short: the oldest flows make room, and no more files are taken', async (t) => {
  const origin = await Origin.start(t, 'a');
  const { port, shared } = await timedPlane(t, origin, '', 200);
  const opened: number[] = [];
  for (let i = 0; i < 400; i++) {
    const client = await Client.open(t, port);
    if ((await client.ask(`${i}`)) !== `a ${i}`) t.fail(`client ${i} got no answer`);
    client.close();
    opened.push(shared.frontendCounter(0, 'connections'));
  }
  t.ok(opened.at(-1)! < 150, `${opened.at(-1)} flows: 200 files, 50 of them not for clients`);
  t.equal(Math.max(...opened.slice(200)), Math.max(...opened.slice(0, 200)), 'it does not creep up');
  t.equal(shared.frontendCounter(0, 'flows_evicted'), shared.frontendCounter(0, 'accepted') - opened.at(-1)!);
});

t.test('all at the limit talk: a new client is refused with its cause', async (t) => {
  const origin = await Origin.start(t, 'a');
  const plane = await Plane.start(t, yaml([origin], { frontend: 'max_connections: 2' }));
  const talkers = [await Client.open(t, plane.port), await Client.open(t, plane.port)];
  for (const talker of talkers) for (const text of ['1', '2']) await talker.ask(text);
  const late = await Client.open(t, plane.port);
  late.send('x');
  await settled(() => count(plane, 'refused_full') === 1);
  t.equal(count(plane, 'datagrams_dropped'), 1);
  for (const talker of talkers) t.equal(await talker.ask('3'), 'a 3');
  t.equal(count(plane, 'flows_evicted'), 0);
});

t.test('limits.per_source', async (t) => {
  const origin = await Origin.start(t, 'a');
  const plane = await Plane.start(t, yaml([origin], { frontend: 'limits: { per_source: 2 }' }));
  const clients = await Promise.all([1, 2, 3].map(() => Client.open(t, plane.port)));
  await clients[0]!.ask('1');
  await clients[1]!.ask('1');
  clients[2]!.send('1');
  await settled(() => count(plane, 'refused_source') === 1);
  const elsewhere = await Client.open(t, plane.port, '127.0.0.1', '127.0.0.9');
  t.equal(await elsewhere.ask('1'), 'a 1', 'another address is another client');
});

t.test('a backend with max_connections gets so many flows, the others the rest', async (t) => {
  const origins = await Promise.all(['a', 'b'].map((name) => Origin.start(t, name)));
  const text = yaml(origins).replace(/(s1: \{ address: "[^"]+")/, '$1, max_connections: 1');
  const plane = await Plane.start(t, text);
  const names: string[] = [];
  for (let i = 0; i < 4; i++) names.push((await (await Client.open(t, plane.port)).ask('1'))[0]!);
  t.equal(names.filter((name) => name === 'a').length, 1);
});

t.test('a reload keeps the flows; one whose backend left goes to another', async (t) => {
  const origins = await Promise.all(['a', 'b'].map((name) => Origin.start(t, name)));
  const text = yaml(origins);
  const plane = await Plane.start(t, text);
  const clients = [await Client.open(t, plane.port), await Client.open(t, plane.port)];
  const names = [];
  for (const client of clients) names.push((await client.ask('1'))[0]);
  const from = (question: string) =>
    origins.flatMap(({ heard }) => heard.filter(({ text }) => text === question).map(({ from }) => from));
  const load = (yaml: string) =>
    plane.apply(parseConfig(yaml.replaceAll('PORT', String(plane.port)), '/test.yaml', { cpus: 1 }));
  await load(text.replace('algorithm: round-robin', 'algorithm: random'));
  for (const [i, client] of clients.entries()) t.equal(await client.ask('2'), `${names[i]} 2`);
  t.strictSame(from('2').toSorted(), from('1').toSorted(), 'the same sockets');
  await load(text.replace(/, s2: \{[^}]*\}/, ''));
  for (const client of clients) t.equal(await client.ask('3'), 'a 3');
});

t.test('stop: a question that waits for its answer gets it, new clients are not taken', async (t) => {
  const origin = await Origin.start(t, 'a');
  const plane = await Plane.start(t, yaml([origin]));
  const [served, waiting] = [await Client.open(t, plane.port), await Client.open(t, plane.port)];
  await served.ask('1');
  origin.silence();
  waiting.send('2');
  await settled(() => origin.heard.length === 2);
  const stopped = plane.plane.stop(5_000);
  const [host, port] = origin.heard[1]!.from.split(':');
  (await Client.open(t, plane.port)).send('late');
  origin.socket.send('answer', Number(port), host);
  await once(waiting.socket, 'message');
  await stopped;
  t.equal(count(plane, 'accepted'), 2);
  t.equal(plane.active, 0);
});

t.test('drained: what is cut begins anew', async (t) => {
  const origins = await Promise.all(['a', 'b'].map((name) => Origin.start(t, name)));
  const plane = await Plane.start(t, yaml(origins));
  const client = await Client.open(t, plane.port);
  const name = (await client.ask('1'))[0];
  const slot = name === 'a' ? 'dns/s1' : 'dns/s2';
  plane.gate(slot, 1);
  t.equal(await client.ask('2'), `${name} 2`, 'a draining backend keeps its flows');
  plane.plane.cut(plane.slot(slot));
  t.equal(await client.ask('3'), `${name === 'a' ? 'b' : 'a'} 3`);
});

t.test('on all addresses: the answer comes from the one that was asked', async (t) => {
  const origin = await Origin.start(t, 'a');
  const plane = await Plane.start(t, yaml([origin], { bind: '*:PORT' }));
  const own = Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).filter(({ scopeid }) => !scopeid).map(({ address }) => address),
  );
  for (const host of own) {
    const client = await Client.open(t, plane.port, host);
    await client.ask('1');
    t.equal(client.answers[0]!.from, host);
  }
});

t.test('each address of this node has a socket of its own', async (t) => {
  const own = Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).map(({ address }) => address),
  );
  const options = { onClient: () => {}, onError: (error: Error) => t.error(error) };
  for (const [host, any] of [
    ['*', ['0.0.0.0', ...(HAS_IPV6 ? ['::'] : [])]],
    ['0.0.0.0', ['0.0.0.0']],
    ['127.0.0.1', []],
  ] as const) {
    const port = await freePort();
    const listener = await UdpListener.open({ host, port }, [], options);
    const expected = own.filter((address) => any.some((of) => of.includes(':') === address.includes(':')));
    const bare = listener.hosts.map((address) => address.replace(/%.*/, ''));
    t.strictSame(bare.toSorted(), (any.length > 0 ? [...any, ...expected] : [host]).toSorted(), host);
    listener.close();
  }
});

t.test(
  'a VIP of the config is answered from, although this host reaches the client from another address',
  async (t) => {
    const origin = await Origin.start(t, 'a');
    const plane = await Plane.start(t, yaml([origin], { bind: '*:PORT' }));
    const vips = [{ address: '127.0.0.100', prefix: 8, family: 4, interface: 'lo' }];
    const client = await Client.open(t, plane.port, '127.0.0.100');
    await client.ask('1');
    t.equal(
      client.answers[0]!.from,
      '127.0.0.1',
      'without the VIP the kernel takes the address of the route',
    );
    const ha = { vips, groups: [{ name: 'default', vips }] };
    await plane.apply({ ...plane.config, ha } as unknown as typeof plane.config);
    await client.ask('2');
    t.equal(client.answers[1]!.from, '127.0.0.100', 'the flow moved to the socket of the VIP');
    t.equal(new Set(origin.heard.map(({ from }) => from)).size, 1, 'and is the same');
    t.equal(count(plane, 'accepted'), 1);
  },
);

t.test('IPv6: client, frontend and backend', { skip: HAS_IPV6 ? false : 'no ::1 here' }, async (t) => {
  const origin = await Origin.start(t, 'six', '::1');
  const plane = await Plane.start(t, yaml([origin], { bind: '[::1]:PORT', pool: 'stick: { source: ip },' }));
  const client = await Client.open(t, plane.port, '::1');
  t.equal(await client.ask('1'), 'six 1');
  t.equal(client.answers[0]!.from, '::1');
  t.equal(plane.sessions.size, 1);
});

t.test('a port that is taken is one clear line', async (t) => {
  const origin = await Origin.start(t, 'a');
  const options = { onClient: () => {}, onError: () => {} };
  for (const [host, code] of [
    ['127.0.0.1', 'EADDRINUSE'],
    ['192.0.2.1', 'EADDRNOTAVAIL'],
  ] as const)
    await t.rejects(UdpListener.open({ host, port: origin.port }, [], options), {
      code: 'BIND',
      message: `cannot listen on ${host}:${origin.port}: ${code}`,
    });
});
