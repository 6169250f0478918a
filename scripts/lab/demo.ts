import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { messageOf } from '../../common/errors.ts';
import { Clients } from './clients.ts';
import { broken, indent, milliseconds, resultJson, resultText, timelineText } from './demo-text.ts';
import { FAULT_NAMES, FAULTS, type FaultName, isFault } from './faults.ts';
import { BACKENDS, NODES, VIP } from './hosts.ts';
import { exitCodeOf, interruptible } from './interrupt.ts';
import { Lab } from './lab.ts';
import { startOrigins } from './origins.ts';
import { Pair } from './pair.ts';
import { fail, recover } from './scenario.ts';

/** Traffic before the fault and after the takeover, so that there is something to see. */
const STEADY_MS = 2000;
const LINGER_MS = 1000;

const USAGE = `usage: scripts/demo [--fault ${FAULT_NAMES.join('|')}] [--json]

Starts the pair in network namespaces, sends traffic, lets the active node fail, and tells what clients saw.`;

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
    const result = await fail(pair, clients, fault, LINGER_MS);
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

async function main(): Promise<number> {
  let values: { fault: string; json: boolean; help: boolean };
  try {
    ({ values } = parseArgs({
      options: {
        fault: { type: 'string', default: 'cut' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }));
    if (!isFault(values.fault))
      throw new Error(`--fault ${values.fault}: expected ${FAULT_NAMES.join(', ')}`);
  } catch (error) {
    console.error(`demo: ${messageOf(error)}\n${USAGE}`);
    return 2;
  }
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const { fault, json } = values;
  const lab = await Lab.up();
  try {
    const say = json ? () => {} : (text: string) => console.log(text);
    const result = await interruptible(demo(lab, fault as FaultName, say));
    if (json) console.log(JSON.stringify(result));
    return (result as { broken: string[] }).broken.length === 0 ? 0 : 1;
  } finally {
    await lab.down();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`demo: ${messageOf(error)}`);
  process.exitCode = exitCodeOf(error);
}
