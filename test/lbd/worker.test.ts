import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { parseConfig } from '../../common/config.ts';
import { SessionTable } from '../../lbd/session/table.ts';
import type { FromWorker, Plan, ToWorker, WorkerData } from '../../lbd/shared/plan.ts';
import { createSharedBuffers, GATE_OPEN, SharedState } from '../../lbd/shared/shared.ts';
import { freePort } from '../common/free-port.ts';
import { answering, OK, RawClient, RawOrigin } from './harness.ts';

const ENTRY = new URL('../../lbd/worker.ts', import.meta.url);

/** Waits for what another thread brings about; tap's own time-out ends it when it never comes. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(2);
}

function tcp(port: number, backends: readonly number[], name = 'db'): string {
  return `
frontends:
  ${name}: { bind: ["127.0.0.1:${port}"], mode: tcp, pool: db }
pools:
  db:
    algorithm: least-connections
    backends: { ${backends.map((to, i) => `s${i + 1}: { address: "127.0.0.1:${to}" }`).join(', ')} }
`;
}

function http(port: number, backend: number): string {
  return `
frontends: { web: { bind: ["127.0.0.1:${port}"], mode: http, pool: web } }
pools: { web: { backends: { s1: { address: "127.0.0.1:${backend}" } } } }
`;
}

/** Real worker threads on shared memory, as the main thread runs them. */
class Workers {
  readonly control: SharedState;
  readonly workers: Worker[] = [];
  /** What each worker says of how it reads and writes. */
  readonly indirect: string[] = [];
  readonly #buffers;
  readonly #count: number;
  readonly #slots = new Map<string, number>();
  #serial = 0;

  private constructor(count: number) {
    this.#count = count;
    this.#buffers = createSharedBuffers(count);
    this.control = new SharedState(this.#buffers, -1);
  }

  static async start(t: Test, yaml: string, count = 1): Promise<Workers> {
    const it = new Workers(count);
    const plan = it.#plan(yaml);
    const sessions = SessionTable.create(1024);
    for (let index = 0; index < count; index++) {
      const data: WorkerData = {
        index,
        shared: it.#buffers,
        sessions,
        hashKey: Uint32Array.of(1, 2, 3, 4),
        plan,
        logLevel: 'info',
        node: 'lb1',
        directIo: plan.config.directIo ?? true,
      };
      const worker = new Worker(ENTRY, { workerData: data });
      worker.on('message', (message: FromWorker) => {
        if (message.type === 'indirect') it.indirect.push(message.cause);
      });
      it.workers.push(worker);
    }
    t.teardown(() => Promise.all(it.workers.map((worker) => worker.terminate())));
    t.strictSame(await it.#planned(0), [], 'all listen');
    return it;
  }

  #plan(yaml: string): Plan {
    const config = parseConfig(yaml, '/test.yaml', { cpus: 1 });
    for (const pool of config.pools)
      for (const backend of pool.backends) {
        const key = `${pool.name}/${backend.name}`;
        if (this.#slots.has(key)) continue;
        this.#slots.set(key, this.#slots.size);
        this.control.setGate(this.#slots.get(key)!, GATE_OPEN, backend.weight);
      }
    return {
      config,
      slots: Object.fromEntries(this.#slots),
      frontendRows: Object.fromEntries(config.frontends.map(({ name }, row) => [name, row])),
    };
  }

  /** The errors of all workers. */
  async #planned(serial: number): Promise<string[]> {
    const errors = await Promise.all(
      this.workers.map(async (worker) => {
        for (;;) {
          const [message] = (await once(worker, 'message')) as [FromWorker];
          if (message.type === 'planned' && message.serial === serial) return message.errors;
        }
      }),
    );
    return errors.flat();
  }

  async reload(yaml: string): Promise<string[]> {
    const serial = ++this.#serial;
    const answers = this.#planned(serial);
    this.#post({ type: 'plan', plan: this.#plan(yaml), serial });
    return answers;
  }

  stop(graceMs: number): Promise<number[]> {
    const exits = this.workers.map(async (worker) => ((await once(worker, 'exit')) as [number])[0]);
    this.#post({ type: 'stop', graceMs });
    return Promise.all(exits);
  }

  cut(slot: number): void {
    this.#post({ type: 'cut', slot });
  }

  #post(message: ToWorker): void {
    for (const worker of this.workers) worker.postMessage(message);
  }

  active(slot: number): number {
    return this.control.active(slot);
  }

  /** Open client connections of one worker. */
  connectionsOf(index: number): number {
    const cells = new Float64Array(this.#buffers.frontendCounters);
    return cells[(cells.length / this.#count) * index]!;
  }
}

t.test('a worker applies plan after plan; connections of a frontend that stays go on', async (t) => {
  const origin = await RawOrigin.start(t, (socket, text) => socket.write(text));
  const [port, second] = [await freePort(), await freePort()];
  const workers = await Workers.start(t, tcp(port, [origin.port]));
  const client = await RawClient.open(t, port);
  client.write('one');
  await client.until((text) => text === 'one');

  const both = tcp(port, [origin.port]).replace(
    'pools:',
    `  more: { bind: ["127.0.0.1:${second}"], mode: tcp, pool: db }\npools:`,
  );
  t.strictSame(await workers.reload(both), []);
  const other = await RawClient.open(t, second);
  other.write('two');
  t.equal(await other.until((text) => text === 'two'), 'two');
  client.write('three');
  t.equal(await client.until((text) => text === 'onethree'), 'onethree');

  t.strictSame(await workers.reload(tcp(port, [origin.port])), []);
  await t.rejects(
    RawClient.open(t, second),
    { code: 'ECONNREFUSED' },
    'the frontend that went listens no more',
  );
  other.write('four');
  t.equal(await other.until((text) => text === 'twofour'), 'twofour', 'its connections may finish');
});

t.test('with direct_io false a worker serves by Node alone, and that is no fallback', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  const port = await freePort();
  const config = (direct: boolean) => `direct_io: ${direct}${http(port, origin.port)}`;
  const workers = await Workers.start(t, config(false));
  const client = await RawClient.open(t, port);
  for (let request = 1; request <= 3; request++) {
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.until((text) => text.split('200 OK').length > request && text.endsWith('ok'));
  }
  t.strictSame(await workers.reload(config(true)), []);
  t.strictSame(workers.indirect, []);
});

t.test('a bind that is taken is told, and all else is in force', async (t) => {
  const origin = await RawOrigin.start(t, (socket, text) => socket.write(text));
  const port = await freePort();
  const workers = await Workers.start(t, tcp(port, [origin.port]));
  const taken = tcp(port, [origin.port]).replace(
    'pools:',
    `  more: { bind: ["127.0.0.1:${origin.port}"], mode: tcp, pool: other }\npools:\n  other: { backends: { o1: { address: "192.0.2.1:1" } } }`,
  );
  t.strictSame(await workers.reload(taken), [
    `frontend more: cannot listen on 127.0.0.1:${origin.port}: EADDRINUSE`,
  ]);
  const client = await RawClient.open(t, port);
  client.write('well');
  t.equal(await client.until((text) => text === 'well'), 'well');
});

t.test('stop: a request in flight is answered, then the worker exits with 0', async (t) => {
  const origin = await RawOrigin.start(t);
  const port = await freePort();
  const workers = await Workers.start(t, http(port, origin.port));
  const client = await RawClient.open(t, port);
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await origin.until(() => origin.received[0]?.endsWith('\r\n\r\n') === true);
  const exits = workers.stop(60_000);
  await until(() => origin.sockets.length === 1);
  for (;;) {
    const refused = await RawClient.open(t, port).then(
      (late) => late.end().then(() => false),
      () => true,
    );
    if (refused) break;
  }
  origin.sockets[0]!.write(OK, 'latin1');
  await client.end();
  t.match(client.text, /200 OK.*Connection: close.*ok$/s);
  client.socket.end();
  t.strictSame(await exits, [0]);
  t.equal(workers.active(0), 0);
});

t.test('stop: what is open after the grace is reset on both sides', async (t) => {
  const origin = await RawOrigin.start(t);
  const port = await freePort();
  const workers = await Workers.start(t, tcp(port, [origin.port]));
  const client = await RawClient.open(t, port);
  client.write('half');
  await origin.until(() => origin.received[0] === 'half');
  t.strictSame(await workers.stop(10), [0]);
  await client.end();
  t.equal(client.closed, 'reset');
  await origin.until(() => origin.received[0]!.endsWith('>'));
  t.equal(origin.received[0], 'half<reset>');
});

t.test('cut reaches the worker', async (t) => {
  const origin = await RawOrigin.start(t);
  const port = await freePort();
  const workers = await Workers.start(t, tcp(port, [origin.port]));
  const client = await RawClient.open(t, port);
  await until(() => workers.active(0) === 1);
  workers.cut(0);
  await client.end();
  t.equal(client.closed, 'reset');
  await until(() => workers.active(0) === 0);
});

t.test('two workers share a port, and least-connections is exact over both', async (t) => {
  const origins = [await RawOrigin.start(t), await RawOrigin.start(t), await RawOrigin.start(t)];
  const port = await freePort();
  const workers = await Workers.start(
    t,
    tcp(
      port,
      origins.map((origin) => origin.port),
    ),
    2,
  );
  const total = 60;
  for (let i = 1; i <= total; i++) {
    await RawClient.open(t, port);
    await until(() => workers.active(0) + workers.active(1) + workers.active(2) === i);
    const loads = [0, 1, 2].map((slot) => workers.active(slot));
    if (Math.max(...loads) - Math.min(...loads) > 1) t.fail(`after ${i}: ${loads}`);
  }
  t.strictSame(
    [0, 1, 2].map((slot) => workers.active(slot)),
    [20, 20, 20],
  );
  t.ok(workers.connectionsOf(0) > 0, 'the first worker has some');
  t.ok(workers.connectionsOf(1) > 0, 'and so has the second');
  t.equal(workers.connectionsOf(0) + workers.connectionsOf(1), total);
  t.strictSame(await workers.stop(0), [0, 0]);
  t.strictSame(
    [0, 1, 2].map((slot) => workers.active(slot)),
    [0, 0, 0],
    'nothing stays counted',
  );
});

t.test('each worker beats', async (t) => {
  const { control } = await Workers.start(t, tcp(await freePort(), [9]), 2);
  for (const index of [0, 1]) {
    const before = control.beats(index);
    await until(() => control.beats(index) > before + 1);
  }
});

t.test('requests with different workers have different ids', async (t) => {
  const ids = new Set<string>();
  const answer = answering(OK);
  const origin = await RawOrigin.start(t, (socket, text) => {
    for (const [, id] of text.matchAll(/X-Request-Id: (\S+)/gi)) ids.add(id!);
    answer(socket, text);
  });
  const port = await freePort();
  await Workers.start(t, http(port, origin.port), 2);
  for (let i = 0; i < 20; i++) {
    const client = await RawClient.open(t, port);
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.until((text) => text.endsWith('ok'));
  }
  t.equal(ids.size, 20);
});
