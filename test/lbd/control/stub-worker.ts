import { parentPort, workerData } from 'node:worker_threads';
import { BEAT_MS, type FromWorker, type ToWorker, type WorkerData } from '../../../lbd/shared/plan.ts';
import { SharedState } from '../../../lbd/shared/shared.ts';

/** Stands in for `lbd/worker.ts`; what it does depends on `node` and on the slot of a `cut`. */
const data = workerData as WorkerData;
const send = (message: FromWorker) => parentPort!.postMessage(message);

/** Slots of a `cut` that make the worker die or hang. */
const THROW = 1;
const EXIT = 2;
const HANG = 3;

const shared = new SharedState(data.shared, data.index);
setInterval(() => shared.beat(), BEAT_MS).unref();

if (data.node === 'throws') throw new Error('frontend web: the address is taken');
const errors = data.node === 'cannot bind' && data.index === 1 ? ['frontend web: taken'] : [];
send({ type: 'planned', serial: 0, errors });
if (data.plan.addresses !== undefined)
  send({ type: 'log', level: 'info', text: `begins at ${JSON.stringify(data.plan.addresses)}`, data: {} });

parentPort!.on('message', (message: ToWorker) => {
  if (message.type === 'plan') {
    const { slots } = message.plan;
    const problems = 'bad' in slots ? ['frontend bad: taken'] : [];
    send({ type: 'planned', serial: message.serial, errors: problems });
    send({ type: 'log', level: 'info', text: `plan of ${Object.keys(slots)}`, data: {} });
  } else if (message.type === 'cut') {
    if (message.slot === THROW) throw new Error('boom');
    if (message.slot === EXIT) process.exit(3);
    if (message.slot === HANG && data.index === 0) for (;;);
    send({ type: 'log', level: 'info', text: `cut ${message.slot}`, data: {} });
  } else if (message.type === 'addresses') {
    send({ type: 'log', level: 'info', text: `is at ${JSON.stringify(message.addresses)}`, data: {} });
  } else process.exit(0);
});
