import type net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import type { Config } from '../../../common/model.ts';
import { freePort } from '../../common/free-port.ts';
import { answering, OK, Plane, RawClient, RawOrigin } from '../harness.ts';
import { Client, Origin } from '../udp/udp-peers.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

interface Side {
  readonly name: string;
  readonly port: number;
  readonly mode?: string;
  readonly origin: number;
}

/** A frontend and a pool of its own for each side. */
function yaml(sides: readonly Side[], drain: string): string {
  const lines = ['frontends:'];
  for (const { name, port, mode = 'http' } of sides)
    lines.push(`  ${name}: { bind: ["127.0.0.1:${port}"], mode: ${mode}, pool: ${name} }`);
  lines.push('pools:');
  for (const { name, origin } of sides)
    lines.push(
      `  ${name}: { drain_timeout: ${drain}, health: { type: none }, backends: { s1: { address: "127.0.0.1:${origin}" } } }`,
    );
  return lines.join('\n');
}

function configOf(text: string): Config {
  return parseConfig(text, '/test.yaml', { cpus: 1 });
}

/** A plane that serves one side. */
async function serve(t: Test, side: Omit<Side, 'port'>, drain = '30s'): Promise<Plane> {
  const port = await freePort();
  return Plane.start(t, yaml([{ ...side, port }], drain).replaceAll(String(port), 'PORT'));
}

t.test('a frontend that a reload takes out asks its kept-alive clients to go', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  const plane = await serve(t, { name: 'web', origin: origin.port });
  const client = await RawClient.open(t, plane.port);
  client.write(GET);
  t.notMatch(await client.until((text) => text.endsWith('ok')), 'Connection: close');
  await plane.apply(configOf(yaml([{ name: 'new', port: await freePort(), origin: origin.port }], '30s')));
  client.write(GET);
  const second = (await client.end()).slice(client.text.indexOf('ok') + 2);
  t.match(second, 'HTTP/1.1 200 OK');
  t.match(second, 'Connection: close');
});

t.test('what is open of a frontend that is gone is cut after drain_timeout', async (t) => {
  const other = { name: 'other', port: await freePort(), origin: 9 };
  await t.test('an answer that goes on, a tunnel, and an idle client', async (t) => {
    const origin = await RawOrigin.start(t, (socket, data) => {
      if (data.includes('/ws'))
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhi');
      else if (data.includes('/sse')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi');
      else socket.write(OK);
    });
    const plane = await serve(t, { name: 'web', origin: origin.port }, '300ms');
    const [idle, stream, tunnel] = await Promise.all(
      [
        GET,
        GET.replace('/', '/sse'),
        GET.replace('/ ', '/ws ').replace('\r\n\r\n', '\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
      ].map(async (request) => {
        const client = await RawClient.open(t, plane.port);
        client.write(request);
        await client.until((text) => /\r\n\r\n(hi|ok)$/.test(text));
        return client;
      }),
    );
    await plane.apply(configOf(yaml([other], '30s')));
    await Promise.all([idle!.end(), stream!.end(), tunnel!.end()]);
    t.strictSame([idle!.closed !== 'reset', stream!.closed, tunnel!.closed], [true, 'reset', 'reset']);
    await origin.until(() => origin.received.every((text) => /<(close|reset|end)>/.test(text)));
  });
  await t.test('a TCP connection', async (t) => {
    const origin = await RawOrigin.start(t, (socket, data) => socket.write(data));
    const plane = await serve(t, { name: 'line', mode: 'tcp', origin: origin.port }, '300ms');
    const client = await RawClient.open(t, plane.port);
    client.write('hello');
    await client.until((text) => text === 'hello');
    await plane.apply(configOf(yaml([other], '30s')));
    await client.end();
    t.equal(client.closed, 'reset');
    await origin.until(() => origin.received[0]!.endsWith('>'));
  });
});

t.test('what is open to an address that a backend had is cut after drain_timeout', async (t) => {
  const echo = (socket: net.Socket, data: string) => void socket.write(data);
  const [before, after] = [await RawOrigin.start(t, echo), await RawOrigin.start(t, echo)];
  const plane = await serve(t, { name: 'line', mode: 'tcp', origin: before.port }, '300ms');
  const open = async () => {
    const client = await RawClient.open(t, plane.port);
    client.write('hello');
    await client.until((text) => text === 'hello');
    return client;
  };
  const old = await open();
  const side = { name: 'line', mode: 'tcp', port: plane.port, origin: after.port };
  await plane.apply(configOf(yaml([side], '300ms')));
  const fresh = await open();
  await old.end();
  t.equal(old.closed, 'reset');
  fresh.write(' again');
  t.equal(await fresh.until((text) => text === 'hello again'), 'hello again');
  t.equal(plane.active, 1);
});

t.test('a frontend under a new name takes over its listening socket: nobody is reset', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  const plane = await serve(t, { name: 'web', origin: origin.port });
  const { port } = plane;
  for (const name of ['shop', 'store', 'web']) {
    const other = { name: 'other', port: await freePort(), origin: origin.port };
    const next = configOf(yaml([{ name, port, origin: origin.port }, other], '30s'));
    const opened = Array.from({ length: 50 }, () => RawClient.open(t, port));
    // Node connects in the next tick: the kernel has accepted all of them then, and nobody else has.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    await plane.apply(next);
    const clients = await Promise.all(opened);
    for (const client of clients) client.write(GET.replace('1.1', '1.0'));
    const answers = await Promise.all(clients.map((client) => client.end()));
    t.equal(answers.filter((text) => text.endsWith('ok')).length, 50, name);
  }
});

t.test('two frontends change their addresses: each one serves at the other’s', async (t) => {
  const [one, two] = [
    await RawOrigin.start(t, answering(OK)),
    await RawOrigin.start(t, answering(OK.replace('ok', 'to'))),
  ];
  const ports = [await freePort(), await freePort()] as const;
  const sides = (a: number, b: number) => [
    { name: 'a', port: a, origin: one.port },
    { name: 'b', port: b, origin: two.port },
  ];
  const plane = await Plane.start(t, yaml(sides(...ports), '30s'));
  await plane.apply(configOf(yaml(sides(ports[1], ports[0]), '30s')));
  for (const [port, text] of [
    [ports[0], 'to'],
    [ports[1], 'ok'],
  ] as const) {
    const client = await RawClient.open(t, port);
    client.write(GET);
    t.match(await client.until((all) => /(ok|to)$/.test(all)), new RegExp(`${text}$`));
  }
});

t.test('a UDP frontend under a new name: every new client is heard, old flows end', async (t) => {
  const origin = await Origin.start(t, 'o');
  const plane = await serve(t, { name: 'dns', mode: 'udp', origin: origin.port }, '300ms');
  const old = await Client.open(t, plane.port);
  await old.ask('1');
  const side = { name: 'names', mode: 'udp', port: plane.port, origin: origin.port };
  const other = { name: 'other', port: await freePort(), origin: 9 };
  await plane.apply(configOf(yaml([other, side], '300ms')));
  for (let i = 0; i < 20; i++) {
    const client = await Client.open(t, plane.port);
    t.equal(await client.ask(`${i}`), `o ${i}`);
  }
  // Row 0 is that of the frontend that had the old flow.
  while (plane.control.frontendCounter(0, 'connections') > 0) await sleep(5);
  t.equal(await old.ask('2'), 'o 2');
});
