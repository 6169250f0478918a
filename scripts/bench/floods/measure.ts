import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DAEMONS } from '../../lab/daemon.ts';
import { type Attack, FLOODED, hostOf, type Scene, takeRoles } from '../../lab/floods/attacks.ts';
import { Flood } from '../../lab/floods/flood.ts';
import type { Order, Outcome } from '../../lab/floods/order.ts';
import { type Host, NODES } from '../../lab/hosts.ts';
import type { Lab } from '../../lab/lab.ts';
import { Pair } from '../../lab/pair.ts';
import { LabWitness, WITNESS } from '../../lab/witness.ts';
import { usageOf } from '../process.ts';
import { sinkPath, startSink, toSink } from './controls.ts';
import type { Round, Row } from './report.ts';
import { Traffic } from './traffic.ts';
import type { Window } from './visitors.ts';

export interface Plan {
  readonly attacks: readonly Attack[];
  readonly rounds: number;
  readonly seconds: number;
  readonly perSecond: number;
  /** Source tree whose daemons are measured; undefined: this one. */
  readonly tree: string | undefined;
}

/** Longer than any window: a flood is ended by the one who measures. */
const SPARE_MS = 30_000;

/**
 * Measures attacks with pairs of their own: those that need a witness with one that has it.
 *
 * @param told called with each row as it comes
 */
export async function measure(lab: Lab, plan: Plan, told: (row: Row) => void): Promise<Row[]> {
  const rows: Row[] = [];
  for (const needsWitness of [false, true]) {
    const attacks = plan.attacks.filter((attack) => (attack.needsWitness === true) === needsWitness);
    if (attacks.length === 0) continue;
    const pair = await Pair.start(lab, {
      ...FLOODED,
      ...(needsWitness && { witness: WITNESS }),
      ...(plan.tree !== undefined && { tree: plan.tree }),
    });
    const witness = needsWitness ? await LabWitness.start(pair) : undefined;
    try {
      await takeRoles(pair);
      await witness?.grants();
      for (const row of await withPair(pair, { ...plan, attacks }, told)) rows.push(row);
    } finally {
      await witness?.signal('SIGKILL');
      await pair.stop();
    }
  }
  return rows;
}

async function withPair(pair: Pair, plan: Plan, told: (row: Row) => void): Promise<Row[]> {
  const { lab } = pair;
  // A stranger is to be refused by what it attacks.
  chmodSync(lab.outside(pair.directory), 0o755);
  const hosts: readonly Host[] = [...NODES, 'witness'];
  const sinks = await Promise.all(hosts.map((host) => startSink(lab, host, pair.directory)));
  const traffic = await Traffic.start(lab);
  try {
    const rows: Row[] = [];
    for (const attack of plan.attacks) {
      const row = await one(pair, traffic, attack, plan);
      told(row);
      rows.push(row);
      await pair.whole();
    }
    return rows;
  } finally {
    await traffic.stop();
    for (const sink of sinks) sink.kill('SIGKILL');
  }
}

/** The three windows of a round follow each other, so that what disturbs the machine for a while disturbs all. */
async function one(pair: Pair, traffic: Traffic, attack: Attack, plan: Plan): Promise<Row> {
  const active = pair.active();
  const scene: Scene = {
    active,
    runDirectory: join(pair.directory, active),
    forMs: plan.seconds * 1000 + SPARE_MS,
    perSecond: plan.perSecond,
  };
  const orders = attack.orders(scene);
  const controls = orders.map((order) => toSink(order, sinkPath(pair.directory, active)));
  const changes = pair.ownership.changes.length;
  const busy = { quiet: 0, flood: 0 };
  const rounds: Round[] = [];
  let sent = 0;
  for (let i = 0; i < plan.rounds; i++) {
    const watch = async (which: keyof Round) => {
      const before = processorMs(pair);
      const window = await windowOf(traffic, plan.seconds);
      if (which !== 'control') busy[which] += processorMs(pair) - before;
      return window;
    };
    const quiet = await watch('quiet');
    const control = await under(pair.lab, attack, scene, controls, () => watch('control'));
    const flood = await under(pair.lab, attack, scene, orders, () => watch('flood'));
    for (const { sent: count } of flood.outcomes) sent += count;
    rounds.push({ quiet, control: control.window, flood: flood.window });
  }
  const totalMs = plan.rounds * plan.seconds * 1000;
  return {
    ...{ name: attack.name, by: attack.by, rounds },
    perSecond: (sent / totalMs) * 1000,
    processor: { quiet: (busy.quiet / totalMs) * 100, flood: (busy.flood / totalMs) * 100 },
    moves: pair.ownership.changes.length - changes,
  };
}

async function under(
  lab: Lab,
  attack: Attack,
  scene: Scene,
  orders: readonly Order[],
  watch: () => Promise<Window>,
): Promise<{ window: Window; outcomes: readonly Outcome[] }> {
  const isStranger = attack.by === 'stranger';
  const floods = await Promise.all(
    orders.map((order) => Flood.start(lab, hostOf(attack, scene), order, isStranger)),
  );
  const window = await watch();
  return { window, outcomes: await Promise.all(floods.map((flood) => flood.stop())) };
}

async function windowOf(traffic: Traffic, seconds: number): Promise<Window> {
  await traffic.mark();
  await sleep(seconds * 1000);
  return await traffic.mark();
}

/** Of both daemons of the active node. */
function processorMs(pair: Pair): number {
  const { userUs, systemUs } = usageOf(DAEMONS.map((name) => pair.daemons[pair.active()][name].pid));
  return (userUs + systemUs) / 1000;
}
