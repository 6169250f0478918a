import { setTimeout as sleep } from 'node:timers/promises';
import { demoCommand } from '../lab/demo-command.ts';
import { broken, indent, milliseconds, resultJson, resultText, timelineText } from '../lab/demo-text.ts';
import { FAULTS, type FaultName } from '../lab/faults.ts';
import { CLIENTS, VM_FAULTS, VmPair } from './pair.ts';

const STEADY_MS = 3000;
const LINGER_MS = 2000;

async function demo(pair: VmPair, fault: FaultName, say: (text: string) => void): Promise<object> {
  say(`Tandem on virtual machines (${pair.vagrant.provider}): ${FAULTS[fault].title}\n\n1. The pair`);
  await pair.whole();
  const active = pair.active();
  say(`${indent(await pair.nodes[active].run('lbctl status'))}\n`);

  const clients = await pair.clients();
  try {
    say(
      `2. Clients come: a new connection every ${CLIENTS.intervalMs} ms, ${3 * CLIENTS.sticky} that stick, ${CLIENTS.keptAlive} that stay connected`,
    );
    await sleep(STEADY_MS);
    const before = await clients.report();
    say(`   ${before.probe.requests} new connections, ${before.probe.failures} failed\n`);

    say(`3. ${FAULTS[fault].title[0]!.toUpperCase()}${FAULTS[fault].title.slice(1)}: ${active}`);
    const result = await pair.fail(clients, fault, LINGER_MS);
    say(`${resultText(result, CLIENTS.intervalMs)}\n`);
    say(`4. What happened when (± ${milliseconds(pair.clockErrorMs)}: each machine has its own clock)`);
    say(`${timelineText(result)}\n`);

    say(fault === 'switchover' ? '5. Both nodes are well' : `5. ${result.from} comes back`);
    const startMs = performance.now();
    await pair.recover(result);
    const wholeAgainMs = performance.now() - startMs;
    say(`   The pair is whole again after ${milliseconds(wholeAgainMs)}; ${pair.active()} is active.\n`);
    for (const line of broken(result)) say(`   NOT AS IT MUST BE: ${line}`);
    return resultJson(result, wholeAgainMs);
  } finally {
    await clients.stop();
  }
}

await demoCommand(
  'failover-demo',
  'Sends traffic to the pair on the machines of vagrant/, lets the active node fail, and tells what clients saw.',
  async (run) => {
    const pair = await VmPair.connect();
    try {
      await run((fault, say) => demo(pair, fault, say));
    } finally {
      pair.close();
    }
  },
  VM_FAULTS,
);
