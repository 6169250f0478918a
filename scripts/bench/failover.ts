import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { OperatorError } from '../../common/errors.ts';
import { Clients } from '../lab/clients.ts';
import { broken } from '../lab/demo-text.ts';
import { FAULT_NAMES, type FaultName, isFault } from '../lab/faults.ts';
import { interruptible } from '../lab/interrupt.ts';
import { Lab } from '../lab/lab.ts';
import { startOrigins } from '../lab/origins.ts';
import { Pair } from '../lab/pair.ts';
import { type FaultResult, fail, recover } from '../lab/scenario.ts';
import { quantile } from './statistics.ts';

const HELP = `usage: npm run bench -- failover [--runs 20] [--fault NAME …] [--heartbeat 100] [--json]

Lets the active node fail again and again, with a new connection every 2 ms. Faults: ${FAULT_NAMES.join(', ')};
all of them by default. Two runs of a fault are two takeovers of the same pair, in alternating directions.`;

/** Traffic that is watched after the takeover. */
const LINGER_MS = 300;

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      runs: { type: 'string', default: '20' },
      fault: { type: 'string', multiple: true, default: FAULT_NAMES },
      heartbeat: { type: 'string', default: '100' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const wrong = values.fault.find((name) => !isFault(name));
  if (wrong !== undefined)
    throw new OperatorError('USAGE', `--fault ${wrong}: expected ${FAULT_NAMES.join(', ')}`);
  const lab = await Lab.up();
  try {
    const work = measure(lab, values.fault as FaultName[], Number(values.runs), Number(values.heartbeat));
    const results = await interruptible(work);
    if (values.json) console.log(JSON.stringify(results.map(figures)));
    else console.log(tableOf(results));
  } finally {
    await lab.down();
  }
}

async function measure(lab: Lab, faults: readonly FaultName[], runs: number, heartbeatMs: number) {
  await startOrigins(lab);
  const pair = await Pair.start(lab, { heartbeatMs });
  try {
    const results: FaultResult[] = [];
    for (const fault of faults)
      for (let i = 0; i < runs; i++) {
        const clients = await Clients.start(lab);
        const result = await fail(pair, clients, fault, LINGER_MS);
        await clients.stop();
        await recover(pair, result);
        results.push(result);
        const { blackoutMs } = result.probe;
        console.error(`${fault} ${i + 1}/${runs}: ${Math.round(blackoutMs)} ms ${broken(result).join('; ')}`);
      }
    return results;
  } finally {
    await pair.close();
  }
}

function figures(result: FaultResult) {
  return {
    fault: result.fault,
    blackout_ms: result.probe.blackoutMs,
    takeover_ms: result.takeoverMs,
    vip_gone_ms: result.vipGoneMs ?? null,
    two_owners_ms: result.twoOwnersMs,
    requests: result.probe.requests,
    failures: result.probe.failures,
    kept_alive_broken: result.keptAlive.broken,
    broken: broken(result),
  };
}

function tableOf(results: readonly FaultResult[]): string {
  const table = new Table({
    head: [
      'fault',
      'runs',
      'blackout ms',
      'VIP gone ms',
      'two owners ms',
      'kept-alive broken',
      'not as it must be',
    ],
    style: { head: [], border: [] },
  });
  for (const [fault, own] of Map.groupBy(results, (result) => result.fault))
    table.push([
      fault,
      own.length,
      spread(own.map((result) => result.probe.blackoutMs)),
      spread(own.flatMap((result) => result.vipGoneMs ?? [])),
      spread(own.map((result) => result.twoOwnersMs)),
      spread(own.map((result) => result.keptAlive.broken)),
      own.filter((result) => broken(result).length > 0).length,
    ]);
  return `median / 95 % / worst\n${table}`;
}

function spread(values: readonly number[]): string {
  if (values.length === 0) return '–';
  return [0.5, 0.95, 1].map((share) => Math.round(quantile(values, share))).join(' / ');
}
