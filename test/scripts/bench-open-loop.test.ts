import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { outcomeOf } from '../../scripts/bench/data/outcome.ts';

const PROGRAM = join(import.meta.dirname, '../../scripts/bench/data/open-loop.ts');

/** Offers about 100 requests in 0.2 s to a server of its own. */
async function offer(t: Test, answer: RequestListener, connections = 4) {
  const server = createServer(answer).listen(0, '127.0.0.1');
  t.teardown(() => server.closeAllConnections());
  t.teardown(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const load = ['--rate', '500', '--seconds', '0.2', '--connections', String(connections), '--path', '/x'];
  const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, '--port', String(port), ...load]);
  return outcomeOf(stdout);
}

t.test('every request is answered and has a latency', async (t) => {
  let asked = 0;
  const outcome = await offer(t, (request, response) => {
    asked++;
    response.end(request.url);
  });
  t.same(outcome.failures, {});
  t.ok(outcome.units > 0);
  t.equal(outcome.units, asked);
  t.ok(outcome.latency!.p50Us > 0);
  t.ok(outcome.latency!.p50Us <= outcome.latency!.p999Us);
});

t.test('the same requests are due in every run, whatever the answers take', async (t) => {
  const slow = await offer(t, (_request, response) => setTimeout(() => response.end('slow'), 10), 1);
  const fast = await offer(t, (_request, response) => response.end('fast'));
  t.equal(slow.units, fast.units);
  // All are due within 0.2 s, in which one connection has had at most 20 answers; the others wait for each other.
  t.ok(slow.latency!.p99Us > 100_000, 'the wait for a connection counts');
});

t.test('an error answer is a failure', async (t) => {
  let asked = 0;
  const outcome = await offer(t, (_request, response) => {
    response.statusCode = ++asked === 3 ? 503 : 200;
    response.end('x');
  });
  t.same(outcome.failures, { 'status 503': 1 });
  t.equal(outcome.units, asked - 1);
});

t.test('a server that is not there is an error', async (t) => {
  // tcpmux: nobody has it.
  const asked = promisify(execFile)(process.execPath, [PROGRAM, '--port', '1', '--rate', '1']);
  await t.rejects(asked, /ECONNREFUSED/);
});
