import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { basename, join } from 'node:path';
import t, { type Test } from 'tap';
import { SOCKETS } from '../../common/control.ts';
import { ControlError, type ControlRoute, serveControl } from '../../common/control-server.ts';
import { tempDir } from './temp-dir.ts';

interface Answer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: unknown;
}

function call(socketPath: string, method: string, path: string, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = request({ socketPath, method, path, agent: false }, async (res) => {
      let text = '';
      for await (const chunk of res) text += chunk;
      resolve({
        status: res.statusCode ?? 0,
        headers: res.headers,
        body: text === '' ? undefined : JSON.parse(text),
      });
    });
    req.on('error', reject);
    req.end(body);
  });
}

const routes: ControlRoute[] = [
  { method: 'GET', path: '/v1/status', handle: () => ({ node: 'lb1' }) },
  { method: 'GET', path: '/v1/echo', handle: ({ query }) => ({ limit: query.get('limit') }) },
  {
    method: 'POST',
    path: '/v1/backends/:pool/:backend',
    handle: async ({ params, body }) => ({ params, body: body ?? 'none' }),
  },
  { method: 'DELETE', path: '/v1/sessions', handle: () => undefined },
  {
    method: 'POST',
    path: '/v1/refuse',
    handle: () => {
      throw new ControlError(409, 'not now');
    },
  },
  {
    method: 'POST',
    path: '/v1/bug',
    handle: () => {
      throw new Error('two\nlines');
    },
  },
];

async function serve(t: Test): Promise<string> {
  const path = join(tempDir(t), 'run', 'lbd.sock');
  const server = await serveControl(path, routes);
  t.teardown(() => server.close());
  return path;
}

t.test('answers', async (t) => {
  const path = await serve(t);
  const cases: [method: string, target: string, body: string | undefined, status: number, answer: unknown][] =
    [
      ['GET', '/v1/status', undefined, 200, { node: 'lb1' }],
      ['GET', '/v1/echo?limit=5', undefined, 200, { limit: '5' }],
      [
        'POST',
        '/v1/backends/web/s1',
        '{"weight":3}',
        200,
        { params: { pool: 'web', backend: 's1' }, body: { weight: 3 } },
      ],
      [
        'POST',
        '/v1/backends/we%2Fb/s%201',
        undefined,
        200,
        { params: { pool: 'we/b', backend: 's 1' }, body: 'none' },
      ],
      ['DELETE', '/v1/sessions', undefined, 204, undefined],
      ['POST', '/v1/refuse', undefined, 409, { error: 'not now' }],
      ['POST', '/v1/bug', undefined, 500, { error: 'two; lines' }],
      ['GET', '/v1/none', undefined, 404, { error: 'no such path: /v1/none' }],
      ['GET', '/v1/status/', undefined, 404, { error: 'no such path: /v1/status/' }],
      ['POST', '/v1/status', undefined, 405, { error: '/v1/status takes GET, not POST' }],
      ['POST', '/v1/backends/%zz/s1', undefined, 400, { error: 'bad percent-encoding in the path: %zz' }],
      ['POST', '/v1/backends/web/s1', '{"weight":', 400, { error: /^the body is not JSON: / }],
      [
        'POST',
        '/v1/backends/web/s1',
        `"${'x'.repeat(1_000_000)}"`,
        413,
        { error: 'the body may have 65536 bytes' },
      ],
    ];
  for (const [method, target, body, status, answer] of cases) {
    const got = await call(path, method, target, body);
    t.equal(got.status, status, `${method} ${target} ${status}`);
    if (answer === undefined) t.equal(got.body, undefined);
    else t.match(got.body, answer);
  }
  t.equal((await call(path, 'DELETE', '/v1/status')).headers.allow, 'GET');
});

t.test('the socket is for owner and group, its directory is made', async (t) => {
  const path = await serve(t);
  t.equal(statSync(path).mode & 0o777, 0o660);
  t.equal(statSync(join(path, '..')).mode & 0o027, 0, 'others cannot enter, the group cannot write');
});

t.test('a socket that is served is refused, and still served afterwards', async (t) => {
  const path = await serve(t);
  await t.rejects(serveControl(path, routes), {
    code: 'RUN_DIR_TAKEN',
    message: /^another lbd runs with this run directory: /,
  });
  t.equal((await call(path, 'GET', '/v1/status')).status, 200);
  const kernel = join(path, '..', basename(SOCKETS.kernel));
  const helper = await serveControl(kernel, routes);
  t.teardown(() => helper.close());
  await t.rejects(serveControl(kernel, routes), { message: /^another lbd-kernel runs/ });
});

t.test('folders are made where they are missing; those that are there stay as they are', async (t) => {
  const dir = tempDir(t);
  const mode = (path: string) => (statSync(join(dir, path)).mode & 0o7777).toString(8);
  const open = async (path: string) => {
    const server = await serveControl(join(dir, path), routes);
    t.teardown(() => server.close());
  };
  await open('run/lb/lbd.sock');
  t.strictSame(['run', 'run/lb', 'run/lb/lbd.sock'].map(mode), ['755', '750', '660']);
  mkdirSync(join(dir, 'run/live'));
  chmodSync(join(dir, 'run/live'), 0o2710);
  await open('run/live/lbd-live.sock');
  t.strictSame(['run', 'run/live', 'run/live/lbd-live.sock'].map(mode), ['755', '2710', '660']);
});

t.test('the file that a killed daemon left is replaced', async (t) => {
  const path = join(tempDir(t), 'agent.sock');
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.ok(existsSync(path), 'the file is still there');
  const server = await serveControl(path, routes);
  t.equal((await call(path, 'GET', '/v1/status')).status, 200);
  await server.close();
  t.notOk(existsSync(path), 'close removes the file');
});

t.test('close does not wait for idle clients', async (t) => {
  const path = join(tempDir(t), 'lbd.sock');
  const server = await serveControl(path, routes);
  const idle = connect(path);
  await once(idle, 'connect');
  await call(path, 'GET', '/v1/status');
  const closed = once(idle.resume(), 'close');
  await server.close();
  await closed;
});

t.test('what cannot be made is one clear line', async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, 'file'), '');
  const long = join(dir, 'x'.repeat(100), 'lbd.sock');
  await t.rejects(serveControl(long, routes), { code: 'RUN_DIR', message: /may have 107 bytes/ });
  await t.rejects(serveControl(join(dir, 'file', 'lbd.sock'), routes), {
    code: 'RUN_DIR',
    message: /^cannot listen on .*lbd\.sock: [^\n]*$/,
  });
});

t.test('more answers than it can give beside its work are refused, in words', async (t) => {
  const path = join(tempDir(t), 'run', 'lbd.sock');
  const server = await serveControl(path, routes, 0.001);
  t.teardown(() => server.close());
  t.match(await call(path, 'GET', '/v1/status'), { status: 429, body: { error: 'too many requests' } });
});
