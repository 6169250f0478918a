/**
 * Carries out one flood on the host where it runs, as the user as whom it runs:
 *
 *     node scripts/lab/floods/attacker.ts ORDER
 *
 * ORDER is JSON (`order.ts`). Prints a line when it begins, and at the end, which comes by itself, its `Outcome` as JSON.
 * The end of its standard input ends it sooner.
 */
import { floodDatagrams } from './datagrams.ts';
import type { Order, Outcome } from './order.ts';
import { floodHandshakes, floodStreams } from './streams.ts';

const order = JSON.parse(process.argv[2] ?? '') as Order;
let isStopped = false;
process.stdin.on('end', () => {
  isStopped = true;
});
process.stdin.resume();

function carryOut(): Promise<Outcome> {
  const begun = () => process.stdout.write('begun\n');
  const stopped = () => isStopped;
  if (order.kind === 'datagrams') return floodDatagrams(order, begun, stopped);
  if (order.kind === 'handshakes') return floodHandshakes(order, begun, stopped);
  return floodStreams(order, begun, stopped);
}

const outcome = await carryOut();
process.stdout.write(`${JSON.stringify(outcome)}\n`, () => process.exit());
