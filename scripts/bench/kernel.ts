import { OperatorError } from '../../common/errors.ts';
import { interruptible } from '../lab/interrupt.ts';
import { Lab } from '../lab/lab.ts';
import { hasTool } from '../lab/missing.ts';
import { drawn } from './data/report.ts';
import { KERNEL_LOADS, type KernelLoad, measure, start } from './kernel/cost.ts';
import { moves, movesTable } from './kernel/moves.ts';
import { sync, syncTable } from './kernel/sync.ts';
import { costTable, type KernelResults, kernelFailures, kernelVerdicts } from './kernel/targets.ts';
import { parsed, whole } from './options.ts';
import { summary } from './targets.ts';

const PARTS = [...KERNEL_LOADS, 'moves', 'sync'] as const;
const HELP = `usage: npm run bench -- kernel [PART…] [--runs 3] [--seconds 3] [--rate 5000] [--json]

The kernel engine beside the user engine, HAProxy (mode tcp; also with a stateful firewall on its host, which follows
connections as the kernel engine does), nginx (stream) and no balancer at all, each on a host of the lab with a client and
three backends (nginx). All of them share all cores of the machine, so what the balancer does
not need clients and backends have: "machine" is the CPU of all together for each answer. Runs take turns (A B A B).
The exit code is 1 when a target is missed or anything failed. Parts, all of them by default:
  requests      kept-alive connections
  connections   a connection for each request
  throughput    1 MiB answers
  moves         a frontend that changes its engine by reloads, under new connections
  sync          a pair of nodes under --rate new connections/s: lag of the flow sync, and its CPU`;

/** `npm run bench -- kernel [PART…]`. */
export async function run(args: string[]): Promise<void> {
  const { values, positionals } = parse(args);
  if (values.help) return console.log(HELP);
  const unknown = positionals.find((name) => !(PARTS as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw new OperatorError('USAGE', `${unknown} is no part: expected ${PARTS.join(', ')}`);
  const wanted = (part: string) => positionals.length === 0 || positionals.includes(part);
  const [runs, seconds] = [whole('runs', values.runs, 1, 99), whole('seconds', values.seconds, 1, 20)];
  const rate = whole('rate', values.rate, 1, 100_000);
  for (const tool of ['wrk', 'nginx'])
    if (!hasTool(tool)) throw new OperatorError('MISSING', `${tool} is missing: install the package ${tool}`);
  const results: KernelResults = { cost: {} };
  const parts = [...KERNEL_LOADS, 'moves' as const].filter(wanted);
  const say = (text: string) => values.json || console.log(text);
  if (parts.length > 0) await interruptible(oneLab(results, parts, { runs, seconds }, say));
  if (wanted('sync')) {
    results.sync = await interruptible(sync(rate, seconds * runs));
    say(`${drawn(syncTable(results.sync))}\n`);
  }
  const found = kernelVerdicts(results).filter(({ says }) => says !== 'not measured');
  const failures = kernelFailures(results);
  if (values.json) console.log(JSON.stringify({ ...results, targets: found, failures }));
  say(drawn(summary(found)));
  for (const failure of failures) console.error(failure);
  const missed = found.filter(({ says }) => says === 'missed').length;
  if (failures.length > 0 || missed > 0)
    throw new Error(`${missed} of ${found.length} targets missed, ${failures.length} failures`);
}

/** All that one node and its backends are enough for. */
async function oneLab(
  results: KernelResults,
  parts: readonly (KernelLoad | 'moves')[],
  pace: { readonly runs: number; readonly seconds: number },
  say: (text: string) => void,
): Promise<void> {
  const lab = await Lab.up();
  try {
    const running = await start(lab, (name, why) => console.error(`without ${name}: ${why}`));
    for (const part of parts)
      if (part === 'moves') {
        results.moves = await moves(lab, pace.runs * pace.seconds);
        say(`${drawn(movesTable(results.moves))}\n`);
      } else {
        const rows = await measure(lab, running, part, pace);
        results.cost[part] = rows;
        say(`${drawn(costTable(part, rows))}\n`);
      }
  } finally {
    await lab.down();
  }
}

function parse(args: string[]) {
  return parsed({
    args,
    allowPositionals: true,
    options: {
      runs: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '3' },
      rate: { type: 'string', default: '5000' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
}
