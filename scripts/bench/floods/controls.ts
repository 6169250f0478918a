import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Order } from '../../lab/floods/order.ts';
import { ADDRESS, type Host } from '../../lab/hosts.ts';
import { type Lab, NODE } from '../../lab/lab.ts';
import { GROUP } from '../../lab/pair-config.ts';

/** Of the sinks, on each host: nothing of the product listens there. */
const SINK_PORT = 7999;
/** It does not take the time of what is measured. */
const NICE = '19';

export function sinkPath(directory: string, host: Host): string {
  return join(directory, `${host}.sink.sock`);
}

/** @returns once it listens */
export async function startSink(lab: Lab, host: Host, directory: string): Promise<ChildProcess> {
  const argv = [
    ...['nice', '-n', NICE, NODE, join(import.meta.dirname, 'sink.ts')],
    ...[String(SINK_PORT), ADDRESS[host], GROUP, sinkPath(directory, host)],
  ];
  const child = lab.spawn(host, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout!, 'data');
  return child;
}

/** The same flood, by the same program, to where it harms nobody. */
export function toSink(order: Order, path: string): Order {
  if (order.kind === 'datagrams') return { ...order, port: SINK_PORT };
  const to = 'path' in order.to ? { path } : { host: order.to.host, port: SINK_PORT };
  return { ...order, to };
}
