import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '../../../common/events.ts';
import { ADDRESS, BACKENDS, CLIENT_ADDRESSES, NODES, type NodeName, VIP } from '../../lab/hosts.ts';
import { Lab, NODE } from '../../lab/lab.ts';
import { Pair } from '../../lab/pair.ts';
import { type Outcome, outcomeOf } from '../data/outcome.ts';
import type { Report } from '../data/report.ts';
import { processTree, usageOf } from '../process.ts';
import { quantile } from '../statistics.ts';
import { ORIGIN_PORT, SMALL_PATH, startNginxOrigins } from './contenders.ts';
import { machineTime } from './machine.ts';

const PORT = 5000;
/** Each connection of the load stays open so long: the standby must be told of it, and of its end. */
const HOLD_MS = 200;
/** Connections of a client address of their own, of which is known when they were open. */
const PROBE_ADDRESS = CLIENT_ADDRESSES[0]!;
const PROBE_EVERY_MS = 10;
const IDLE_SECONDS = 5;
/** The first connections, and the start of the load, are no measure. */
const WARM_UP_SECONDS = 2;
/** Tries to find how many clients make the wanted rate, and the most of them for each that an idle machine would need. */
const [WARM_UPS, MOST_CLIENTS] = [4, 4];
/** A rate that is this share off the wanted one was not reached. */
const RATE_SLACK = 0.05;
/** For a probe's flow to come late. */
const LATE_MS = 5000;

/** CPU of a node's lbd and its helpers, in milliseconds a second. */
type Cpu = Readonly<Record<'active' | 'standby', number>>;

export interface SyncFigures {
  readonly wantedRate: number;
  /** New connections a second that were answered. */
  readonly rate: number;
  /** From the moment a client's connection is open until the standby's kernel has its flow; of probes beside the load. */
  readonly lagP50Ms: number;
  readonly lagP99Ms: number;
  readonly lagWorstMs: number;
  readonly probes: number;
  /** What lbd says of itself: from the event that it read until the standby's acknowledgement. */
  readonly ownP99Ms: number | undefined;
  readonly idleCpu: Cpu;
  readonly cpu: Cpu;
  /** Above the idle one, per 1,000 new connections a second. */
  readonly cpuPer1000: Cpu;
  /** Share of the machine's time that nobody needed. */
  readonly idle: number;
  readonly failures: readonly string[];
}

function services(): string {
  const backends = BACKENDS.map((it) => `${it}: { address: "${ADDRESS[it]}:${ORIGIN_PORT}" }`).join(', ');
  return `frontends:
  tcp: { bind: ["*:${PORT}"], mode: tcp, engine: kernel, pool: tcp }
pools:
  tcp: { algorithm: round-robin, health: { type: tcp, interval: 1s }, backends: { ${backends} } }
`;
}

/** A pair under a load of new connections. @param rate new connections a second */
export async function sync(rate: number, seconds: number): Promise<SyncFigures> {
  const lab = await Lab.up();
  try {
    startNginxOrigins(lab);
    for (const node of NODES) await lab.exec(node, ['tee', '/proc/sys/net/ipv4/ip_forward'], '1');
    const pair = await Pair.start(lab, { services: services() });
    try {
      return await underLoad(lab, pair, rate, seconds);
    } finally {
      await pair.stop();
    }
  } finally {
    await lab.down();
  }
}

async function underLoad(lab: Lab, pair: Pair, rate: number, seconds: number): Promise<SyncFigures> {
  const active = pair.active();
  const standby = NODES.find((node) => node !== active)!;
  const cpuOf = (node: NodeName) => {
    const { userUs, systemUs } = usageOf(processTree(pair.daemons[node].lbd.pid));
    return (userUs + systemUs) / 1000;
  };
  const during = async <T>(work: Promise<T>): Promise<{ cpu: Cpu; idle: number; result: T }> => {
    const before = {
      active: cpuOf(active),
      standby: cpuOf(standby),
      machine: machineTime(),
      ms: monotonicMs(),
    };
    const result = await work;
    const [passedS, machine] = [(monotonicMs() - before.ms) / 1000, machineTime()];
    const idleUs = machine.idleUs - before.machine.idleUs;
    return {
      cpu: {
        active: (cpuOf(active) - before.active) / passedS,
        standby: (cpuOf(standby) - before.standby) / passedS,
      },
      idle: idleUs / (idleUs + machine.busyUs - before.machine.busyUs),
      result,
    };
  };
  const rest = await during(sleep(IDLE_SECONDS * 1000));
  const clients = await clientsFor(lab, rate);
  const probes = await Probes.start(lab, standby);
  const busy = await during(load(lab, clients, seconds));
  const { lags, lost } = await probes.finish();
  const { flows } = await pair.lbdStatus(active);
  const outcome = busy.result;
  const reached = outcome.units / outcome.seconds;
  const failures = Object.entries(outcome.failures).flatMap(([cause, count]) =>
    count > 0 ? [`${count} × ${cause}`] : [],
  );
  if (reached < rate * (1 - RATE_SLACK))
    failures.push(`${reached.toFixed(0)} new connections/s instead of ${rate}: the machine has not more`);
  if (lost > 0) failures.push(`${lost} of ${lost + lags.length} probes did not come to the standby`);
  if (flows === undefined || flows.state !== 'synced')
    failures.push(`the flow sync is ${flows?.state}: ${flows?.why}`);
  const per1000 = (node: keyof Cpu) => ((busy.cpu[node] - rest.cpu[node]) * 1000) / reached;
  return {
    wantedRate: rate,
    rate: reached,
    lagP50Ms: quantile(lags, 0.5),
    lagP99Ms: quantile(lags, 0.99),
    lagWorstMs: quantile(lags, 1),
    probes: lags.length,
    ownP99Ms: flows?.lag_p99_ms,
    idleCpu: rest.cpu,
    cpu: busy.cpu,
    cpuPer1000: { active: per1000('active'), standby: per1000('standby') },
    idle: busy.idle,
    failures,
  };
}

/** How many clients make so many new connections a second: each waits for its answer, too, and not only as it should. */
async function clientsFor(lab: Lab, rate: number): Promise<number> {
  const least = Math.max(2, Math.round((rate * HOLD_MS) / 1000));
  let clients = least;
  for (let i = 0; i < WARM_UPS; i++) {
    const { units, seconds } = await load(lab, clients, WARM_UP_SECONDS);
    const share = units / seconds / rate;
    if (Math.abs(1 - share) < RATE_SLACK / 2) break;
    clients = Math.min(Math.round(clients / share), MOST_CLIENTS * least);
  }
  return clients;
}

/** New connections that stay open for a moment, at a steady rate. */
async function load(lab: Lab, clients: number, seconds: number): Promise<Outcome> {
  return outcomeOf(
    await lab.exec('client', [
      ...['wrk', '-t', '2', '-c', String(clients), '-d', `${seconds}s`, '--timeout', '10s'],
      ...['-H', 'Connection: close', '-s', join(import.meta.dirname, '../data/wrk.lua')],
      ...[`http://${VIP}:${PORT}${SMALL_PATH}`, '--', '0', String(HOLD_MS)],
    ]),
  );
}

/** Connections whose way into the standby's kernel is watched from outside. */
class Probes {
  readonly #lab: Lab;
  readonly #standby: NodeName;
  readonly #opened = new Map<string, number>();
  readonly #arrived = new Map<string, number>();
  readonly #children;

  private constructor(lab: Lab, standby: NodeName) {
    this.#lab = lab;
    this.#standby = standby;
    const client = this.#lines('client', [NODE, join(import.meta.dirname, 'probes.ts')], (line) => {
      const [port, ms] = line.split(' ');
      this.#opened.set(port!, Number(ms));
    });
    const watch = this.#lines(
      standby,
      ['conntrack', '-E', '-e', 'NEW', '-p', 'tcp', '-s', PROBE_ADDRESS, '-b', String(8 << 20)],
      (line) => {
        const port = /sport=(\d+)/.exec(line)?.[1];
        if (port !== undefined) this.#arrived.set(port, monotonicMs());
      },
    );
    this.#children = { client, watch };
  }

  static async start(lab: Lab, standby: NodeName): Promise<Probes> {
    const probes = new Probes(lab, standby);
    // Both are at work once a flow has been seen at both ends.
    while (probes.#arrived.size === 0) await sleep(PROBE_EVERY_MS);
    return probes;
  }

  /** @returns lags in milliseconds, and how many flows are not there */
  async finish(): Promise<{ lags: number[]; lost: number }> {
    const { client, watch } = this.#children;
    const endMs = monotonicMs() + LATE_MS;
    const ports = [...this.#opened.keys()];
    const missing = () => ports.filter((port) => !this.#arrived.has(port));
    while (missing().length > 0 && monotonicMs() < endMs) await sleep(PROBE_EVERY_MS);
    // The connections are still open. What came before or besides the watch, which may lose events, is in the kernel.
    const listed = await this.#lab.exec(this.#standby, ['conntrack', '-L', '-p', 'tcp', '-s', PROBE_ADDRESS]);
    const there = new Set(
      [...listed.matchAll(new RegExp(`sport=(\\d+) dport=${PORT} `, 'g'))].map(([, port]) => port!),
    );
    const lost = missing().filter((port) => !there.has(port)).length;
    client.stdin!.end();
    await once(client, 'exit');
    watch.kill('SIGKILL');
    const lags = [...this.#opened].flatMap(([port, ms]) => {
      const arrivedMs = this.#arrived.get(port);
      return arrivedMs === undefined ? [] : [Math.max(0, arrivedMs - ms)];
    });
    return { lags, lost };
  }

  #lines(host: 'client' | NodeName, argv: string[], take: (line: string) => void) {
    const child = this.#lab.spawn(host, argv, { stdio: ['pipe', 'pipe', 'ignore'] });
    createInterface({ input: child.stdout! }).on('line', take);
    return child;
  }
}

export function syncTable(it: SyncFigures): Report {
  const cpu = ({ active, standby }: Cpu) => `${active.toFixed(1)} / ${standby.toFixed(1)}`;
  const rows: [string, string][] = [
    ['new connections/s (wanted)', `${it.rate.toFixed(0)} (${it.wantedRate})`],
    [
      'lag p50 / p99 / worst, ms',
      [it.lagP50Ms, it.lagP99Ms, it.lagWorstMs].map((ms) => ms.toFixed(1)).join(' / '),
    ],
    ['probes', String(it.probes)],
    ['lag p99 as lbd says, ms', `≤ ${it.ownP99Ms ?? '–'}`],
    ['CPU of lbd at rest, ms/s, active / standby', cpu(it.idleCpu)],
    ['CPU of lbd under load, ms/s, active / standby', cpu(it.cpu)],
    ['CPU for 1,000 flows/s, ms/s, active / standby', cpu(it.cpuPer1000)],
    ['idle', `${(100 * it.idle).toFixed(0)} %`],
    ['failed', it.failures.join(', ') || '0'],
  ];
  return {
    title: `sync: new connections that stay open for ${HOLD_MS} ms, and a probe every ${PROBE_EVERY_MS} ms`,
    head: ['', ''],
    rows,
  };
}
