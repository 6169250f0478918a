import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { parseConfig } from '../../../../common/config.ts';
import { OperatorError } from '../../../../common/errors.ts';
import type { Config } from '../../../../common/model.ts';
import { VERSION } from '../../../../common/version.ts';
import { READY } from '../../../../lbd/kernel/choice.ts';
import { HelperClient } from '../../../../lbd/kernel/helper/client.ts';
import { RemoteHost } from '../../../../lbd/kernel/helper/remote-host.ts';
import { HelperServer } from '../../../../lbd/kernel/helper/server.ts';
import { KernelEngine, type KernelGate } from '../../../../lbd/kernel/kernel-engine.ts';
import { GATE_CLOSED, GATE_OPEN } from '../../../../lbd/shared/shared.ts';
import { tempDir } from '../../../common/temp-dir.ts';
import { fakeHost } from '../fake-host.ts';

const config = (port = 5000, engine = 'kernel') =>
  parseConfig(
    `frontends: { f: { bind: ["*:${port}"], mode: tcp, pool: p, engine: ${engine} } }
pools: { p: { backends: { a: { address: "192.0.2.21:9" }, b: { address: "192.0.2.22:9" } } } }
`,
    '/etc/tandem/tandem.yaml',
  );

/** News, and who waits for some. */
function newsOf() {
  const news: string[] = [];
  const waiting: (() => void)[] = [];
  return {
    news,
    tell(level: string, text: string) {
      news.push(`${level}: ${text}`);
      for (const wake of waiting.splice(0)) wake();
    },
    async told(what: RegExp, from = 0) {
      while (!news.slice(from).some((line) => what.test(line)))
        await new Promise<void>((resolve) => waiting.push(resolve));
    },
  };
}

/** A helper on a host that only remembers, and an lbd that asks it. */
function setUp(t: Test, answerMs?: number) {
  const path = join(tempDir(t), 'kernel.sock');
  const { tell, told, news } = newsOf();
  const log = newsOf();
  const gates = new Map<string, KernelGate>(
    ['a', 'b'].map((name) => [`p/${name}`, { gate: GATE_OPEN, weight: 1, state: 'ready' }]),
  );
  const file = { config: config(), read: Promise.resolve() };
  const host = fakeHost();
  let server: HelperServer | undefined;
  const start = async () => {
    server = new HelperServer({
      configs: {
        get: async (digest): Promise<Config> => {
          await file.read;
          if (digest === file.config.digest) return file.config;
          throw new OperatorError('CONFIG_DIFFERS', 'the file says something else');
        },
      },
      log: log.tell,
      onOtherVersion: () => log.tell('info', 'another version'),
      parts: host.parts,
    });
    rmSync(path, { force: true });
    await once(server.server.listen(path), 'listening');
  };
  const stop = async () => {
    const { server: gone } = server!;
    await server!.close();
    if (gone.listening) await once(gone, 'close');
  };
  const engines: KernelEngine[] = [];
  const next = () => {
    const engine = new KernelEngine({
      gate: (id) => gates.get(id)!,
      tell,
      onFrontends: (frontends) => tell('info', `frontends: ${frontends.map(({ name }) => name).join()}`),
      host: (events) => new RemoteHost(new HelperClient(path, answerMs), events, () => READY),
    });
    engines.push(engine);
    return engine;
  };
  t.teardown(async () => {
    for (const engine of engines) await engine.close();
    await server?.close();
  });
  return { path, engine: next(), next, gates, file, told, news, log, ...host, start, stop };
}

/** Says something to the helper, and hears all until it closes or resets. */
function say(path: string, line: string): Promise<string> {
  const socket = createConnection(path);
  socket.write(`${line}\n`);
  return new Promise((resolve) => {
    let heard = '';
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(heard));
  });
}

/** Says something to the helper, and hears as many answers. */
async function answers(
  t: Test,
  path: string,
  ...lines: string[]
): Promise<{ id: number; refused?: string }[]> {
  const socket = createConnection(path);
  t.teardown(() => socket.destroy());
  for (const line of lines) socket.write(`${line}\n`);
  const heard: { id: number }[] = [];
  for await (const line of createInterface(socket)) {
    heard.push(JSON.parse(line));
    if (heard.length === lines.length) break;
  }
  return heard;
}
const hello = (version = VERSION) => JSON.stringify({ id: 1, type: 'hello', version });

t.test('rules follow health through the helper', async (t) => {
  const { engine, start, scripts, deletions, gates, told, news } = setUp(t);
  await start();
  await engine.apply(config());
  t.match(news, ['info: frontend f: engine kernel: as the config says', 'info: frontends: f']);
  t.match(scripts, [/^add table inet tandem_lb\nflush table/]);
  gates.set('p/b', { gate: GATE_CLOSED, weight: 1, state: 'down' });
  await engine.refresh();
  t.match(scripts[1], /delete element inet tandem_lb places\/p { 1 }/);
  await told(/p\/b: 2 flows in the kernel were cut/);
  t.strictSame(deletions, ['-D -f ipv4 -p tcp --dst-nat 192.0.2.22 --reply-port-src 9 --orig-port-dst 5000']);
  t.strictSame(engine.warnings(), []);
});

t.test('a helper that is gone: the rules stay, and all is said again when it is back', async (t) => {
  const { engine, start, stop, scripts, gates, told, news } = setUp(t);
  await start();
  await engine.apply(config());
  await stop();
  await told(/warn: the helper of the kernel engine is gone/);
  t.match(engine.warnings(), [/the helper of the kernel engine is gone/]);
  t.match(engine.engine('f'), { engine: 'kernel' });
  gates.set('p/a', { gate: GATE_CLOSED, weight: 1, state: 'maint' });
  await engine.refresh();
  const before = scripts.length;
  const told1 = news.length;
  await start();
  await told(/works again/, told1);
  t.equal(scripts.length, before + 1);
  t.match(scripts.at(-1), /flush table/);
  t.notMatch(scripts.at(-1), /0 : goto to\/p\/a/);
  t.strictSame(engine.warnings(), []);
});

t.test('no helper: lbd moves the bytes until there is one', async (t) => {
  const { engine, start, told, news, path } = setUp(t);
  await engine.apply(config());
  t.match(engine.engine('f'), {
    engine: 'user',
    why: `no CAP_NET_ADMIN, and its helper cannot be asked: there is no socket ${path}`,
  });
  t.equal(engine.warnings().length, 1);
  await start();
  await told(/frontend f: engine kernel/);
  await told(/frontends: f/);
  t.match(engine.engine('f'), { engine: 'kernel' });
  t.strictSame(engine.warnings(), []);
  t.ok(news.length > 0);
});

t.test('a helper that is late at the start, as on a machine that boots, is asked again', async (t) => {
  const { engine, start, file, told } = setUp(t, 200);
  await start();
  const { promise, resolve } = Promise.withResolvers<void>();
  file.read = promise;
  await engine.apply(config());
  t.match(engine.engine('f'), { engine: 'user', why: /has not answered within 0.2 s/ });
  resolve();
  await told(/frontends: f/);
  t.match(engine.engine('f'), { engine: 'kernel' });
  t.strictSame(engine.warnings(), []);
});

t.test('a helper that has read another config refuses, and the rules stay', async (t) => {
  const { engine, start, scripts, file, told } = setUp(t);
  await start();
  await engine.apply(config());
  await engine.apply(config(5001));
  t.match(engine.warnings(), [/the old ones are in force: the file says something else/]);
  t.equal(scripts.length, 1);
  file.config = config(5001);
  await told(/works again/);
  t.match(scripts.at(-1), /tcp \. 5001/);
});

t.test('a table that nobody needs is removed by the helper, which may go then', async (t) => {
  const { engine, start, scripts, host, log, file } = setUp(t);
  await start();
  host.table = true;
  file.config = config(5000, 'user');
  await engine.apply(file.config);
  t.strictSame(scripts, ['add table inet tandem_lb\ndelete table inet tandem_lb\n']);
  await log.told(/lbd is gone/);
});

t.test('an lbd that needs no kernel takes back what the one before it wanted', async (t) => {
  const { engine, start, scripts, host, file, next } = setUp(t);
  await start();
  await engine.apply(config());
  await engine.close();
  file.config = config(5000, 'user');
  await next().apply(file.config);
  t.match(scripts[1], /delete element inet tandem_lb everywhere4 { tcp . 5000 }/);
  t.notMatch(scripts[1], /delete table|delete chain inet tandem_lb prerouting/, 'stays for open flows');
  t.equal(host.table, true);
});

t.test('nothing changes by what lbd does not say', async (t) => {
  const { engine, start, scripts, deletions, path, log } = setUp(t);
  await start();
  await engine.apply(config());
  for (const line of [
    'flush ruleset',
    '{"id":1,"type":"facts"}',
    '{"id":1,"type":"flows","token":"guessed"}',
    '{"id":1,"type":"apply","script":"flush ruleset"}',
    'x'.repeat(5 * 1024 * 1024),
  ])
    t.equal(await say(path, line), '', line.slice(0, 60));
  await engine.refresh();
  t.equal(scripts.length, 1);
  t.strictSame(deletions, []);
  t.ok(log.news.some((line) => line.includes('a connection was closed')));
  t.notOk(
    log.news.some((line) => line.includes('lbd is gone')),
    'the one that is served is left alone',
  );
});

t.test('who has said hello is told what it may not ask', async (t) => {
  const { start, scripts, path } = setUp(t);
  await start();
  const order = { id: 2, type: 'keep', digest: config().digest, frontends: ['f'], gates: {}, young: {} };
  const heard = await answers(
    t,
    path,
    hello(),
    JSON.stringify({ ...order, gates: { 'p/c': [0, 1] } }),
    JSON.stringify({ ...order, id: 3, frontends: ['g'] }),
    JSON.stringify({ ...order, id: 4, digest: '0'.repeat(64) }),
    JSON.stringify({ id: 5, type: 'young', young: { '192.0.2.1': null } }),
    JSON.stringify({ id: 6, type: 'cut', frontend: 'f', backend: '-F' }),
    hello(),
  );
  t.match(heard[0], { id: 1, ok: { token: /^[0-9a-f]{32}$/ } });
  const refusals = heard.filter((it) => 'refused' in it);
  t.strictSame(new Set(refusals.map(({ id }) => id)), new Set([1, 2, 3, 4, 5, 6]));
  t.strictSame(scripts, []);
});

t.test('who comes and goes, or is of another version, does not fill the log', async (t) => {
  const { start, path, log } = setUp(t);
  await start();
  const heard = await say(path, Array.from({ length: 100 }, () => hello('0.0.0')).join('\n'));
  t.equal(heard.match(/"code":"VERSION"/g)?.length, 1, 'it is refused once, and heard no more');
  for (let i = 0; i < 50; i++) await answers(t, path, hello());
  t.ok(log.news.length < 30, `${log.news.length} lines`);
});

t.test('another version, and two lbds', async (t) => {
  const { start, path, log } = setUp(t);
  await start();
  t.match(await say(path, hello('0.0.0')), /"code":"VERSION"/);
  await log.told(/another version/);
  const first = say(path, hello());
  await log.told(/lbd is here/);
  const second = createConnection(path);
  second.write(`${hello()}\n`);
  t.match(await first, /token/, 'the older one is cut off');
  second.destroy();
});
