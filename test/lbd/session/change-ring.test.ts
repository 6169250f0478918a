import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { SessionTable } from '../../../lbd/session/table.ts';
import type { ReporterData } from './reporter.ts';

const CAPACITY = 1024;

function rings() {
  const buffer = SessionTable.create(CAPACITY);
  const on = (writer: number) => new SessionTable(buffer, writer, { hashKey: new Uint32Array(4) }).changes;
  return { buffer, main: on(0), worker: on(1) };
}

t.test('a change ends the sleep, from any thread', async (t) => {
  for (const writer of ['main', 'worker'] as const) {
    const { [writer]: ring, main } = rings();
    const slept = main.sleep();
    t.ok(slept, 'nothing has changed');
    ring.push(5);
    await slept;
    t.equal(main.pending, 1);
    t.equal(main.sleep(), undefined, 'there is something to do first');
    main.drain(new Int32Array(1), 1);
    t.ok(main.sleep());
    main.wake();
  }
});

t.test('the sleep can be ended without a change', async (t) => {
  const { main } = rings();
  const slept = main.sleep();
  main.wake();
  await slept;
  main.wake();
  t.equal(main.pending, 0);
});

t.test('no change is slept through', async (t) => {
  const { buffer, main } = rings();
  const changes = 20_000;
  const data: ReporterData = { buffer, writer: 1, changes };
  const worker = new Worker(new URL('reporter.ts', import.meta.url), { workerData: data });
  const exit = once(worker, 'exit');
  const taken = new Int32Array(CAPACITY);
  let sleeps = 0;
  for (let count = 0; count < changes; ) {
    const slept = main.sleep();
    if (slept !== undefined) {
      sleeps++;
      // Only the reporter can end it: a wake that is lost is a test that does not end.
      await slept;
    }
    count += main.drain(taken, taken.length);
  }
  await exit;
  t.ok(sleeps > 0, `${sleeps} sleeps`);
});
