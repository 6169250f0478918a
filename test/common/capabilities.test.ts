import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { CAPABILITY, effectiveCapabilities, hasCapability } from '../../common/capabilities.ts';

const KEPT = 1n << BigInt(CAPABILITY.netBindService);
const ADMIN = 1n << BigInt(CAPABILITY.netAdmin);
const own = () => effectiveCapabilities(readFileSync('/proc/self/status', 'latin1'));

t.test('a status says what is in effect', async (t) => {
  t.equal(effectiveCapabilities('CapPrm:\t00000000000000ff\nCapEff:\t0000000000001400\n'), KEPT | ADMIN);
  t.equal(effectiveCapabilities('Name:\tx\n'), 0n);
  t.equal(hasCapability(CAPABILITY.netAdmin), (own() & ADMIN) !== 0n);
});

t.test('a thread drops what it does not need, and the others keep theirs', async (t) => {
  const before = own();
  const code = `
    const { keepOnly } = await import(${JSON.stringify(import.meta.resolve('../../common/capabilities.ts'))});
    const { readFileSync } = await import('node:fs');
    const { parentPort } = await import('node:worker_threads');
    keepOnly(${CAPABILITY.netBindService});
    keepOnly(${CAPABILITY.netBindService});
    parentPort.postMessage(readFileSync('/proc/thread-self/status', 'latin1'));
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
  const status = await new Promise<string>((resolve, reject) =>
    worker.once('message', resolve).once('error', reject),
  );
  t.equal(effectiveCapabilities(status), before & KEPT);
  t.equal(own(), before);
});
