/** The node of `sync.ts` that starts empty: its own process, forked with the port as its argument. */
import { monotonicMs } from '../../lbd/session/memory.ts';
import { BenchNode, cpuMs, type ReceiverMessage, rssMiB } from './sync-node.ts';

const node = new BenchNode('b', Number(process.argv[2]));
const send = (message: ReceiverMessage) => process.send?.(message);

/** Longest turn of the event loop in CPU time, so that other processes on the machine do not count. */
let stallMs = 0;
let last = process.threadCpuUsage();
setInterval(() => {
  const { user, system } = process.threadCpuUsage(last);
  stallMs = Math.max(stallMs, (user + system) / 1000);
  last = process.threadCpuUsage();
}, 1);

await node.sync.start();
send({ type: 'listening' });
let startedMs = 0;
let cpu = process.cpuUsage();
const watch = setInterval(() => {
  const { state } = node.sync.status();
  if (state === 'connecting') cpu = process.cpuUsage();
  else startedMs ||= monotonicMs();
  if (state !== 'synced') return;
  clearInterval(watch);
  send({ type: 'synced', ms: monotonicMs() - startedMs, cpuMs: cpuMs(cpu), stallMs });
  stallMs = 0;
}, 1);

process.on('message', () => {
  const report = { type: 'report', entries: node.table.size, rssMiB: rssMiB(), stallMs } as const;
  send({ ...report, digest: node.digest() });
});
process.once('disconnect', () => process.exit());
