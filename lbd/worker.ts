import { randomBytes } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { CAPABILITY, keepOnly } from '../common/capabilities.ts';
import { messageOf } from '../common/errors.ts';
import { beginDirectIo, holdings } from './io/direct-io.ts';
import { DataPlane } from './plane/data-plane.ts';
import { loopId } from './plane/loop-id.ts';
import { SessionTable } from './session/table.ts';
import type { FromWorker, Plan, ToWorker, WorkerData } from './shared/plan.ts';
import { SharedState } from './shared/shared.ts';

/** Entry of a worker thread: wires the data plane to the main thread's messages. */
const data = workerData as WorkerData;
const port = parentPort!;
const shared = new SharedState(data.shared, data.index);
const plane = new DataPlane(
  data.index,
  shared,
  new SessionTable(data.sessions, data.index + 1, { hashKey: data.hashKey }),
  `${randomBytes(6).toString('base64url')}-`,
  (level, text, data) => send({ type: 'log', level, text, data }),
  (path, lines) => port.postMessage({ type: 'access', path, lines } satisfies FromWorker, [lines.buffer]),
  loopId(data.hashKey),
);

function send(message: FromWorker): void {
  port.postMessage(message);
}

const indirect = [dropCapabilities(), beginDirectIo(data.directIo)].filter((it) => it !== '').join('; it ');
const held = holdings();
if (held.descriptors.length > 0) send({ type: 'holdings', holdings: held });
if (indirect !== '') send({ type: 'indirect', cause: indirect });

/** What strangers send is read in this thread: it may listen, and no more. @returns what is not possible, as of `beginDirectIo` */
function dropCapabilities(): string {
  try {
    keepOnly(CAPABILITY.netBindService);
    return '';
  } catch (error) {
    return `keeps what it does not need: ${messageOf(error)}`;
  }
}

// Plans are applied one after the other, in the order in which they came.
let applied = apply(data.plan, 0);

async function apply(plan: Plan, serial: number): Promise<void> {
  send({ type: 'planned', serial, errors: await plane.apply(plan) });
}

port.on('message', (message: ToWorker) => {
  switch (message.type) {
    case 'plan':
      applied = applied.then(() => apply(message.plan, message.serial));
      break;
    case 'explain': {
      const explanation = plane.explain(message.frontend, message.query);
      send({ type: 'explained', serial: message.serial, explanation });
      break;
    }
    case 'addresses':
      applied = applied.then(() => plane.setAddresses(message.addresses));
      break;
    case 'cut':
      plane.cut(message.slot);
      break;
    case 'retire':
      plane.retire(message.groups, (connections) => send({ type: 'open', connections }));
      break;
    case 'stop':
      void plane.stop(message.graceMs).then(() => process.exit(0));
      break;
  }
});
