import t from 'tap';
import { Departures } from '../../../../lbd/control/care/departures.ts';
import type { HealthReport } from '../../../../lbd/control/health/monitor.ts';
import { Planner } from '../../../../lbd/control/planner.ts';
import { createSharedBuffers, GATE_CLOSED, GATE_OPEN, SharedState } from '../../../../lbd/shared/shared.ts';
import { testConfig } from '../test-config.ts';

function setup() {
  const buffers = createSharedBuffers(1);
  const worker = new SharedState(buffers, 0);
  const shared = new SharedState(buffers, -1);
  const told: string[] = [];
  const clock = { ms: 1_000 };
  const health = {
    state: 'healthy' as HealthReport['state'],
    drainRequested: false,
    why: 'result',
    sinceMs: 0,
    checks: [],
    failingChecks: [],
  };
  const released: string[][] = [];
  const departures: Departures = new Departures({
    shared,
    health: (id) => ({ ...health, why: `${health.why} of ${id}` }),
    now: () => clock.ms,
    tell: (level, text) => told.push(`${level} ${text}`),
    released: () => released.push([...departures.checked]),
  });
  return { worker, shared, planner: new Planner(shared), departures, told, clock, health, released };
}

const BOTH = testConfig({ pools: { web: { s1: 1, s2: 1 }, api: { a1: 1 } } });
const WEB = testConfig({ pools: { web: { s1: 1 } } });

t.test('what is open of a frontend or backend that is gone is seen until it has ended', async (t) => {
  const { worker, planner, departures, told, clock } = setup();
  const before = planner.plan(BOTH);
  const [row, slot] = [before.frontendRows.api!, before.slots['web/s2']!];
  worker.claim(row, 10);
  worker.claim(row, 10);
  worker.enter(slot);
  departures.take(before, planner.plan(WEB));
  t.strictSame(departures.status(), [
    { name: 'frontend api', connections: 2, left_ms: 30_000 },
    {
      name: 'backend web/s2',
      connections: 1,
      left_ms: 30_000,
      health: 'healthy',
      why: 'result of web/s2',
    },
  ]);
  worker.release(row);
  clock.ms += 30_000;
  departures.look();
  worker.leave(slot);
  departures.look();
  t.strictSame(departures.status(), [{ name: 'frontend api', connections: 1, left_ms: 0 }]);
  worker.release(row);
  departures.look();
  t.strictSame(departures.status(), []);
  t.strictSame(told, [
    'info frontend api is gone; 2 still open, for 30s at most',
    'info backend web/s2 is gone; 1 still open, for 30s at most',
    'warn frontend api: drain_timeout is over, connections that are still open are cut',
    'warn backend web/s2: drain_timeout is over, connections that are still open are cut',
    'info backend web/s2: nothing is open any more',
    'info frontend api: nothing is open any more',
  ]);
});

t.test('what is there again, or was idle, does not leave', async (t) => {
  const { worker, planner, departures, told } = setup();
  const before = planner.plan(BOTH);
  worker.claim(before.frontendRows.web!, 10);
  departures.take(before, planner.plan(WEB));
  t.strictSame([departures.status(), told], [[], []]);
  departures.take(planner.plan(WEB), planner.plan(BOTH));
  t.strictSame([departures.status(), told], [[], []]);
});

t.test('a frontend that comes back leaves its old connections beside the new one', async (t) => {
  const { worker, planner, departures } = setup();
  const first = planner.plan(BOTH);
  worker.claim(first.frontendRows.api!, 10);
  const second = planner.plan(WEB);
  departures.take(first, second);
  departures.look();
  const third = planner.plan(BOTH);
  departures.take(second, third);
  t.not(third.frontendRows.api, first.frontendRows.api);
  t.match(departures.status(), [{ name: 'frontend api', connections: 1 }]);
  departures.close();
});

t.test('a backend that leaves is checked, and closed while it fails', async (t) => {
  const { worker, shared, planner, departures, told, health, released } = setup();
  const before = planner.plan(BOTH);
  const slot = before.slots['web/s2']!;
  shared.setGate(slot, GATE_OPEN, 3);
  worker.enter(slot);
  departures.take(before, planner.plan(WEB));
  t.strictSame([...departures.checked], ['web/s2'], 'nobody asks for one of which nothing is open');
  health.state = 'unhealthy';
  departures.healthChanged('web/s2');
  departures.healthChanged('web/s1');
  t.equal(shared.gate(slot), GATE_CLOSED);
  t.match(departures.status(), [{ health: 'unhealthy', why: 'result of web/s2' }]);
  health.state = 'healthy';
  departures.healthChanged('web/s2');
  t.equal(shared.gate(slot), GATE_OPEN);
  t.strictSame(told.slice(1), [
    'warn backend web/s2, which is leaving, is unhealthy: result of web/s2',
    'info backend web/s2, which is leaving, is healthy: result of web/s2',
  ]);
  worker.leave(slot);
  departures.look();
  t.strictSame(released, [[]]);
  health.state = 'unhealthy';
  departures.healthChanged('web/s2');
  t.equal(shared.gate(slot), GATE_OPEN, 'it may soon be of another one');
});

t.test('the backends of a frontend that leaves are checked until its last client has gone', async (t) => {
  const { worker, planner, departures, released } = setup();
  const before = planner.plan(BOTH);
  worker.claim(before.frontendRows.api!, 10);
  departures.take(before, planner.plan(WEB));
  t.strictSame([...departures.checked], ['web/s2', 'api/a1']);
  t.match(departures.status(), [{ name: 'frontend api', connections: 1 }], 'and nobody else is shown');
  worker.release(before.frontendRows.api!);
  departures.look();
  t.strictSame(released, [[]]);
});

t.test('a backend that is there again is no concern of those that left', async (t) => {
  const { worker, shared, planner, departures, health } = setup();
  const first = planner.plan(BOTH);
  const slot = first.slots['web/s2']!;
  shared.setGate(slot, GATE_OPEN, 1);
  worker.enter(slot);
  const second = planner.plan(WEB);
  departures.take(first, second);
  departures.look();
  departures.given(planner.plan(BOTH));
  t.equal(departures.checked.size, 0);
  health.state = 'unhealthy';
  departures.healthChanged('web/s2');
  t.equal(shared.gate(slot), GATE_OPEN);
  t.strictSame(departures.status(), [{ name: 'backend web/s2', connections: 1, left_ms: 30_000 }]);
  departures.close();
});
