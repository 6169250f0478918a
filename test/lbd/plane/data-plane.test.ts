import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import type { Config } from '../../../common/model.ts';
import type { OpenByGroup } from '../../../lbd/shared/plan.ts';
import { GATE_CLOSED } from '../../../lbd/shared/shared.ts';
import { freePort } from '../../common/free-port.ts';
import { answering, OK, Plane, RawClient, RawOrigin } from '../harness.ts';
import { always, Exchange, withoutIds, yaml } from '../http/exchange.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

function answer(body: string, fields = ''): string {
  return `HTTP/1.1 200 OK\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`;
}

/** Sends a request on its own connection and returns what comes back. */
async function ask(t: Test, plane: Plane, request: string): Promise<string> {
  const client = await RawClient.open(t, plane.port);
  client.write(request);
  const text = await client.until((text) => /\r\n\r\n./s.test(text));
  client.socket.destroy();
  return text;
}

function configOf(plane: Plane, text: string): Config {
  return parseConfig(text.replaceAll('PORT', String(plane.port)), '/test.yaml', { cpus: 1 });
}

t.test('giving up the active role: connections at the VIP finish, others are not concerned', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  const text = yaml([origin.port]).replace('127.0.0.1:PORT', '*:PORT');
  const plane = await Plane.start(t, text);
  const vips = [{ address: '127.0.0.100', prefix: 8, family: 4, interface: 'lo' }];
  const other = { name: 'green', vips: [{ ...vips[0], address: '127.0.0.200' }] };
  await plane.apply({
    ...plane.config,
    ha: { groups: [{ name: 'blue', vips }, other] },
  } as unknown as Config);
  const open = async (host: string) => {
    const socket = net.connect({ host, port: plane.port });
    t.teardown(() => socket.destroy());
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    const ask = async () => {
      text = '';
      socket.write(GET);
      while (!text.endsWith('\r\n\r\nok') && !socket.destroyed) await once(socket, 'data');
      return text;
    };
    await once(socket, 'connect');
    return { socket, ask, ended: once(socket, 'end') };
  };
  const busy = await open('127.0.0.100');
  const idle = await open('127.0.0.100');
  const own = await open('127.0.0.1');
  const green = await open('127.0.0.200');
  for (const client of [busy, idle, own, green]) t.notMatch(await client.ask(), 'Connection: close');

  const counts: number[] = [];
  let told = () => {};
  const count = async (wanted: number) => {
    while (counts.at(-1) !== wanted) await new Promise<void>((resolve) => (told = resolve));
  };
  const onOpen = ({ blue = 0 }: OpenByGroup) => {
    counts.push(blue);
    told();
  };
  plane.plane.retire({ blue: 'close' }, onOpen);
  t.same(counts, [2], 'counted at once, at the VIP only');
  t.match(await busy.ask(), 'Connection: close');
  await busy.ended;
  await count(1);
  plane.plane.retire({ blue: 'cut' }, onOpen);
  await idle.ended;
  await count(0);
  plane.plane.retire({}, onOpen);
  t.notMatch(await own.ask(), 'Connection: close', 'a client of the node itself stays connected');
  t.notMatch(await green.ask(), 'Connection: close', 'and so does one of another VIP group');
});

t.test('a request goes to the backend and its response back, kept alive on both sides', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  const plane = await Plane.start(t, yaml([origin.port]));
  const client = await RawClient.open(t, plane.port);
  for (let i = 1; i <= 3; i++) {
    client.write('GET /x HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.until((text) => text.length === OK.length * i);
  }
  t.equal(client.text, OK.repeat(3));
  t.equal(origin.sockets.length, 1, 'one backend connection served all');
  t.equal(
    withoutIds(origin.received[0]!),
    'GET /x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n\r\n'.repeat(
      3,
    ),
  );
  t.equal(
    new Set(origin.received[0]!.match(/X-Request-Id: .*/g)).size,
    3,
    'each request has an id of its own',
  );
  t.equal(plane.active, 0);
});

t.test('the client\u2019s request id goes to the backend, and into an answer of our own', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  const plane = await Plane.start(t, yaml([origin.port]));
  const request = GET.replace('\r\n\r\n', '\r\nX-Request-Id: mine-1\r\n\r\n');
  await ask(t, plane, request);
  t.match(origin.received[0], '\r\nX-Request-Id: mine-1\r\n');
  plane.gate('web/s1', GATE_CLOSED);
  t.match(await ask(t, plane, request), '\r\nX-Request-Id: mine-1\r\n');
});

t.test('an inserted cookie sticks, and moves when its backend is gone', async (t) => {
  const origins = await Promise.all(
    ['one', 'two'].map((name) => RawOrigin.start(t, answering(answer(name)))),
  );
  const plane = await Plane.start(
    t,
    yaml(
      origins.map(({ port }) => port),
      { stick: 'cookie: SERVERID' },
    ),
  );
  const first = await ask(t, plane, GET);
  const [, name] = /\r\nSet-Cookie: SERVERID=(s\d); Path=\/; HttpOnly; SameSite=Lax\r\n/.exec(first) ?? [];
  const body = name === 's1' ? 'one' : 'two';
  t.ok(first.endsWith(body));
  const sticky = GET.replace('\r\n\r\n', `\r\nCookie: a=b; SERVERID=${name}\r\n\r\n`);
  for (let i = 0; i < 4; i++) {
    const text = await ask(t, plane, sticky);
    t.ok(text.endsWith(body));
    t.notMatch(text, 'Set-Cookie');
  }
  const other = name === 's1' ? 's2' : 's1';
  plane.gate(`web/${name}`, GATE_CLOSED);
  t.match(await ask(t, plane, sticky), new RegExp(`SERVERID=${other};`), 'unhealthy: moved, and told so');
  plane.gate(`web/${name}`, 0);
  origins[name === 's1' ? 0 : 1]!.stop();
  for (let i = 0; i < 2; i++)
    t.match(await ask(t, plane, sticky), new RegExp(`SERVERID=${other};`), 'refuses: moved, and told so');
  t.match(
    await ask(t, plane, GET.replace('\r\n\r\n', '\r\nCookie: SERVERID=evil\r\n\r\n')),
    'Set-Cookie: SERVERID=',
  );
  t.equal(plane.active, 0);
});

t.test('a learnt cookie sticks, and moves when its backend is gone', async (t) => {
  const origins = await Promise.all(
    ['one', 'two'].map((name) =>
      RawOrigin.start(t, (socket, data) =>
        socket.write(answer(name, data.includes('/login') ? `Set-Cookie: SID=of-${name}; Path=/\r\n` : '')),
      ),
    ),
  );
  const plane = await Plane.start(
    t,
    yaml(
      origins.map(({ port }) => port),
      { stick: 'cookie: SID, learn: true' },
    ),
  );
  const login = await ask(t, plane, 'GET /login HTTP/1.1\r\nHost: a\r\n\r\n');
  const [, name] = /SID=of-(one|two)/.exec(login)!;
  const sticky = GET.replace('\r\n\r\n', `\r\nCookie: SID=of-${name}\r\n\r\n`);
  for (let i = 0; i < 4; i++) t.ok((await ask(t, plane, sticky)).endsWith(name!));
  plane.gate(name === 'one' ? 'web/s1' : 'web/s2', GATE_CLOSED);
  const other = name === 'one' ? 'two' : 'one';
  t.ok((await ask(t, plane, sticky)).endsWith(other));
  plane.gate(name === 'one' ? 'web/s1' : 'web/s2', 0);
  for (let i = 0; i < 4; i++) t.ok((await ask(t, plane, sticky)).endsWith(other), 'the entry has moved');
});

t.test('routes pick the pool, request by request on one connection; none matches: 404', async (t) => {
  const origins = await Promise.all(
    ['api', 'static', 'beta'].map((name) => RawOrigin.start(t, answering(answer(name)))),
  );
  const pools = ['api', 'static', 'beta'].map(
    (name, i) => `  ${name}: { backends: { s1: { address: "127.0.0.1:${origins[i]!.port}" } } }`,
  );
  const plane = await Plane.start(
    t,
    `
frontends:
  web:
    bind: ["127.0.0.1:PORT"]
    mode: http
    routes:
      - { match: { path: /api/ }, pool: api }
      - { match: { host: static.example }, pool: static }
      - { match: { cookie: { beta: "1" } }, pool: beta }
pools:
${pools.join('\n')}
`,
  );
  const client = await RawClient.open(t, plane.port);
  const cases = [
    ['GET /api/x HTTP/1.1\r\nHost: a\r\n\r\n', 'api'],
    ['GET / HTTP/1.1\r\nHost: static.example:80\r\n\r\n', 'static'],
    ['GET http://static.example/ HTTP/1.1\r\nHost: other\r\n\r\n', 'static'],
    ['GET / HTTP/1.1\r\nHost: a\r\nCookie: x=y; beta=1\r\n\r\n', 'beta'],
    ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', 'no route matches\n'],
    ['GET /api/y HTTP/1.1\r\nHost: a\r\n\r\n', 'api'],
  ] as const;
  client.write(cases.map(([request]) => request).join(''));
  const text = await client.until((text) => text.split('HTTP/1.1 ').length === 7 && text.endsWith('api'));
  const bodies = text.split(/HTTP\/1\.1 \d+ [\s\S]*?\r\n\r\n/).slice(1);
  t.same(
    bodies.map((body, i) => body.endsWith(cases[i]![1])),
    cases.map(() => true),
  );
  t.match(text, 'HTTP/1.1 404 Not Found\r\n');
});

t.test('a reload under traffic: connections stay, the next request sees the new pools', async (t) => {
  const [one, two] = [
    await RawOrigin.start(t, (socket, data) => data.includes('/slow') || socket.write(answer('one'))),
    await RawOrigin.start(t, answering(answer('two'))),
  ];
  const plane = await Plane.start(t, yaml([one.port]));
  const idle = await RawClient.open(t, plane.port);
  idle.write(GET);
  await idle.until((text) => text.endsWith('one'));
  const busy = await RawClient.open(t, plane.port);
  busy.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n');
  await one.until(() => one.received.some((text) => text.includes('/slow')));
  const at = one.received.findIndex((text) => text.includes('/slow'));
  await plane.apply(configOf(plane, yaml([two.port]).replace('s1:', 's2:')));
  idle.write(GET);
  await idle.until((text) => text.endsWith('two'));
  one.sockets[at]!.write(answer('late'));
  await busy.until((text) => text.endsWith('late'));
  busy.write(GET);
  await busy.until((text) => text.endsWith('two'));
  t.equal(idle.closed + busy.closed, 'nono');
  await one.until(() => one.received.every((text) => /<(end|close)>/.test(text)));
  t.pass('no connection to a backend that is gone is kept');
  t.equal(plane.active, 0);
});

t.test('a frontend that is taken out: its port closes, what is under way is answered', async (t) => {
  const exchange = await Exchange.start(t);
  const { plane } = exchange;
  const client = await exchange.client();
  client.write(GET);
  await exchange.origin.until(() => exchange.origin.received.length > 0);
  const other = `other: { bind: ["127.0.0.1:${await freePort()}"]`;
  const text = yaml([exchange.origin.port]).replace('web: { bind: ["127.0.0.1:PORT"]', other);
  await plane.apply(configOf(plane, text));
  const refused = net.connect(plane.port, '127.0.0.1');
  await t.rejects(once(refused, 'connect'), { code: 'ECONNREFUSED' });
  exchange.origin.sockets[0]!.write(OK);
  t.equal(await client.end(), OK.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
});

t.test(
  'stop with grace: what is under way is finished and closed, idle clients are closed, no new ones',
  async (t) => {
    const exchange = await Exchange.start(t);
    const { plane, origin } = exchange;
    exchange.reply = always(OK);
    const idle = await exchange.client();
    idle.write(GET);
    await idle.until((text) => text === OK);
    const fresh = await exchange.client();
    exchange.reply = () => {};
    const busy = await exchange.client();
    busy.write(GET);
    await origin.until(() => origin.received.join('').split('GET').length === 3);
    const stopped = plane.plane.stop(10_000);
    t.equal(await idle.end(), OK);
    t.equal(idle.closed, 'no', 'an orderly end');
    t.equal(await fresh.end(), '');
    const late = net.connect(plane.port, '127.0.0.1');
    await t.rejects(once(late, 'connect'), { code: 'ECONNREFUSED' });
    origin.sockets.at(-1)!.write(OK);
    t.equal(await busy.end(), OK.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
    for (const client of [idle, fresh, busy]) client.socket.end();
    await stopped;
    t.equal(plane.active, 0);
  },
);

t.test('stop without end: what is left after the grace is cut', async (t) => {
  const exchange = await Exchange.start(t);
  const client = await exchange.client();
  client.write(GET);
  await exchange.origin.until(() => exchange.origin.received.length > 0);
  await exchange.plane.plane.stop(50);
  await client.end();
  t.equal(client.closed, 'reset');
  while (exchange.plane.active > 0) await new Promise((resolve) => setImmediate(resolve));
});
