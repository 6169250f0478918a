import { fork } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { OperatorError } from '../../common/errors.ts';
import {
  BenchNode,
  CAPACITY,
  clientAddress,
  cpuMs,
  POOL,
  type ReceiverMessage,
  rssMiB,
  TTL_MS,
} from './sync-node.ts';
import type { WriterData } from './sync-writer.ts';

const USAGE = `Session sync between two processes over TLS on loopback: time to fill an empty node, lag under a steady
stream of updates, memory.
  --entries N   sessions to resync, at most 1 Mi (default)
  --rate N      updates a second (default 100000)
  --seconds N   how long (default 5)
  --json        one JSON object`;

/** @throws OperatorError with code USAGE for an unknown option */
export async function run(args: string[]): Promise<void> {
  const options = parse(args);
  if (options.help) return console.log(USAGE);
  const port = await freePort();
  const node = new BenchNode('a', port);
  for (let client = 0; client < options.entries; client++) {
    node.table.keyOfSource(POOL, clientAddress(client));
    node.table.store(1, TTL_MS);
  }
  const receiver = new URL('./sync-receiver.ts', import.meta.url);
  const child = fork(receiver, [String(port)]);
  const hear = async <T extends ReceiverMessage['type']>(type: T) => {
    for (;;) {
      const [message] = (await once(child, 'message')) as [ReceiverMessage];
      if (message.type === type) return message as ReceiverMessage & { type: T };
    }
  };
  try {
    await hear('listening');
    const resyncCpu = process.cpuUsage();
    await node.sync.start();
    const resync = await hear('synced');
    const senderResyncCpuMs = cpuMs(resyncCpu);
    const updates = await update(node, options);
    const reported = hear('report');
    child.send('report');
    const report = await reported;
    const figures = {
      entries: options.entries,
      bytes_per_entry: Number((node.buffer.byteLength / CAPACITY).toFixed(1)),
      resync_ms: Math.round(resync.ms),
      resync_cpu_ms: { sender: senderResyncCpuMs, receiver: resync.cpuMs },
      resync_longest_turn_cpu_ms: Math.round(resync.stallMs),
      ...updates,
      updates_longest_turn_cpu_ms: Math.round(report.stallMs),
      digest_equal: report.digest === node.digest() && report.entries === node.table.size,
      rss_mib: { sender: rssMiB(), receiver: report.rssMiB },
    };
    if (options.json) console.log(JSON.stringify(figures));
    else
      for (const [name, value] of Object.entries(figures))
        console.log(`${name.padEnd(28)}${typeof value === 'object' ? JSON.stringify(value) : value}`);
  } finally {
    child.disconnect();
    await node.sync.close();
  }
}

async function update(node: BenchNode, options: ReturnType<typeof parse>) {
  const total = options.rate * options.seconds;
  const workerData: WriterData = {
    buffer: node.buffer,
    entries: options.entries,
    ratePerS: options.rate,
    total,
  };
  const cpu = process.cpuUsage();
  const writer = new Worker(new URL('./sync-writer.ts', import.meta.url), { workerData });
  const lags: number[] = [];
  const sampler = setInterval(() => lags.push(node.sync.status().lag_ms), 1);
  const [{ tookMs }] = (await once(writer, 'message')) as [{ tookMs: number }];
  clearInterval(sampler);
  const flushed = await node.sync.flush(5000);
  lags.sort((a, b) => a - b);
  const lag = (share: number) => Number(lags[Math.floor((lags.length - 1) * share)]?.toFixed(1));
  return {
    updates: total,
    updates_per_s: Math.round((total / tookMs) * 1000),
    lag_ms: { median: lag(0.5), p99: lag(0.99), worst: lag(1) },
    flushed,
    sender_cpu_us_per_update: Number(((cpuMs(cpu) * 1000) / total).toFixed(2)),
  };
}

function parse(args: string[]) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        entries: { type: 'string', default: String(1 << 20) },
        rate: { type: 'string', default: '100000' },
        seconds: { type: 'string', default: '5' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    const number = (text: string, least: number, most: number, name: string) => {
      const value = Number(text);
      if (Number.isInteger(value) && value >= least && value <= most) return value;
      throw new OperatorError('USAGE', `--${name} must be ${least} to ${most}: it is ${text}`);
    };
    return {
      entries: number(values.entries, 1, 1 << 20, 'entries'),
      rate: number(values.rate, 1000, 1_000_000, 'rate'),
      seconds: number(values.seconds, 1, 60, 'seconds'),
      json: values.json,
      help: values.help,
    };
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw new OperatorError('USAGE', (error as Error).message, { cause: error });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
