import { pino } from 'pino';
import t, { type Test } from 'tap';
import { HealthMonitor, type HealthReport } from '../../../../lbd/control/health/monitor.ts';
import { nextPauseMs } from '../../../../lbd/control/health/target-check.ts';
import { freePort } from '../../../common/free-port.ts';
import { answer, http, serve, target } from './servers.ts';

/** A monitor that remembers all changes; `until` waits for the one that fits. */
function monitorFor(t: Test) {
  const changes: string[] = [];
  let waiting: (() => void)[] = [];
  const monitor = new HealthMonitor({
    log: pino({ level: 'silent' }),
    onChange: (id, report) => {
      changes.push(`${id} ${report.state}${report.drainRequested ? ' drain' : ''}: ${report.why}`);
      for (const wake of waiting.splice(0)) wake();
    },
  });
  t.teardown(() => monitor.close());
  const until = async (fits: (report: HealthReport) => boolean, id = 'web/s1') => {
    while (!fits(monitor.report(id))) await new Promise<void>((resolve) => waiting.push(resolve));
    return monitor.report(id);
  };
  waiting = [];
  return { monitor, changes, until };
}

t.test('the first check runs at once and decides', async (t) => {
  const { monitor, changes } = monitorFor(t);
  const { port } = await serve(t, answer(http('200 OK')));
  const refused = await freePort();
  monitor.apply([
    target(port, { intervalMs: 3_600_000 }, 'web/good'),
    target(refused, { intervalMs: 3_600_000 }, 'web/bad'),
  ]);
  t.match(monitor.report('web/good'), { state: 'unknown', why: 'waiting for the first check' });
  await monitor.settled();
  t.match(monitor.report('web/good'), {
    state: 'healthy',
    why: 'status 200',
    drainRequested: false,
    checks: [{ ok: true, detail: 'status 200' }],
  });
  t.match(monitor.report('web/bad'), { state: 'unhealthy', why: 'connection refused' });
  t.equal(changes.length, 2);
  t.match(monitor.report('web/none'), { state: 'unknown', why: 'it is not checked' });
});

t.test('falls after three failures, rises after two successes, with at most ten results kept', async (t) => {
  const { monitor, changes, until } = monitorFor(t);
  let status = '200 OK';
  const server = await serve(
    t,
    answer(() => http(status)),
  );
  monitor.apply([target(server.port)]);
  await until(({ state }) => state === 'healthy');
  status = '500 Oops';
  const down = await until(({ state }) => state === 'unhealthy');
  t.strictSame(
    down.checks.slice(0, 4).map(({ ok }) => ok),
    [false, false, false, true],
  );
  status = '200 OK';
  const up = await until(({ state }) => state === 'healthy');
  t.strictSame(
    up.checks.slice(0, 3).map(({ ok }) => ok),
    [true, true, false],
  );
  t.ok(up.sinceMs > down.sinceMs);
  status = '404 Gone';
  await until(({ state }) => state === 'unhealthy');
  status = '200 OK';
  await until(({ state }) => state === 'healthy');
  t.ok(monitor.report('web/s1').checks.length <= 10);
  t.strictSame(changes, [
    'web/s1 healthy: status 200',
    'web/s1 unhealthy: status 500, expected 200–399',
    'web/s1 healthy: status 200',
    'web/s1 unhealthy: status 404, expected 200–399',
    'web/s1 healthy: status 200',
  ]);
});

t.test('a check that fails is not a drain: 503 with Connection: close counts towards fall', async (t) => {
  const { monitor, changes, until } = monitorFor(t);
  let reply = http('200 OK');
  const server = await serve(
    t,
    answer(() => reply),
  );
  monitor.apply([target(server.port, { fall: 2 })]);
  await until(({ state }) => state === 'healthy');
  // As httpd answers each 503.
  reply = http('503 Service Unavailable', '', 'Connection: close\r\n');
  t.match(await until(({ state, drainRequested }) => state === 'unhealthy' || drainRequested), {
    state: 'unhealthy',
    drainRequested: false,
  });
  t.strictSame(changes, ['web/s1 healthy: status 200', 'web/s1 unhealthy: status 503, expected 200–399']);
});

t.test('a rolling restart: asks for a drain, goes, comes back', async (t) => {
  const { monitor, changes, until } = monitorFor(t);
  let reply = http('200 OK');
  const server = await serve(
    t,
    answer(() => reply),
  );
  monitor.apply([target(server.port, { fall: 1000, drain: [[404, 404]] })]);
  await until(({ state }) => state === 'healthy');
  reply = http('404 Leaving');
  t.match(await until(({ drainRequested }) => drainRequested), { state: 'healthy' });
  await server.close();
  await until(({ state }) => state === 'unhealthy');
  reply = http('200 OK');
  await serve(
    t,
    answer(() => reply),
    server.port,
  );
  await until(({ state }) => state === 'healthy');
  t.strictSame(changes, [
    'web/s1 healthy: status 200',
    'web/s1 healthy drain: status 404, asks to be drained',
    'web/s1 unhealthy: connection refused',
    'web/s1 healthy: status 200',
  ]);
});

t.test('a wish to drain ends with the first good answer', async (t) => {
  const { monitor, until } = monitorFor(t);
  let reply = http('404 Leaving');
  const server = await serve(
    t,
    answer(() => reply),
  );
  monitor.apply([target(server.port, { drain: [[404, 404]] })]);
  t.match(await until(({ drainRequested }) => drainRequested), { state: 'healthy' });
  reply = http('200 OK');
  t.match(await until(({ drainRequested }) => !drainRequested), { state: 'healthy', why: 'status 200' });
});

t.test('a degraded backend stays healthy, and its failing checks are news', async (t) => {
  const { monitor, changes, until } = monitorFor(t);
  let body = '{"status":"ok"}';
  const server = await serve(
    t,
    answer(() => http('200 OK', body)),
  );
  monitor.apply([target(server.port, { type: 'deep' })]);
  await until(({ state }) => state === 'healthy');
  body = '{"status":"degraded","checks":{"cache":false}}';
  t.match(await until(({ failingChecks }) => failingChecks.length > 0), {
    state: 'healthy',
    failingChecks: ['cache'],
  });
  body = '{"status":"fail","checks":{"cache":false,"database":false}}';
  await until(({ state }) => state === 'unhealthy');
  t.equal(changes.at(1), 'web/s1 healthy: status 200, says "degraded": check cache fails');
  t.equal(changes.at(-1), 'web/s1 unhealthy: status 200, says "fail": checks cache, database fail');
});

t.test('checks that are off: healthy at once', async (t) => {
  const { monitor, changes } = monitorFor(t);
  monitor.apply([target(1, { type: 'none' })]);
  t.match(monitor.report('web/s1'), { state: 'healthy', why: 'health checks are off' });
  await monitor.settled();
  t.equal(changes.length, 1);
});

t.test('what the peer says counts until the first own result', async (t) => {
  const { monitor, changes } = monitorFor(t);
  const refused = await freePort();
  monitor.apply([target(refused, { intervalMs: 3_600_000 })]);
  monitor.seed('web/s1', true, 'lb2 says: status 200');
  t.match(monitor.report('web/s1'), { state: 'healthy', why: 'lb2 says: status 200' });
  await monitor.settled();
  t.match(monitor.report('web/s1'), { state: 'unhealthy', why: 'connection refused' });
  monitor.seed('web/s1', true, 'lb2 says: status 200');
  t.equal(monitor.report('web/s1').state, 'unhealthy', 'too late');
  monitor.seed('web/nobody', true, '');
  t.equal(changes.length, 2);
});

t.test('apply keeps what did not change', async (t) => {
  const { monitor, changes } = monitorFor(t);
  const one = await serve(t, answer(http('200 OK')));
  const two = await serve(t, answer(http('500 Oops')));
  const still = { intervalMs: 3_600_000 };
  monitor.apply([target(one.port, still, 'web/s1'), target(two.port, still, 'web/s2')]);
  await monitor.settled();

  monitor.apply([target(one.port, still, 'web/s1'), target(two.port, { ...still, fall: 5 }, 'web/s2')]);
  t.equal(monitor.report('web/s2').state, 'unhealthy', 'goes by its old state');
  await monitor.settled();
  t.equal(one.connections(), 1, 'not checked again');
  t.equal(two.connections(), 2, 'checked with its new settings');

  monitor.apply([target(two.port, still, 'web/s1')]);
  t.equal(monitor.report('web/s1').state, 'unknown', 'another address is another server');
  t.match(monitor.report('web/s2'), { why: 'it is not checked' });
  await monitor.settled();
  t.equal(monitor.report('web/s1').state, 'unhealthy');
  t.strictSame(changes.map((change) => change.split(':', 1)[0]).sort(), [
    'web/s1 healthy',
    'web/s1 unhealthy',
    'web/s2 unhealthy',
  ]);
});

t.test('closed in the middle of a check: it ends, nothing is told, nobody waits', async (t) => {
  const { monitor, changes } = monitorFor(t);
  const asked = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const { port } = await serve(t, (socket) => {
    socket.on('data', () => asked.resolve());
    socket.on('close', () => closed.resolve());
  });
  monitor.apply([target(port)]);
  const settled = monitor.settled();
  await asked.promise;
  monitor.close();
  await settled;
  await closed.promise;
  t.strictSame(changes, []);
});

t.test('a listener that throws does not end the checks', async (t) => {
  let calls = 0;
  let status = '200 OK';
  const server = await serve(
    t,
    answer(() => http(status)),
  );
  const second = Promise.withResolvers<void>();
  const monitor = new HealthMonitor({
    log: pino({ level: 'silent' }),
    onChange: () => {
      if (++calls === 2) second.resolve();
      status = '500 Oops';
      throw new Error('bug');
    },
  });
  t.teardown(() => monitor.close());
  monitor.apply([target(server.port, { fall: 1 })]);
  await second.promise;
  t.equal(monitor.report('web/s1').state, 'unhealthy');
});

t.test('pauses', (t) => {
  t.equal(nextPauseMs(10_000, 0, false, 0), 9000);
  t.equal(nextPauseMs(10_000, 0, false, 1), 11_000);
  t.equal(nextPauseMs(10_000, 4000, false, 0.5), 6000, 'checks start an interval apart');
  t.equal(nextPauseMs(10_000, 60_000, false, 0.5), 1000, 'never back to back');
  t.equal(nextPauseMs(10_000, 0, true, 0.5), 5000, 'the first pause spreads');
  t.equal(nextPauseMs(10_000, 0, true, 0), 1000);
  t.end();
});

/** A target whose host is a name. */
function named(port: number, addresses: readonly string[], nowhere?: string) {
  const { address: _address, ...one } = target(port, { intervalMs: 3_600_000 });
  return { ...one, host: 'app.test', addresses, ...(nowhere !== undefined && { nowhere }) };
}

t.test(
  'a backend whose name was never resolved is down with that cause, and is checked once it has an address',
  async (t) => {
    const { monitor, changes, until } = monitorFor(t);
    const { port } = await serve(t, answer(http('200 OK')));
    monitor.apply([named(port, [])]);
    t.match(monitor.report('web/s1'), { state: 'unknown', why: 'waiting for the address of its host name' });
    monitor.apply([named(port, [], 'host name app.test: no name server answers')]);
    await monitor.settled();
    t.match(monitor.report('web/s1'), {
      state: 'unhealthy',
      why: 'host name app.test: no name server answers',
    });
    monitor.apply([named(port, ['127.0.0.1'])]);
    await until(({ state }) => state === 'healthy');
    t.strictSame(changes, [
      'web/s1 unhealthy: host name app.test: no name server answers',
      'web/s1 healthy: status 200',
    ]);
  },
);

t.test('a backend that leads back to its frontend is down at once, and nothing connects to it', async (t) => {
  const { monitor, changes } = monitorFor(t);
  let connections = 0;
  const { port } = await serve(t, () => connections++);
  const nowhere = 'its address is one where frontends.in listens';
  monitor.apply([{ ...named(port, []), host: '192.0.2.7', nowhere, leadsBack: true }]);
  await monitor.settled();
  t.match(monitor.report('web/s1'), { state: 'unhealthy', why: nowhere, leadsBack: true });
  t.strictSame(changes, [`web/s1 unhealthy: ${nowhere}`]);
  t.equal(connections, 0);
});

t.test('an update leaves the others, and those that are not checked any more, as they are', async (t) => {
  const { monitor, changes } = monitorFor(t);
  const { port } = await serve(t, answer(http('200 OK')));
  monitor.apply([named(port, []), target(port, { intervalMs: 3_600_000 }, 'web/s2')]);
  monitor.update([
    named(port, [], 'host name app.test: the name is not known'),
    target(port, { intervalMs: 3_600_000 }, 'web/gone'),
  ]);
  await monitor.settled();
  t.strictSame(changes, [
    'web/s1 unhealthy: host name app.test: the name is not known',
    'web/s2 healthy: status 200',
  ]);
  t.match(monitor.report('web/gone'), { why: 'it is not checked' });
});

t.test('each address of a name is checked, and clients get those that pass', async (t) => {
  const usable: string[] = [];
  const monitor = new HealthMonitor({
    log: pino({ level: 'silent' }),
    onChange: () => {},
    onUsable: (id) => usable.push(monitor.usable(id).join(' ')),
  });
  t.teardown(() => monitor.close());
  const { port } = await serve(t, answer(http('200 OK')));
  const both = named(port, ['127.0.0.1', '127.0.0.2']);
  monitor.apply([both]);
  t.strictSame(monitor.usable('web/s1'), ['127.0.0.1', '127.0.0.2'], 'all, until it is known which are well');
  await monitor.settled();
  t.match(monitor.report('web/s1'), { state: 'healthy' });
  t.strictSame(monitor.usable('web/s1'), ['127.0.0.1']);
  t.strictSame(usable, ['127.0.0.1 127.0.0.2', '127.0.0.1']);
});

t.test(
  'a backend that is well stays so when its name leads elsewhere, until that has been checked',
  async (t) => {
    const { monitor, changes, until } = monitorFor(t);
    const { port } = await serve(t, answer(http('200 OK')));
    monitor.apply([named(port, ['127.0.0.1'])]);
    await monitor.settled();
    monitor.apply([named(port, ['127.0.0.2'])]);
    t.match(monitor.report('web/s1'), { state: 'healthy' });
    t.strictSame(monitor.usable('web/s1'), ['127.0.0.2']);
    await until(({ state }) => state === 'unhealthy');
    t.strictSame(changes, ['web/s1 healthy: status 200', 'web/s1 unhealthy: connection refused']);
  },
);

t.test('a backend that is to move is checked at both places, and is what it is at the old one', async (t) => {
  const { monitor, changes, until } = monitorFor(t);
  let status = '200 OK';
  const here = await serve(
    t,
    answer(() => http(status)),
  );
  const there = await freePort();
  monitor.apply([target(here.port, { fall: 1 })]);
  await monitor.settled();
  monitor.prepare([target(there, { fall: 1 }), target(here.port, {}, 'web/new')]);
  await monitor.settled();
  t.match(monitor.report('web/s1'), { state: 'healthy' });
  t.same(monitor.report('web/new').state, 'unknown', 'what is new is told and not judged by');
  status = '500 Oops';
  await until(({ state }) => state === 'unhealthy');
  monitor.apply([target(there, { fall: 1 }), target(here.port, {}, 'web/new')]);
  t.match(monitor.report('web/s1'), { state: 'unhealthy', why: 'connection refused' });
  t.strictSame(changes, [
    'web/s1 healthy: status 200',
    'web/new healthy: status 200',
    'web/s1 unhealthy: status 500, expected 200–399',
    'web/s1 unhealthy: connection refused',
  ]);
});

t.test('who stays is checked on, and what was prepared in vain is not', async (t) => {
  const { monitor, until } = monitorFor(t);
  let status = '200 OK';
  const server = await serve(
    t,
    answer(() => http(status)),
  );
  monitor.apply([target(server.port, { fall: 1 }), target(server.port, {}, 'web/s2')]);
  await monitor.settled();
  monitor.prepare([target(server.port, {}, 'web/s3')]);
  monitor.apply([target(server.port, {}, 'web/s2')], new Set(['web/s1', 'web/s2']));
  status = '500 Oops';
  await until(({ state }) => state === 'unhealthy');
  t.match(monitor.report('web/s3'), { why: 'it is not checked' });
  monitor.apply([target(server.port, {}, 'web/s2')]);
  t.match(monitor.report('web/s1'), { why: 'it is not checked' });
});
