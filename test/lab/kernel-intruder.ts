import { createConnection } from 'node:net';
import { createInterface } from 'node:readline';
import { keyOf, TCP } from '../../lbd/flow/flow.ts';
import { addressBytes } from '../../lbd/flow/flow-scope.ts';
import { TypedBatch } from '../../lbd/kernel/helper/flow-request.ts';
import { Inbox } from '../../lbd/kernel/helper/inbox.ts';

/**
 * An lbd that somebody has taken over: says hello to the helper of the kernel engine, then each line of standard input, and
 * then asks for flows that are none of ours. Prints what comes back, a line of JSON each.
 *
 *     kernel-intruder.ts SOCKET VERSION VIP
 */
const [, , path = '', version = '', vip = ''] = process.argv;
const say = (saying: unknown) => process.stdout.write(`${JSON.stringify(saying)}\n`);

const control = createConnection(path);
const answers = createInterface(control)[Symbol.asyncIterator]();
async function ask(line: string): Promise<{ ok?: { token?: string } }> {
  control.write(`${line}\n`);
  for (;;) {
    const answer = JSON.parse((await answers.next()).value ?? '{}');
    if (!('event' in answer)) return answer;
  }
}

const { ok } = await ask(JSON.stringify({ id: 1, type: 'hello', version }));
for await (const line of createInterface(process.stdin)) say(await ask(line));

const port = (value: number) => String.fromCharCode(value >> 8, value & 255);
const flow = (to: string, at: number, backend: string) => {
  const [client, asked, end] = [addressBytes('10.9.9.1')!, addressBytes(to)!, addressBytes(backend)!];
  const tuples =
    String.fromCharCode(TCP) + client + asked + port(4000) + port(at) + end + client + port(at) + port(4000);
  return { tuples, mark: 0, status: 0, timeoutS: 600 };
};
const batch = new TypedBatch(4);
batch.insert(1, flow(vip, 5000, '10.9.9.9'));
batch.insert(2, flow('10.9.9.8', 22, '10.9.9.9'));
batch.insert(3, { ...flow(vip, 22, '10.9.9.9'), mark: 1 });
batch.delete(4, keyOf(flow('10.9.9.8', 22, '10.9.9.9').tuples));

const flows = createConnection(path);
// The descriptor that comes first is lost: Node does not take it.
flows.write(`${JSON.stringify({ id: 1000, type: 'flows', token: ok?.token ?? '' })}\n`);
await ask('{"id":1001,"type":"facts"}');
const inbox = new Inbox();
flows.once('data', () => {
  flows.on('data', (chunk: Buffer) => {
    inbox.push(chunk);
    const frame = inbox.frame();
    if (frame === undefined) return;
    say({ refused: Array.from({ length: frame.length / 4 }, (_, i) => frame.readUInt32LE(i * 4)) });
    process.exit(0);
  });
  flows.write(batch.take());
});
