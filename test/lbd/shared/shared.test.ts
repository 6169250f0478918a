import t from 'tap';
import {
  createSharedBuffers,
  GATE_CLOSED,
  GATE_OPEN,
  GATE_STUCK,
  MAX_SLOTS,
  SharedState,
} from '../../../lbd/shared/shared.ts';

/** The control plane and two workers on the same memory. */
function views(): [SharedState, SharedState, SharedState] {
  const buffers = createSharedBuffers(2);
  return [new SharedState(buffers, -1), new SharedState(buffers, 0), new SharedState(buffers, 1)];
}

t.test('new clients need an open gate and a weight', async (t) => {
  const [control, worker] = views();
  t.equal(worker.eligible(3), false, 'a slot that nobody has set');
  for (const [gate, weight, eligible] of [
    [GATE_OPEN, 1, true],
    [GATE_OPEN, 256, true],
    [GATE_OPEN, 0, false],
    [GATE_STUCK, 1, false],
    [GATE_CLOSED, 1, false],
  ] as const) {
    control.setGate(3, gate, weight);
    t.equal(worker.eligible(3), eligible, `gate ${gate}, weight ${weight}`);
    t.equal(worker.gate(3), gate);
    t.equal(worker.weight(3), weight);
  }
});

t.test('the generation grows with a change and only with one', async (t) => {
  const [control, worker] = views();
  const before = worker.generation;
  control.setGate(0, GATE_OPEN, 1);
  t.equal(worker.generation, before + 1);
  control.setGate(0, GATE_OPEN, 1);
  t.equal(worker.generation, before + 1);
  control.setGate(0, GATE_OPEN, 2);
  control.setGate(0, GATE_STUCK, 2);
  t.equal(worker.generation, before + 3);
});

t.test('limits hold over all workers, and a dead one gives its places back', async (t) => {
  const [control, one, two] = views();
  t.strictSame(
    [one.claim(3, 2), two.claim(3, 2), one.claim(3, 2), two.claim(3, 2)],
    [true, true, false, false],
    'clients of a frontend',
  );
  t.equal(control.frontendCounter(3, 'connections'), 2);
  two.release(3);
  t.ok(one.claim(3, 2));
  control.forgetWorker(0);
  t.equal(control.frontendCounter(3, 'connections'), 0);
  t.strictSame([two.claim(3, 2), two.claim(3, 2), two.claim(3, 2)], [true, true, false]);
  t.strictSame(
    [one.tryEnter(7, 2), two.tryEnter(7, 2), one.tryEnter(7, 2)],
    [true, true, false],
    'requests at a backend',
  );
  t.equal(control.active(7), 2);
  t.ok(one.tryEnter(7, 0), 'without a limit');
  control.forgetWorker(0);
  t.equal(control.active(7), 1);
});

t.test('what is in flight counts over all workers, and a dead one is taken off', async (t) => {
  const [control, one, two] = views();
  const last = MAX_SLOTS - 1;
  for (let i = 0; i < 3; i++) one.enter(5);
  two.enter(5);
  two.enter(last);
  one.leave(5);
  t.equal(control.active(5), 3);
  t.equal(one.active(5), 3);
  control.forgetWorker(0);
  t.equal(control.active(5), 1);
  t.equal(control.active(last), 1);
  control.forgetWorker(0);
  t.equal(control.active(5), 1, 'once');
  control.forgetWorker(1);
  t.strictSame([control.active(5), control.active(last)], [0, 0]);
});

t.test('counters are sums over the workers', async (t) => {
  const [control, one, two] = views();
  one.countBackend(7, 0, 2);
  two.countBackend(7, 0, 3);
  two.countBackend(8, 0, 100);
  t.equal(control.backendCounter(7, 'requests'), 5);
  t.equal(control.backendCounter(7, 'errors'), 0);
  one.countFrontend(1, 0, 4);
  two.countFrontend(1, 0, -1);
  two.countFrontend(2, 0, 9);
  t.equal(control.frontendCounter(1, 'connections'), 3);

  control.forgetWorker(0);
  t.equal(control.frontendCounter(1, 'connections'), -1, 'its open connections are gone');
  t.equal(control.backendCounter(7, 'requests'), 5, 'what it did stays');
});

t.test('a slot and a row given to another start at 0, but not what is in flight', async (t) => {
  const [control, one, two] = views();
  control.setGate(7, GATE_OPEN, 1);
  one.enter(7);
  two.countBackend(7, 9, 1);
  two.countBackend(6, 9, 1);
  two.countBackend(8, 0, 1);
  one.observeLatency(7, 10);
  one.countFrontend(1, 10, 1);
  one.countFrontend(0, 10, 1);
  control.resetSlot(7);
  control.resetFrontend(1);
  t.equal(one.gate(7), GATE_CLOSED);
  t.equal(one.latencyMs(7), 0);
  t.equal(control.backendCounter(7, 'status_5xx'), 0);
  t.equal(control.backendCounter(6, 'status_5xx'), 1);
  t.equal(control.backendCounter(8, 'requests'), 1);
  t.equal(control.frontendCounter(1, 'answered_504'), 0);
  t.equal(control.frontendCounter(0, 'answered_504'), 1);
  t.equal(control.active(7), 1);
});

t.test('latency: a peak counts at once, a calm fades slowly', async (t) => {
  const [control, one, two] = views();
  t.equal(one.latencyMs(2), 0);
  one.observeLatency(2, 8);
  t.equal(two.latencyMs(2), 8);
  two.observeLatency(2, 80);
  t.equal(one.latencyMs(2), 80);
  one.observeLatency(2, 0);
  t.equal(one.latencyMs(2), 70);
  control.fadeLatency(2, 0.5);
  t.equal(one.latencyMs(2), 35);
  t.equal(one.latencyMs(1), 0);
  t.equal(one.latencyMs(3), 0);
});
