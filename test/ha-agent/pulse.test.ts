import { setTimeout } from 'node:timers/promises';
import t from 'tap';
import { Pulse } from '../../ha-agent/pulse.ts';

const MOST_CALLS = 400;

t.test('reloads one after the other put no beat off', async (t) => {
  let beats = 0;
  const pulse = new Pulse(() => beats++);
  t.teardown(() => pulse.stop());
  let calls = 0;
  for (; beats < 3 && calls < MOST_CALLS; calls++) {
    pulse.start(50);
    await setTimeout(5);
  }
  t.equal(beats, 3, `${calls} calls`);
});

t.test('a shorter interval counts from the next beat on, a longer one from the one after it', async (t) => {
  let beat = () => {};
  const pulse = new Pulse(() => beat());
  t.teardown(() => pulse.stop());
  const next = () => new Promise<void>((resolve) => (beat = resolve));
  pulse.start(1e9);
  pulse.start(5);
  await next();
  pulse.start(1e9);
  await next();
  t.pass('it was due');
});
