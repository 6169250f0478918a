import { setTimeout as sleep } from 'node:timers/promises';
import { Clients } from './clients.ts';
import { demoCommand } from './demo-command.ts';
import { broken, indent, milliseconds, resultJson, resultText, timelineText } from './demo-text.ts';
import { FAULTS, type FaultName } from './faults.ts';
import { BACKENDS, NODES, VIP } from './hosts.ts';
import { Lab } from './lab.ts';
import { startOrigins } from './origins.ts';
import { Pair } from './pair.ts';
import { fail, recover } from './scenario.ts';

/** Traffic before the fault and after the takeover, so that there is something to see. */
const STEADY_MS = 2000;
const LINGER_MS = 1000;

async function demo(lab: Lab, fault: FaultName, say: (text: string) => void): Promise<object> {
  say(`Tandem: ${FAULTS[fault].title}
   One client, two nodes (${NODES.join(', ')}), three backends (${BACKENDS.join(', ')}), one address: ${VIP}.
   All of it is in network namespaces: nothing reaches this machine's network.

1. The pair starts`);
  await startOrigins(lab);
  const pair = await Pair.start(lab);
  try {
    const active = pair.active();
    const status = await pair.lbctl(active, 'status');
    say(`${indent(status.stdout || status.stderr)}\n`);

    const clients = await Clients.start(lab);
    say(`2. Clients come: a new connection every 2 ms, 60 that stick to a backend, 20 that stay connected`);
    await sleep(STEADY_MS);
    const before = await clients.report();
    say(`   ${before.probe.requests} new connections, ${before.probe.failures} failed\n`);

    say(`3. ${FAULTS[fault].title[0]!.toUpperCase()}${FAULTS[fault].title.slice(1)}: ${active}`);
    const result = await fail(pair, clients, fault, { lingerMs: LINGER_MS });
    say(`${resultText(result)}\n`);
    say(`4. What happened when\n${timelineText(result)}\n`);

    say(fault === 'switchover' ? '5. Both nodes are well' : `5. ${result.from} comes back`);
    const startMs = performance.now();
    await recover(pair, result);
    const wholeAgainMs = performance.now() - startMs;
    say(`   The pair is whole again after ${milliseconds(wholeAgainMs)}; ${pair.active()} is active.\n`);
    for (const line of broken(result)) say(`   NOT AS IT MUST BE: ${line}`);
    await clients.stop();
    await pair.stop();
    return resultJson(result, wholeAgainMs);
  } finally {
    await pair.close();
  }
}

await demoCommand(
  'demo',
  'Starts the pair in network namespaces, sends traffic, lets the active node fail, and tells what clients saw.',
  async (run) => {
    const lab = await Lab.up();
    try {
      await run((fault, say) => demo(lab, fault, say));
    } finally {
      await lab.down();
    }
  },
);
