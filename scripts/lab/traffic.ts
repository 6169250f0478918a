import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { monotonicMs } from '../../common/events.ts';
import { type Attempt, type Blackout, blackoutOf } from './blackout.ts';
import { VIP } from './hosts.ts';
import { KeptConnection, requestOnce } from './request.ts';
import { STICKY_KINDS, StickyClient, type StickyKind, type StickyResult, summarise } from './sticky.ts';

/**
 * The clients of the lab, one process in the client's namespace: a probe that starts a new connection and request
 * every 2 ms, sticky clients of each kind, and connections that are kept alive.
 *
 * Commands on standard input, one word a line: `report` (answers with a report of all since the last one), `stop`.
 * Standard output: JSON lines, see TrafficLine.
 */
export type TrafficLine =
  | { readonly type: 'bound'; readonly sticky: Readonly<Record<StickyKind, number>>; readonly kept: number }
  | ({ readonly type: 'report' } & TrafficReport);

export interface TrafficReport {
  readonly probe: Blackout;
  readonly sticky: Readonly<Record<StickyKind, StickyResult>>;
  readonly keptAlive: {
    readonly total: number;
    readonly broken: number;
    /** Why they broke, each reason once. */
    readonly causes: readonly string[];
  };
}

/** Starts that were missed while the process did not run are made up for, up to so many at once. */
const MAX_CATCH_UP = 10;
/** Of a connection that is kept alive, until it has its first answer, and the pause between two. */
const [FIRST_TRIES, FIRST_PAUSE_MS] = [10, 200];
/** Attempts that are kept; at one every 2 ms more than 13 minutes. */
const MAX_ATTEMPTS = 400_000;

const { values } = parseArgs({
  options: {
    'interval-ms': { type: 'string', default: '2' },
    sticky: { type: 'string', default: '20' },
    'kept-alive': { type: 'string', default: '20' },
    // Between two visits of sticky clients, and between two requests on each connection that is kept alive.
    'visit-ms': { type: 'string', default: '10' },
    'ask-ms': { type: 'string', default: '100' },
    // Of the probe; connections that are kept alive have 3 s at least.
    // Below the kernel's first SYN retransmission (1 s), so that a start in the dark is never rescued by it.
    'timeout-ms': { type: 'string', default: '800' },
  },
});
const intervalMs = Number(values['interval-ms']);
const timeoutMs = Number(values['timeout-ms']);
const visitMs = Number(values['visit-ms']);
const askMs = Number(values['ask-ms']);
const clients = STICKY_KINDS.flatMap((kind) =>
  Array.from({ length: Number(values.sticky) }, (_, index) => new StickyClient(kind, index)),
);
const ROOT = { host: VIP, port: 80, path: '/' };
let attempts: Attempt[] = [];
let pending = new Set<Promise<void>>();
/** What started before counts no more, monotonic milliseconds. */
let sinceMs = 0;
let running = true;

function say(line: TrafficLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function attempt(): Promise<void> {
  const startMs = monotonicMs();
  let failure = '';
  try {
    const answer = await requestOnce({ ...ROOT, timeoutMs });
    if (answer.status !== 200) failure = `status ${answer.status}`;
  } catch (error) {
    failure = (error as Error).message;
  }
  if (startMs >= sinceMs && attempts.length < MAX_ATTEMPTS) attempts.push({ startMs, failure });
}

async function probe(): Promise<void> {
  let dueMs = monotonicMs();
  while (running) {
    const behind = Math.floor((monotonicMs() - dueMs) / intervalMs) + 1;
    for (let i = 0; i < Math.min(behind, MAX_CATCH_UP); i++) {
      const one: Promise<void> = attempt().finally(() => pending.delete(one));
      pending.add(one);
    }
    dueMs += behind * intervalMs;
    await sleep(Math.max(dueMs - monotonicMs(), 0));
  }
}

/** Each client comes back a few times a second, one after the other so that they do not come as a burst. */
async function visits(): Promise<void> {
  while (running) {
    for (const client of clients) {
      void client.visit();
      await sleep(visitMs);
      if (!running) return;
    }
    await sleep(visitMs);
  }
}

/** What breaks before anything is measured is no finding: a machine that is emulated may stand still and lose its role. */
async function connectToKeep(): Promise<KeptConnection> {
  for (let left = FIRST_TRIES; ; left--) {
    const connection = new KeptConnection({ ...ROOT, timeoutMs: Math.max(timeoutMs, 3000) });
    try {
      await connection.ask();
      return connection;
    } catch (error) {
      if (left === 1) throw error;
      await sleep(FIRST_PAUSE_MS);
    }
  }
}

async function keepAlive(connection: KeptConnection): Promise<void> {
  while (running && connection.broken === undefined) {
    const answer = await connection.ask().catch(() => undefined);
    if (answer !== undefined && answer.status !== 200) connection.close(`status ${answer.status}`);
    await sleep(askMs);
  }
}

/**
 * Settles what is under way, lets every sticky client ask once more, then tells all since the last report. Starts of the
 * probe meanwhile count for no report: on a machine that is slow, the report itself may make them late.
 */
async function report(): Promise<void> {
  const settled = pending;
  pending = new Set();
  const mine = attempts;
  attempts = [];
  await Promise.all(settled);
  mine.push(...attempts.splice(0));
  for (const client of clients) await client.visitForSure();
  const sticky = Object.fromEntries(
    STICKY_KINDS.map((kind) => [kind, summarise(clients.filter((client) => client.kind === kind))]),
  ) as Record<StickyKind, StickyResult>;
  const reasons = kept.flatMap((connection) => connection.broken ?? []);
  attempts = [];
  sinceMs = monotonicMs();
  const keptAlive = { total: kept.length, broken: reasons.length, causes: [...new Set(reasons)] };
  say({ type: 'report', probe: blackoutOf(mine), sticky, keptAlive });
}

for (const client of clients) await client.bind();
const kept = await Promise.all(Array.from({ length: Number(values['kept-alive']) }, connectToKeep));
const count = Number(values.sticky);
say({ type: 'bound', sticky: { cookie: count, learnt: count, source: count }, kept: kept.length });
void probe();
void visits();
for (const connection of kept) void keepAlive(connection);

for await (const command of createInterface({ input: process.stdin })) {
  if (command === 'report') await report();
  else if (command === 'stop') break;
}
running = false;
process.exit(0);
