import { writeFileSync } from 'node:fs';
import { messageOf, OperatorError } from '../../common/errors.ts';
import { interruptible } from '../lab/interrupt.ts';
import { hasTool } from '../lab/missing.ts';
import { cost, type Pace } from './data/cost.ts';
import { idle } from './data/idle.ts';
import { latency } from './data/latency.ts';
import { LOADS } from './data/loads.ts';
import { LOAD_HELP, LOAD_NAMES, type LoadName } from './data/names.ts';
import { drawn, markdown, reportOf } from './data/report.ts';
import { soak } from './data/soak.ts';
import { LOAD_CORE, PROXY_CORE, Stage } from './data/stage.ts';
import { failuresOf, type Results, verdicts } from './data/targets.ts';
import { workers } from './data/workers.ts';
import { number, parsed, whole } from './options.ts';
import { summary } from './targets.ts';

const OPTIONS = '[--runs 3] [--seconds S] [--minutes M] [--json] [--output FILE]';
const ABOUT = `Costs are CPU microseconds of the proxy's processes, from /proc; proxy on core ${PROXY_CORE}, load and origin on core ${LOAD_CORE}.
Runs take turns (A B A B); figures are medians of --runs runs of --seconds (3; 2 for several loads). Every answer is
checked or counted: a failure is told, and the exit code is 1. Latency is that of an open loop with Poisson arrivals.
--minutes is how long soak lasts (10; 1 beside other loads); its target is judged from 10 on. --output writes the tables
as Markdown.`;
/** Alone, a load runs as long as it should; all together are to be over in a quarter of an hour. */
const ALONE = { seconds: '3', minutes: '10' };
const TOGETHER = { seconds: '2', minutes: '1' };

interface Options extends Pace {
  readonly minutes: number;
  readonly json: boolean;
  readonly output: string | undefined;
}

/** `npm run bench -- data [LOAD…]`: all loads of the data plane, or those. */
export async function run(args: string[]): Promise<void> {
  const { values, positionals } = parse(args);
  if (values.help) {
    const lines = LOAD_NAMES.map((name) => `  ${name.padEnd(12)} ${LOAD_HELP[name]}`);
    console.log(`usage: npm run bench -- data [LOAD…] ${OPTIONS}\n\n${ABOUT}\n\n${lines.join('\n')}`);
    return;
  }
  const unknown = positionals.find((name) => !Object.hasOwn(LOAD_HELP, name));
  if (unknown !== undefined)
    throw new OperatorError('USAGE', `${unknown} is no load of the data plane: ${LOAD_NAMES.join(', ')}`);
  const names = positionals.length === 0 ? LOAD_NAMES : (positionals as LoadName[]);
  const usual = names.length === 1 ? ALONE : TOGETHER;
  const options: Options = {
    runs: whole('runs', values.runs, 1, 99),
    seconds: whole('seconds', values.seconds ?? usual.seconds, 1, 600),
    minutes: number('minutes', values.minutes ?? usual.minutes, 0.1, 1440),
    json: values.json,
    output: values.output,
  };
  for (const tool of ['wrk', 'taskset', 'nginx', 'openssl'])
    if (!hasTool(tool)) throw new OperatorError('MISSING', `${tool} is missing`);
  await using stage = new Stage();
  await interruptible(measure(stage, names, options));
}

async function measure(stage: Stage, names: readonly LoadName[], options: Options): Promise<void> {
  const results: Results = { cost: {}, memory: {}, latency: {} };
  const broken: string[] = [];
  const reports = [];
  for (const name of names) {
    const skipped = (proxy: string, why: string) => console.error(`${name}: without ${proxy}: ${why}`);
    try {
      await one(stage, name, options, results, skipped);
    } catch (error) {
      // The others are still worth their figures.
      if (error instanceof OperatorError) throw error;
      broken.push(`${name}: ${messageOf(error)}`);
    } finally {
      await stage.clear();
    }
    const report = reportOf(name, results);
    if (report === undefined) continue;
    reports.push(report);
    if (!options.json) console.log(`${drawn(report)}\n`);
  }
  const all = names.length === LOAD_NAMES.length;
  const found = verdicts(results).filter(({ says }) => all || says !== 'not measured');
  const failures = [...broken, ...failuresOf(results)];
  if (found.length > 0) {
    const last = summary(found);
    reports.push(last);
    if (!options.json) console.log(drawn(last));
  }
  if (options.json) console.log(JSON.stringify({ ...results, targets: found, failures }));
  if (options.output !== undefined) writeFileSync(options.output, reports.map(markdown).join('\n'));
  for (const failure of failures) console.error(failure);
  if (failures.length > 0) throw new Error('not all went well: figures beside a failure are worth nothing');
}

async function one(
  stage: Stage,
  name: LoadName,
  options: Options,
  results: Results,
  skipped: (proxy: string, why: string) => void,
): Promise<void> {
  switch (name) {
    case 'latency':
    case 'latency-tls':
    case 'latency-tcp':
      results.latency[name] = await latency(stage, name, options, skipped);
      break;
    case 'idle':
    case 'idle-tls':
      results.memory[name] = await idle(stage, name === 'idle' ? 'http' : 'https', options.runs, skipped);
      break;
    case 'workers':
      results.cost.workers = await workers(stage, options, skipped);
      break;
    case 'soak':
      results.soak = await soak(stage, options.minutes);
      break;
    default:
      results.cost[name] = await cost(stage, LOADS[name], options, skipped);
  }
}

function parse(args: string[]) {
  return parsed({
    args,
    allowPositionals: true,
    options: {
      runs: { type: 'string', default: '3' },
      seconds: { type: 'string' },
      minutes: { type: 'string' },
      json: { type: 'boolean', default: false },
      output: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
}
