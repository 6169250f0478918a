import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatorError } from '../../common/errors.ts';
import { FAULTS } from '../lab/faults.ts';
import { Helper } from '../lab/helper.ts';
import { BACKENDS, NODES } from '../lab/hosts.ts';
import { interruptible } from '../lab/interrupt.ts';
import { Lab, ROOT } from '../lab/lab.ts';
import { Pair } from '../lab/pair.ts';
import { until } from '../lab/wait.ts';
import { drawn } from './data/report.ts';
import { Postgres, type Program, Redis } from './flows/programs.ts';
import { type ClientsReport, type FaultReport, flowFailures, flowTable } from './flows/report.ts';
import { flowServices, type ServiceName } from './flows/services.ts';
import { parsed, whole } from './options.ts';

/** In this order; a second switchover is the way back. */
const STEPS = {
  cut: 'cut',
  'agent-kill': 'agent-kill',
  'lb-kill': 'lb-kill',
  'node-stop': 'node-stop',
  power: 'power',
  switchover: 'switchover',
  switchback: 'switchover',
} as const;
type Step = keyof typeof STEPS;
const STEP_NAMES = Object.keys(STEPS) as Step[];

const HELP = `usage: npm run bench -- flows [--fault NAME …] [--rounds 1] [--echoes 1000] [--downloads 100] [--datagrams 100]
                            [--period 50] [--fill 0] [--json]

Open flows through a pair with the kernel engine, across faults of the active node: connections that send a byte every
--period milliseconds and get one back, connections on which only the backend sends, flows of datagrams, a
redis-benchmark and a session of psql (each where its Debian package is installed). Backends are chosen at random, so
only a flow that the other node knows goes on. Prints for each fault what was reset, lost or led to another backend, and
the longest pause. The exit code is 1 when there was any. --fill puts so many more flows, of clients that nobody has,
into the active node's kernel before. Faults:
${STEP_NAMES.map((name) => `  ${name.padEnd(12)}${FAULTS[STEPS[name]].title}`).join('\n')}`;

/** On a machine that is busy with all of this. */
const PATIENCE_MS = 120_000;
/** Flows are watched for so long after the VIP has moved, before they are asked. */
const LINGER_MS = 1000;

interface Options {
  readonly steps: readonly Step[];
  readonly counts: readonly number[];
  readonly fill: number;
}

/** `npm run bench -- flows`. */
export async function run(args: string[]): Promise<void> {
  const { values } = parse(args);
  if (values.help) return console.log(HELP);
  const names = values.fault ?? STEP_NAMES;
  const unknown = names.find((name) => !(STEP_NAMES as string[]).includes(name));
  if (unknown !== undefined)
    throw new OperatorError('USAGE', `--fault ${unknown}: expected ${STEP_NAMES.join(', ')}`);
  const rounds = whole('rounds', values.rounds, 1, 1000);
  const steps = Array.from({ length: rounds }, () => names as Step[]).flat();
  const counts = (['echoes', 'downloads', 'datagrams'] as const).map((name) =>
    whole(name, values[name], 1, 10_000),
  );
  const lab = await Lab.up();
  try {
    const options = {
      steps,
      counts: [...counts, whole('period', values.period, 10, 10_000)],
      fill: whole('fill', values.fill, 0, 1_000_000),
    };
    const reports = await interruptible(measure(lab, options));
    const failures = flowFailures(reports);
    if (values.json) console.log(JSON.stringify({ reports, failures }));
    else console.log(drawn(flowTable(reports)));
    for (const failure of failures) console.error(failure);
    if (failures.length > 0) throw new Error(`${failures.length} kinds of flows did not get through`);
  } finally {
    await lab.down();
  }
}

async function measure(lab: Lab, { steps, counts, fill }: Options): Promise<FaultReport[]> {
  const programs = await startServers(lab);
  const names: ServiceName[] = ['echo', 'download', 'datagrams', ...programs.map(({ name }) => name)];
  for (const node of NODES) await lab.exec(node, ['tee', '/proc/sys/net/ipv4/ip_forward'], '1');
  const pair = await Pair.start(lab, { services: flowServices(names) });
  try {
    const own = relative(ROOT, join(import.meta.dirname, 'flows/clients.ts'));
    const clients = new Helper(lab, 'client', [own, ...counts.map(String)]);
    await clients.line();
    for (const program of programs) await program.begin(lab);
    if (fill > 0) await fillUp(pair, fill);
    const reports: FaultReport[] = [];
    for (const step of steps) {
      const report = await once(pair, clients, programs, step);
      console.error(`${step}: ${flowFailures([report]).join('; ') || 'all flows went on'}`);
      reports.push(report);
    }
    return reports;
  } finally {
    await pair.stop();
  }
}

async function startServers(lab: Lab): Promise<Program[]> {
  const own = relative(ROOT, join(import.meta.dirname, 'flows/origin.ts'));
  const origins = BACKENDS.map((host, i) => new Helper(lab, host, [own, String(i + 1)]));
  await Promise.all(origins.map((origin) => origin.line()));
  const programs: Program[] = [];
  const lacking = { redis: Redis.lacks(), postgres: Postgres.lacks(lab) };
  for (const [name, why] of Object.entries(lacking)) if (why) console.error(`without ${name}: ${why}`);
  if (lacking.redis === undefined) programs.push(new Redis());
  if (lacking.postgres === undefined) programs.push(new Postgres());
  for (const program of programs) await program.serve(lab);
  return programs;
}

/** More flows on the active node, and how long the standby takes to have them, too. */
async function fillUp(pair: Pair, count: number): Promise<void> {
  const own = relative(ROOT, join(import.meta.dirname, 'flows/fill.ts'));
  const beganMs = performance.now();
  const helper = new Helper(pair.lab, pair.active(), [own, String(count)]);
  const { made, refused, error } = JSON.parse(await helper.line()) as Record<string, number>;
  helper.process.stdin!.end();
  const madeMs = performance.now();
  await warm(pair);
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  console.error(
    `${made} more flows in ${seconds(madeMs - beganMs)} (${refused} refused, error ${error}); the standby has them ${seconds(performance.now() - madeMs)} later`,
  );
  for (const node of NODES)
    for (const line of (await pair.lbdStatus(node)).warnings) console.error(`${node}: ${line}`);
}

async function once(
  pair: Pair,
  clients: Helper,
  programs: readonly Program[],
  step: Step,
): Promise<FaultReport> {
  await warm(pair);
  const before = await known(pair);
  await clients.ask('mark');
  for (const program of programs) program.mark();
  const from = pair.active();
  const mend = await FAULTS[STEPS[step]].inflict(pair, from);
  await pair.ownership.until(
    `the VIP leaves ${from}`,
    () => pair.ownership.holders().some((node) => node !== from),
    PATIENCE_MS,
  );
  await sleep(LINGER_MS);
  const report = await clients.ask<ClientsReport>('report');
  const said: Record<string, FaultReport['programs'][string]> = {};
  for (const program of programs) said[program.name] = await program.report(pair.lab);
  const after = await known(pair);
  await mend();
  return { fault: step, clients: report, programs: said, before, after };
}

/** Flows in the active node's kernel, as its lbd says. */
async function known(pair: Pair): Promise<number> {
  const holder = pair.ownership.holders().at(-1);
  if (holder === undefined) return 0;
  // A balancer that was just killed knows nothing.
  return (await pair.lbdStatus(holder).catch(() => undefined))?.flows?.flows ?? 0;
}

/** Waits until the standby has all flows in its kernel. */
async function warm(pair: Pair): Promise<void> {
  await pair.whole(PATIENCE_MS);
  await until(
    'the standby is warm',
    async () => {
      const active = pair.active();
      const standby = NODES.find((node) => node !== active)!;
      const [own, other] = await Promise.all([pair.lbdStatus(active), pair.lbdStatus(standby)]);
      const told = Object.values(own.flows?.frontends ?? {}).flatMap((it) => Object.values(it));
      const open = told.reduce((sum, { active: count }) => sum + count, 0);
      const [replica = 0, kernel = 0] = [other.flows?.replica, other.flows?.flows];
      // It has flows of its own, for which there is no room beside those of a full table.
      const isFull = other.warnings.some((line) => /table of the kernel is full/.test(line));
      if (own.flows?.state === 'synced' && replica >= open && (kernel >= replica || isFull)) return true;
      throw new Error(`${open} open on ${active}, ${replica} told, ${kernel} in the kernel of ${standby}`);
    },
    PATIENCE_MS,
  );
}

function parse(args: string[]) {
  return parsed({
    args,
    options: {
      fault: { type: 'string', multiple: true },
      rounds: { type: 'string', default: '1' },
      echoes: { type: 'string', default: '1000' },
      downloads: { type: 'string', default: '100' },
      datagrams: { type: 'string', default: '100' },
      period: { type: 'string', default: '50' },
      fill: { type: 'string', default: '0' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
}
