import { parentPort, workerData } from 'node:worker_threads';
import type { FromWorker, ToWorker, WorkerData } from '../../lbd/plan.ts';

/** Stands in for `lbd/worker.ts`; what it does depends on `node` and on the slot of a `cut`. */
const data = workerData as WorkerData;
const send = (message: FromWorker) => parentPort!.postMessage(message);

/** Slots of a `cut` that make the worker die. */
const THROW = 1;
const EXIT = 2;

if (data.node === 'throws') throw new Error('frontend web: the address is taken');
const errors = data.node === 'cannot bind' && data.index === 1 ? ['frontend web: taken'] : [];
send({ type: 'planned', serial: 0, errors });

parentPort!.on('message', (message: ToWorker) => {
  if (message.type === 'plan') {
    const { slots } = message.plan;
    const problems = 'bad' in slots ? ['frontend bad: taken'] : [];
    send({ type: 'planned', serial: message.serial, errors: problems });
    send({ type: 'log', level: 'info', text: `plan of ${Object.keys(slots)}`, data: {} });
  } else if (message.type === 'cut') {
    if (message.slot === THROW) throw new Error('boom');
    if (message.slot === EXIT) process.exit(3);
    send({ type: 'log', level: 'info', text: `cut ${message.slot}`, data: {} });
  } else process.exit(0);
});
