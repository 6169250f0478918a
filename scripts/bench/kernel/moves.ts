import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LbdStatus, SOCKETS } from '../../../common/control.ts';
import { control } from '../../../common/control-client.ts';
import type { Lab } from '../../lab/lab.ts';
import { until } from '../../lab/wait.ts';
import { complaints, outcomeOf } from '../data/outcome.ts';
import type { Report } from '../data/report.ts';
import { SMALL_BYTES } from '../data/setup.ts';
import { type Running, startVipNode, VIP_NODE, VIP_URL, vipConfig } from './contenders.ts';

const CLIENTS = 10;
const MOVE_EVERY_MS = 500;

/** What new connections saw while their frontend moved between the engines. */
export interface MovesFigures {
  readonly moves: number;
  readonly answers: number;
  /** Connections whose first segment was not answered, so that the client's kernel sent it again, a second later. */
  readonly stalled: number;
  readonly failures: readonly string[];
}

/** Moves the frontend of a node with a VIP to the other engine and back, by reloads, under new connections. */
export async function moves(lab: Lab, seconds: number): Promise<MovesFigures> {
  const balancer = await startVipNode(lab);
  await until('its kernel balances', async () => {
    await lab.exec('client', ['wrk', '-t', '1', '-c', '1', '-d', '1s', VIP_URL]);
    return (await lab.exec(VIP_NODE, ['conntrack', '-L', '--dst-nat'])) !== '';
  });
  const before = await stalls(lab);
  const argv = ['wrk', '-t', '1', '-c', String(CLIENTS), '-d', `${seconds}s`, '--timeout', '10s'];
  const script = join(import.meta.dirname, '../data/wrk.lua');
  let over = false;
  const load = lab.exec('client', [...argv, '-H', 'Connection: close', '-s', script, VIP_URL]).finally(() => {
    over = true;
  });
  let count = 0;
  for (; !over; count++) {
    await Promise.race([sleep(MOVE_EVERY_MS), load]);
    const wanted = count % 2 === 0 ? 'user' : 'kernel';
    writeFileSync(balancer.configFile, vipConfig(wanted));
    process.kill(balancer.pid, 'SIGHUP');
    await until(`the engine is ${wanted}`, async () => (await engineOf(balancer)) === wanted);
  }
  const outcome = outcomeOf(await load);
  const stalled = (await stalls(lab)) - before;
  const failures = complaints(outcome, SMALL_BYTES);
  if (stalled > 0) failures.push(`${stalled} new connections stalled`);
  return { moves: count, answers: outcome.units, stalled, failures };
}

async function engineOf({ configFile }: Running): Promise<string | undefined> {
  const status = await control<LbdStatus>(join(dirname(configFile), SOCKETS.lbd), 'GET', '/v1/status');
  return status.frontends.tcp?.engine?.engine;
}

/** Segments that open a connection which the client sent again, since its start. */
async function stalls(lab: Lab): Promise<number> {
  const [names = '', values = ''] = (await lab.exec('client', ['cat', '/proc/net/netstat'])).split('\n');
  const at = names.split(' ').indexOf('TCPSynRetrans');
  return Number(values.split(' ')[at]);
}

export function movesTable({ moves: count, answers, stalled, failures }: MovesFigures): Report {
  return {
    title: `moves: a frontend changes its engine by a reload every ${MOVE_EVERY_MS} ms, under new connections`,
    head: ['moves', 'connections', 'stalled', 'failed'],
    rows: [[String(count), String(answers), String(stalled), failures.join(', ') || '0']],
  };
}
