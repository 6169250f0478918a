import { join } from 'node:path';
import { ADDRESS } from '../../lab/hosts.ts';
import type { Lab } from '../../lab/lab.ts';
import { until } from '../../lab/wait.ts';
import { complaints, type Outcome, outcomeOf } from '../data/outcome.ts';
import { LARGE_BYTES, SMALL_BYTES } from '../data/setup.ts';
import { processTree, usageOf } from '../process.ts';
import { median } from '../statistics.ts';
import {
  CONTENDERS,
  type Contender,
  LARGE_PATH,
  lacks,
  onItsHost,
  type Running,
  SMALL_PATH,
  setForwarding,
  startContender,
  startNginxOrigins,
  urlOf,
} from './contenders.ts';
import { machineTime } from './machine.ts';

export const KERNEL_LOADS = ['requests', 'connections', 'throughput'] as const;
export type KernelLoad = (typeof KERNEL_LOADS)[number];

interface Load {
  readonly title: string;
  readonly path: string;
  readonly bytesOfUnit: number;
  readonly clients: number;
  readonly options: readonly string[];
}

export const LOADS: Readonly<Record<KernelLoad, Load>> = {
  requests: {
    title: 'requests on connections that stay, 128-byte answers',
    path: SMALL_PATH,
    bytesOfUnit: SMALL_BYTES,
    clients: 48,
    options: [],
  },
  connections: {
    title: 'a new connection for each request, 128-byte answers',
    path: SMALL_PATH,
    bytesOfUnit: SMALL_BYTES,
    clients: 48,
    options: ['-H', 'Connection: close'],
  },
  throughput: {
    title: '1 MiB answers',
    path: LARGE_PATH,
    bytesOfUnit: LARGE_BYTES,
    clients: 12,
    options: [],
  },
};

/** Medians of the runs. */
export interface KernelRow {
  readonly contender: Contender;
  readonly perSecond: number;
  readonly gbitPerSecond: number;
  /** CPU of the whole machine for each answer: clients, balancer, origins and all that the kernel does between them. */
  readonly machineUs: number;
  /** Of it, what the balancer's own processes had. */
  readonly balancerUs: number;
  /** Share of the machine's time that nobody needed. */
  readonly idle: number;
  readonly failures: readonly string[];
}

interface Run {
  readonly outcome: Outcome;
  readonly machineUs: number;
  readonly balancerUs: number;
  readonly idle: number;
}

/** Who takes part. */
export type Field = ReadonlyMap<Contender, Running | undefined>;

/** Starts origins and balancers. @param skipped is told of each that cannot take part, and why */
export async function start(lab: Lab, skipped: (contender: Contender, why: string) => void): Promise<Field> {
  startNginxOrigins(lab);
  await setForwarding(lab, 'lb1');
  // A switch does its work outside of the hosts; this one must not filter IP besides.
  await lab.run('switch', ['tee', '/proc/sys/net/bridge/bridge-nf-call-iptables'], '0');
  const running = new Map<Contender, Running | undefined>();
  for (const contender of CONTENDERS) {
    const why = lacks(contender);
    if (why !== undefined) skipped(contender, why);
    else if (contender === 'haproxy-firewall') running.set(contender, running.get('haproxy'));
    else running.set(contender, startContender(lab, contender));
  }
  for (const contender of running.keys())
    await until(`${contender} answers`, () => load(lab, contender, LOADS.requests, 1, 1), 60_000);
  // lbd itself would answer, too, before its rules are in force.
  await until('the kernel balances', async () => {
    const listed = await lab.exec('lb1', ['conntrack', '-L', '-p', 'tcp', '--dport', '5000', '--dst-nat']);
    if (listed.includes(`dst=${ADDRESS.lb1}`)) return true;
    await load(lab, 'kernel', LOADS.requests, 1, 1);
    return undefined;
  });
  return running;
}

/** Runs a load on all of them, in turns (A B A B). */
export async function measure(
  lab: Lab,
  running: Field,
  name: KernelLoad,
  { runs, seconds }: { readonly runs: number; readonly seconds: number },
): Promise<KernelRow[]> {
  const found = new Map<Contender, Run[]>([...running.keys()].map((contender) => [contender, []]));
  // The first round warms up what is compiled while it runs.
  for (let i = 0; i <= runs; i++)
    for (const [contender, balancer] of running) {
      const run = await onItsHost(lab, contender, () =>
        once(lab, contender, LOADS[name], i === 0 ? 1 : seconds, balancer?.pid),
      );
      if (i > 0) found.get(contender)!.push(run);
    }
  return [...found].map(([contender, all]) => rowOf(contender, all, LOADS[name].bytesOfUnit));
}

async function once(
  lab: Lab,
  contender: Contender,
  it: Load,
  seconds: number,
  pid: number | undefined,
): Promise<Run> {
  const pids = pid === undefined ? [] : processTree(pid);
  const [machine, balancer] = [machineTime(), usageOf(pids)];
  const outcome = await load(lab, contender, it, it.clients, seconds);
  const [machineAfter, balancerAfter] = [machineTime(), usageOf(pids)];
  const busyUs = machineAfter.busyUs - machine.busyUs;
  const idleUs = machineAfter.idleUs - machine.idleUs;
  return {
    outcome,
    machineUs: busyUs / outcome.units,
    balancerUs:
      (balancerAfter.userUs + balancerAfter.systemUs - balancer.userUs - balancer.systemUs) / outcome.units,
    idle: idleUs / (busyUs + idleUs),
  };
}

async function load(
  lab: Lab,
  contender: Contender,
  { path, options }: Load,
  clients: number,
  seconds: number,
): Promise<Outcome> {
  const script = join(import.meta.dirname, '../data/wrk.lua');
  const threads = clients > 1 ? 2 : 1;
  const output = await lab.exec('client', [
    ...['wrk', '-t', String(threads), '-c', String(clients), '-d', `${seconds}s`, '--timeout', '10s'],
    ...[...options, '-s', script, urlOf(contender, path)],
  ]);
  const outcome = outcomeOf(output);
  if (outcome.units === 0) throw new Error('no answer');
  return outcome;
}

function rowOf(contender: Contender, runs: readonly Run[], bytesOfUnit: number): KernelRow {
  const perSecond = median(runs.map(({ outcome }) => outcome.units / outcome.seconds));
  return {
    contender,
    perSecond,
    gbitPerSecond: (perSecond * bytesOfUnit * 8) / 1e9,
    machineUs: median(runs.map(({ machineUs }) => machineUs)),
    balancerUs: median(runs.map(({ balancerUs }) => balancerUs)),
    idle: median(runs.map(({ idle }) => idle)),
    failures: runs.flatMap(({ outcome }) => complaints(outcome, bytesOfUnit)),
  };
}
