import { parseArgs } from 'node:util';
import { OperatorError } from '../../common/errors.ts';
import { Clients } from '../lab/clients.ts';
import { broken } from '../lab/demo-text.ts';
import { FAULT_NAMES, FAULTS, type FaultName, isFault } from '../lab/faults.ts';
import { interruptible } from '../lab/interrupt.ts';
import { Lab } from '../lab/lab.ts';
import { startOrigins } from '../lab/origins.ts';
import { Pair } from '../lab/pair.ts';
import { type FaultResult, fail, recover } from '../lab/scenario.ts';
import type { TestedPair } from '../lab/tested-pair.ts';
import { LabWitness, WITNESS } from '../lab/witness.ts';
import { figures, type Row, tableOf } from './failover-table.ts';
import { Rival } from './rival.ts';

const HELP = `usage: npm run bench -- failover [--runs 20] [--fault NAME …] [--heartbeat 100 …] [--peer keepalived] [--witness] [--json]

Lets the active node fail again and again, with a new connection every 2 ms. All faults by default, at a heartbeat
every 100 ms, and the cut at 10 ms. --heartbeat may be given several times. --peer keepalived does the same to
keepalived + HAProxy, on the same hosts, after each fault. --witness gives Tandem a witness that grants leases. Prints a Markdown table.

${FAULT_NAMES.map((name) => `  ${name.padEnd(15)}${FAULTS[name].title}`).join('\n')}`;

/** Traffic that is watched after the takeover. */
const LINGER_MS = 300;
/** The rival is given up when it has not one owner again by then: its double owners last for as long as one watches. */
const RIVAL_WATCH_MS = 3000;

interface Plan {
  readonly faults: readonly { readonly fault: FaultName; readonly heartbeatMs: number }[];
  readonly runs: number;
  readonly rival: boolean;
  readonly witness: boolean;
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      runs: { type: 'string', default: '20' },
      fault: { type: 'string', multiple: true },
      heartbeat: { type: 'string', multiple: true },
      peer: { type: 'string' },
      witness: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const plan = planOf(values);
  if (plan.rival) Rival.requireTools();
  const lab = await Lab.up();
  try {
    const rows = await interruptible(measure(lab, plan));
    if (values.json)
      console.log(
        JSON.stringify(rows.map(({ results, ...row }) => ({ ...row, runs: results.map(figures) }))),
      );
    else console.log(tableOf(rows));
  } finally {
    await lab.down();
  }
}

/** @throws OperatorError for a value that is not understood */
function planOf(values: {
  runs: string;
  fault?: string[] | undefined;
  heartbeat?: string[] | undefined;
  peer?: string | undefined;
  witness: boolean;
}): Plan {
  const faults = (values.fault ?? FAULT_NAMES).map((name) => {
    if (isFault(name)) return name;
    throw new OperatorError('USAGE', `--fault ${name}: expected ${FAULT_NAMES.join(', ')}`);
  });
  const number = (flag: string, text: string, most: number) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= 1 && value <= most) return value;
    throw new OperatorError('USAGE', `--${flag} ${text}: expected a whole number from 1 to ${most}`);
  };
  if (values.peer !== undefined && values.peer !== 'keepalived')
    throw new OperatorError('USAGE', `--peer ${values.peer}: expected keepalived`);
  const heartbeats = (values.heartbeat ?? ['100']).map((text) => number('heartbeat', text, 10_000));
  const pairs = heartbeats.flatMap((heartbeatMs) => faults.map((fault) => ({ fault, heartbeatMs })));
  if (values.fault === undefined && values.heartbeat === undefined)
    pairs.push({ fault: 'cut', heartbeatMs: 10 });
  return {
    faults: pairs,
    runs: number('runs', values.runs, 10_000),
    rival: values.peer !== undefined,
    witness: values.witness,
  };
}

/** The two makes one after the other for each fault: what disturbs the machine for a while disturbs both. */
async function measure(lab: Lab, plan: Plan): Promise<Row[]> {
  const { faults, runs, rival } = plan;
  await startOrigins(lab);
  const rows: Row[] = [];
  for (const { fault, heartbeatMs } of faults) {
    rows.push({ make: 'Tandem', fault, heartbeatMs, results: await tandem(lab, fault, heartbeatMs, plan) });
    if (rival && FAULTS[fault].needs === undefined)
      rows.push({
        make: 'keepalived',
        fault,
        heartbeatMs,
        results: await keepalived(lab, fault, heartbeatMs, runs),
      });
  }
  return rows;
}

async function tandem(
  lab: Lab,
  fault: FaultName,
  heartbeatMs: number,
  { runs, witness }: Plan,
): Promise<FaultResult[]> {
  const results: FaultResult[] = [];
  // Each run is to find a pair to which nothing has happened yet.
  const runsOfPair = FAULTS[fault].lingers ? 1 : runs;
  while (results.length < runs) await onePair(lab, fault, heartbeatMs, witness, runsOfPair, keep);
  return results;

  function keep(result: FaultResult): void {
    results.push(result);
    progress('Tandem', result, results.length, runs);
  }
}

async function onePair(
  lab: Lab,
  fault: FaultName,
  heartbeatMs: number,
  witness: boolean,
  runs: number,
  keep: (result: FaultResult) => void,
): Promise<void> {
  const pair = await Pair.start(lab, { heartbeatMs, ...(witness && { witness: WITNESS }) });
  const third = witness ? await LabWitness.start(pair) : undefined;
  try {
    await third?.grants();
    for (let i = 0; i < runs; i++) {
      const result = await once(pair, fault, 15_000);
      await recover(pair, result);
      await third?.grants();
      keep(result);
    }
  } finally {
    await third?.signal('SIGKILL');
    await pair.stop();
  }
}

async function keepalived(
  lab: Lab,
  fault: FaultName,
  heartbeatMs: number,
  runs: number,
): Promise<FaultResult[]> {
  const rival = await Rival.start(lab, heartbeatMs);
  try {
    const results: FaultResult[] = [];
    for (let i = 1; i <= runs; i++) {
      const result = await once(rival, fault, RIVAL_WATCH_MS);
      await result.mend?.();
      await rival.restart();
      results.push(result);
      progress('keepalived', result, i, runs);
    }
    return results;
  } finally {
    await rival.stop();
  }
}

async function once(pair: TestedPair, fault: FaultName, watchMs: number): Promise<FaultResult> {
  const clients = await Clients.start(pair.lab);
  try {
    return await fail(pair, clients, fault, { lingerMs: LINGER_MS, watchMs });
  } finally {
    await clients.stop();
  }
}

function progress(make: Row['make'], result: FaultResult, run: number, runs: number): void {
  const blackout = `blackout ${Math.round(result.probe.blackoutMs)} ms`;
  console.error(`${make} ${result.fault} ${run}/${runs}: ${blackout} ${broken(result).join('; ')}`);
}
