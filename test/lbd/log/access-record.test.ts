import type net from 'node:net';
import t, { type Test } from 'tap';
import type { CAUSES } from '../../../lbd/log/cause.ts';
import { OK, Plane, RawClient, RawOrigin } from '../harness.ts';
import { always, type Reply } from '../http/exchange.ts';
import { Certificates, SecureClient } from '../tls/secure-client.ts';
import { Origin, Client as UdpClient } from '../udp/udp-peers.ts';

// Most of the time goes into waiting for batches and deadlines.
t.jobs = 8;

const GET = 'GET /a?b HTTP/1.1\r\nHost: A:80\r\nUser-Agent: t/1\r\nReferer: http://r/\r\n\r\n';
const POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n';

interface Settings {
  readonly frontend?: string;
  /** false: only its routes have a pool. */
  readonly pooled?: boolean;
  readonly pool?: string;
  /** Of the only backend; default: a live one. */
  readonly port?: number;
  readonly backend?: string;
  readonly log?: string;
}

/** A plane with an access log, an origin behind it whose answer may change, and its lines as objects. */
async function start(t: Test, settings: Settings = {}) {
  let reply: Reply = always(OK);
  const origin = await RawOrigin.start(t, (socket, data, connection) => reply(socket, data, connection));
  const plane = await Plane.start(
    t,
    `
access_log: { path: /access.log${settings.log ?? ''} }
frontends:
  web: { bind: ["127.0.0.1:PORT"], ${settings.pooled === false ? '' : 'pool: web,'} ${settings.frontend ?? ''} }
pools:
  web:
    ${settings.pool ?? ''}
    backends: { s1: { address: "127.0.0.1:${settings.port ?? origin.port}"${settings.backend ?? ''} } }
  api: { backends: { a1: { address: "127.0.0.1:${origin.port}" } } }
`,
  );
  return {
    plane,
    origin,
    reply: (to: Reply) => {
      reply = to;
    },
    client: () => RawClient.open(t, plane.port),
    line: async () => JSON.parse((await plane.accessLines(1))[0]!) as Record<string, unknown>,
  };
}

t.test('a request, its successor on the same connections, and what is counted of each', async (t) => {
  const { client, line } = await start(t, { frontend: 'routes: [{ match: { path: /api }, pool: api }]' });
  const one = await client();
  one.write(GET);
  await one.until((text) => text.endsWith(OK));
  const first = await line();
  t.match(first, {
    ...{
      frontend: 'web',
      client: '127.0.0.1',
      method: 'GET',
      host: 'a',
      target: '/a?b',
      protocol: 'HTTP/1.1',
    },
    ...{ status: 200, cause: '', route: null, pool: 'web', backend: 's1', tries: 1 },
    ...{
      bytes_in: GET.length,
      bytes_out: one.raw.length,
      request_id: /^test-/,
      referer: 'http://r/',
      user_agent: 't/1',
    },
  });
  t.ok(Number(first.connect_ms) > 0, 'a new connection');
  for (const phase of ['head_ms', 'queue_ms', 'connect_ms', 'first_byte_ms', 'total_ms'])
    t.ok(Number(first[phase]) >= 0 && Number(first[phase]) <= Number(first.total_ms), phase);
  one.write(`${POST.replace(' / ', ' /api ')}hello`);
  await one.until((text) => text.endsWith(OK + OK));
  t.match(await line(), {
    method: 'POST',
    route: 0,
    pool: 'api',
    backend: 'a1',
    bytes_in: POST.length + 8,
    referer: '',
  });
  one.write(GET);
  await one.until((text) => text.endsWith(OK + OK + OK));
  t.match(await line(), { connect_ms: 0, tries: 1 }, 'a connection that was there');
});

const NO_ANSWER: Reply = () => {};
const END: Reply = (socket) => socket.end();

/** What goes wrong, and what the line says: see the table of causes in docs/how-to/logs.md. */
const FAULTS: readonly {
  readonly cause: keyof typeof CAUSES;
  readonly status: number;
  readonly settings?: Settings;
  readonly reply?: Reply;
  readonly send?: string;
  /** What the client does after it has sent that. */
  readonly act?: (client: RawClient, origin: RawOrigin, plane: Plane) => void | Promise<void>;
  readonly more?: Record<string, unknown>;
}[] = [
  {
    cause: 'bad_request',
    status: 400,
    send: 'GET / HTTP/1.1\r\nHost : a\r\n\r\n',
    more: { method: 'GET', target: '/', reason: 'white space before the colon' },
  },
  { cause: 'bad_request', status: 505, send: 'GET / HTTP/2.0\r\nHost: a\r\n\r\n' },
  {
    cause: 'bad_request',
    status: 400,
    send: 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n',
  },
  {
    cause: 'head_too_large',
    status: 431,
    send: `GET / HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(200)}\r\n`,
  },
  { cause: 'head_too_large', status: 431, send: `GET /${'a'.repeat(20_000)}` },
  { cause: 'head_timeout', status: 408, send: 'GET', settings: { frontend: 'timeouts: { head: 100ms }' } },
  {
    cause: 'body_timeout',
    status: 408,
    send: POST,
    settings: { frontend: 'timeouts: { body: 100ms }' },
    reply: NO_ANSWER,
  },
  {
    cause: 'no_route',
    status: 404,
    settings: { frontend: 'routes: [{ match: { path: /b }, pool: web }]', pooled: false },
  },
  {
    cause: 'no_backend',
    status: 503,
    settings: { backend: ', weight: 0' },
    more: { pool: 'web', backend: '', tries: 0 },
  },
  { cause: 'connect_failed', status: 502, settings: { port: 1 }, more: { backend: 's1', tries: 1 } },
  { cause: 'backend_closed', status: 502, reply: END, send: `${POST}hello` },
  { cause: 'backend_closed', status: 502, reply: (socket) => socket.resetAndDestroy(), send: `${POST}hello` },
  {
    cause: 'backend_timeout',
    status: 504,
    reply: NO_ANSWER,
    settings: { pool: 'timeouts: { response: 100ms }' },
  },
  { cause: 'total_timeout', status: 504, reply: NO_ANSWER, settings: { pool: 'timeouts: { total: 100ms }' } },
  { cause: 'bad_response', status: 502, reply: always('HTTP/2.0 200 OK\r\n\r\n') },
  { cause: 'bad_response', status: 502, reply: always(`HTTP/1.1 200 OK\r\nX: ${'a'.repeat(20_000)}`) },
  {
    cause: 'response_cut',
    status: 200,
    reply: always('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', true),
  },
  {
    cause: 'client_gone',
    status: 499,
    reply: NO_ANSWER,
    act: async (client, origin) => {
      await origin.until(() => origin.received.length > 0);
      client.socket.resetAndDestroy();
    },
  },
  {
    cause: 'client_gone',
    status: 200,
    reply: (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf'),
    act: async (client) => {
      await client.until((text) => text.endsWith('half'));
      client.socket.resetAndDestroy();
    },
  },
  {
    cause: 'cut',
    status: 0,
    reply: NO_ANSWER,
    act: async (_, origin, plane) => {
      await origin.until(() => origin.received.length > 0);
      plane.plane.cut(plane.slot('web/s1'));
    },
  },
];

for (const { cause, status, settings, reply = always(OK), send = GET, act, more = {} } of FAULTS) {
  t.test(
    `${cause}, ${status}${settings === undefined ? '' : `, ${JSON.stringify(settings)}`}`,
    { buffered: true },
    async (t) => {
      const it = await start(t, settings);
      it.reply(reply);
      const client = await it.client();
      client.write(send);
      await act?.(client, it.origin, it.plane);
      const line = await it.line();
      t.match(line, { cause, status, frontend: 'web', ...more });
      if (status >= 400 && status !== 499)
        t.match(await client.until((text) => text.includes('\r\n\r\n')), ` ${status} `);
      client.socket.destroy();
    },
  );
}

t.test('a full backend: who waits in vain, and who waits at all', async (t) => {
  const it = await start(t, {
    backend: ', max_connections: 1',
    pool: 'queue: { length: 1, timeout: 300ms }',
  });
  const held: net.Socket[] = [];
  it.reply((socket) => held.push(socket));
  const [one, two, three] = [await it.client(), await it.client(), await it.client()];
  one.write(GET);
  await it.origin.until(() => held.length === 1);
  two.write(GET);
  three.write(GET);
  const full = await it.line();
  t.match(full, { cause: 'queue_full', status: 503, tries: 0 });
  const late = await it.line();
  t.match(late, { cause: 'queue_timeout', status: 503, tries: 0 });
  t.ok(Number(late.queue_ms) > 0, `${late.queue_ms} ms in the queue`);
  held[0]!.write(OK);
  t.match(await it.line(), { cause: '', status: 200, queue_ms: 0 });
});

t.test('a client that is turned away', async (t) => {
  const cases: readonly [cause: string, frontend: string, status: number, more: object][] = [
    ['too_many_clients', 'max_connections: 1', 503, { method: '', backend: '' }],
    ['too_many_of_client', 'limits: { per_source: 1 }', 429, { client: '127.0.0.1' }],
  ];
  for (const [cause, frontend, status, more] of cases) {
    const it = await start(t, { frontend });
    const first = await it.client();
    first.write(GET);
    await first.until((text) => text.endsWith(OK));
    t.match(await it.line(), { cause: '' });
    const second = await it.client();
    t.match(await it.line(), { cause, status, ...more });
    t.match(await second.until((text) => text.includes('\r\n\r\n')), ` ${status} `);
  }
  const it = await start(t, { frontend: 'accept_proxy: [127.0.0.0/8]' });
  const liar = await it.client();
  liar.write(GET);
  t.match(await it.line(), { cause: 'proxy_header', status: 0 });
});

t.test('half a head, and the client ends', async (t) => {
  const it = await start(t);
  const client = await it.client();
  client.write('GET / HTTP/1.1\r\nHo');
  client.socket.end();
  t.match(await it.line(), { cause: 'client_gone', status: 499, method: '' });
});

t.test('a client with which no TLS comes about', async (t) => {
  const certificates = new Certificates(t);
  const tls = `tls: { certificates: [${certificates.server('a.example').files}] }`;
  const it = await start(t, { frontend: `${tls}, accept_proxy: [127.0.0.0/8]` });
  const cases: readonly [first: string, client: string][] = [
    ['PROXY TCP4 192.0.2.7 192.0.2.8 1000 443\r\nGET / HTTP/1.1\r\n\r\n', '192.0.2.7'],
    ['PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n\r\n', '127.0.0.1'],
  ];
  for (const [first, client] of cases) {
    const raw = await it.client();
    raw.write(first);
    const line = await it.line();
    t.match(line, { frontend: 'web', client, cause: 'tls_failed', status: 0, method: '', backend: '' });
    t.ok(Number(line.tls_ms) > 0);
  }
  const flood = await Promise.all(Array.from({ length: 30 }, () => it.client()));
  for (const raw of flood) raw.socket.end('PROXY UNKNOWN\r\nnot TLS at all');
  while (it.plane.control.frontendCounter(0, 'tls_failed') < 32) await new Promise(setImmediate);
  await it.plane.plane.stop(0);
  const lines = await it.plane.accessLines(18);
  t.equal(lines.length, 18, 'a flood is counted, and the first of it are told');
});

t.test('who reads the ClientHello of a proxy’s client tells that client’s address', async (t) => {
  const it = await start(t, { frontend: 'mode: tcp, tls: passthrough, accept_proxy: [127.0.0.0/8]' });
  const raw = await it.client();
  raw.write('PROXY TCP4 192.0.2.7 192.0.2.8 1000 443\r\nGET / HTTP/1.1\r\n\r\n');
  t.match(await it.line(), { client: '192.0.2.7', cause: 'bad_request' });
});

t.test('a client whose datagram nobody takes', async (t) => {
  const cases: readonly [cause: string, settings: Settings][] = [
    ['no_backend', { frontend: 'mode: udp', backend: ', weight: 0' }],
    ['queue_full', { frontend: 'mode: udp', backend: ', max_connections: 1' }],
    ['too_many_clients', { frontend: 'mode: udp, max_connections: 1' }],
    ['too_many_of_client', { frontend: 'mode: udp, limits: { per_source: 1 }' }],
  ];
  for (const [cause, settings] of cases) {
    const service = await Origin.start(t, '');
    const it = await start(t, { ...settings, port: service.port, pool: 'health: { type: none }' });
    if (cause !== 'no_backend') {
      const first = await UdpClient.open(t, it.plane.port);
      await first.ask('1');
      await first.ask('2');
    }
    const second = await UdpClient.open(t, it.plane.port);
    second.socket.send('3', it.plane.port, '127.0.0.1');
    t.match(await it.line(), { frontend: 'web', client: '127.0.0.1', cause }, cause);
  }
});

t.test('a tunnel is one line, at its end', async (t) => {
  const it = await start(t);
  it.reply((socket, data) => {
    if (data.includes('Upgrade'))
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n');
    else socket.write(data);
  });
  const client = await it.client();
  client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
  await client.until((text) => text.endsWith('\r\n\r\n'));
  client.write('hello');
  await client.until((text) => text.endsWith('hello'));
  client.socket.end();
  await it.origin.until(() => it.origin.received[0]!.endsWith('<end>'));
  it.origin.sockets[0]!.end();
  const line = await it.line();
  t.match(line, { status: 101, cause: '', bytes_out: client.raw.length });
  t.equal(
    Number(line.bytes_in),
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'.length + 5,
  );
});

t.test('the handshake is in the line of the first request', async (t) => {
  const certificates = new Certificates(t);
  const it = await start(t, {
    frontend: `tls: { certificates: [${certificates.server('a.example').files}] }`,
  });
  const client = await SecureClient.open(t, it.plane.port, {});
  await client.ask();
  const first = await it.line();
  t.ok(Number(first.tls_ms) > 0, `${first.tls_ms} ms`);
  await client.ask();
  t.match(await it.line(), { tls_ms: 0, status: 200 });
});

t.test('a sample leaves out what went well, and nothing that went wrong', async (t) => {
  const it = await start(t, {
    log: ', sample: 0',
    frontend: 'routes: [{ match: { path: /api }, pool: api }]',
  });
  const client = await it.client();
  for (const target of ['/a', '/api', '/a'])
    client.write(GET.replace('/a?b', target).replace('GET', target === '/api' ? 'G@T' : 'GET'));
  t.match(await it.line(), { cause: 'bad_request' });
});

t.test('common and combined', async (t) => {
  for (const [format, tail] of [
    ['common', ''],
    ['combined', ' "http://r/" "t/1"'],
  ]) {
    const it = await start(t, { log: `, format: ${format}` });
    const client = await it.client();
    client.write(GET);
    const [line] = await it.plane.accessLines(1);
    t.match(line, /^127\.0\.0\.1 - - \[.*\] "GET \/a\?b HTTP\/1\.1" 200 \d+/);
    t.ok(line!.endsWith(` 2${tail}`), line!);
  }
});

t.test('a TCP connection is one line, at its end', async (t) => {
  const tcp = { frontend: 'mode: tcp' };
  await t.test('orderly', async (t) => {
    const it = await start(t, tcp);
    it.reply((socket, data) => {
      socket.write(data);
      socket.end();
    });
    const client = await it.client();
    client.write('hello');
    await client.end();
    client.socket.end();
    const line = await it.line();
    t.match(line, {
      client: '127.0.0.1',
      cause: '',
      route: null,
      pool: 'web',
      backend: 's1',
      tries: 1,
      bytes_in: 5,
      bytes_out: 5,
    });
    t.ok(Number(line.connect_ms) > 0 && Number(line.total_ms) >= Number(line.first_byte_ms));
    t.notOk('method' in line);
  });
  const cases: readonly [
    cause: string,
    settings: Settings,
    reply: Reply,
    act: (client: RawClient) => void,
  ][] = [
    ['connect_failed', { ...tcp, port: 1 }, END, () => {}],
    ['no_backend', { ...tcp, backend: ', weight: 0' }, END, () => {}],
    ['backend_closed', tcp, (socket) => socket.resetAndDestroy(), (client) => client.write('x')],
    [
      'idle_timeout',
      { frontend: 'mode: tcp, timeouts: { idle: 100ms }' },
      NO_ANSWER,
      (client) => client.write('x'),
    ],
    ['client_gone', tcp, NO_ANSWER, (client) => client.socket.resetAndDestroy()],
  ];
  for (const [cause, settings, reply, act] of cases)
    await t.test(cause, async (t) => {
      const it = await start(t, settings);
      it.reply(reply);
      // One that is refused at once may be reset before it is connected.
      await it.client().then(act, () => {});
      t.match(await it.line(), { cause });
    });
  await t.test('cut at a stop: the line is not lost', async (t) => {
    const it = await start(t, tcp);
    const client = await it.client();
    client.write('x');
    await it.origin.until(() => it.origin.received[0] === 'x');
    await it.plane.plane.stop(0);
    t.match(await it.line(), { cause: 'cut', bytes_in: 1 });
  });
});

t.test('without an access log, nothing is collected', async (t) => {
  const it = await start(t, { frontend: 'access_log: false' });
  const client = await it.client();
  client.write(GET);
  await client.until((text) => text.endsWith(OK));
  await it.plane.plane.stop(0);
  const nothing = await Promise.race([
    it.plane.accessLines(1),
    new Promise((resolve) => setImmediate(resolve, 'nothing')),
  ]);
  t.equal(nothing, 'nothing');
});

t.test('common counts the bytes of the body alone, in whatever frame it comes', async (t) => {
  const { client, plane, reply } = await start(t, { log: ', format: common' });
  const bytes = async (answer: string, request = GET) => {
    reply(always(answer));
    const one = await client();
    one.write(request);
    const [line] = await plane.accessLines(1);
    one.socket.destroy();
    return line!.replace(/^.*"/, '').trim();
  };
  t.equal(await bytes(OK), '200 2');
  t.equal(await bytes(`HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}`), '200 2', 'behind a 1xx');
  t.equal(await bytes('HTTP/1.1 204 No Content\r\n\r\n'), '204 0');
  const own = '502 Bad Gateway: invalid response: invalid start line\n';
  t.equal(await bytes('nothing of HTTP'), `502 ${own.length}`);
  t.equal(await bytes('nothing of HTTP', GET.replace('GET', 'HEAD')), '502 0');
});

t.test('a refused request is logged with what is known of it, and why it was refused', async (t) => {
  const { client, line } = await start(t, { frontend: 'timeouts: { head: 100ms }, limits: { head: 1KiB }' });
  const refused = async (text: string) => {
    const one = await client();
    one.write(text);
    await one.end();
    one.socket.destroy();
    return line();
  };
  const base = { cause: 'bad_request', status: 400 };
  const known = { method: 'POST', target: '/a?b', protocol: 'HTTP/1.1' };
  t.match(await refused('POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n'), {
    ...base,
    ...known,
    reason: 'invalid Content-Length',
  });
  t.match(await refused('POST /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n'), {
    ...base,
    ...known,
    reason: 'invalid chunk size',
  });
  t.match(await refused('POST /a?b HTTP/2.7\r\n\r\n'), {
    ...{ cause: 'bad_request', status: 505, method: '', target: 'POST /a?b HTTP/2.7' },
    reason: 'unsupported HTTP version',
  });
  t.match(await refused('\r\n\x16\x03\x01"\n'), {
    ...base,
    target: '\x16\x03\x01"',
    reason: 'invalid method',
  });
  t.match(await refused(`POST /a?b HTTP/1.1\r\nX: ${'x'.repeat(2000)}`), {
    ...{ cause: 'head_too_large', status: 431 },
    ...known,
  });
  t.match(await refused('POST /a?b HTTP/1.1\r\nHost: a\r\nX'), {
    ...{ cause: 'head_timeout', status: 408, bytes_in: 30 },
    ...known,
  });
  const long = await refused(`${'x'.repeat(600)} / HTTP/1.1\r\n\r\n`);
  t.equal((long.target as string).length, 256, 'bounded');
});
