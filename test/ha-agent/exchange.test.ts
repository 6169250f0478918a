import { createSocket } from 'node:dgram';
import t, { type Test } from 'tap';
import type { PeerReport } from '../../ha-agent/election-types.ts';
import { freeDatagramPort } from '../common/free-port.ts';
import { ADDRESS, End, meet, REPORT } from './exchange-end.ts';

async function pair(t: Test, here: readonly string[], there: readonly string[]) {
  const port = await freeDatagramPort();
  const [lb1, lb2] = [new End('lb1', here), new End('lb2', there)];
  for (const { exchange } of [lb1, lb2]) {
    await exchange.open([{ type: 'unicast', port }], new Set());
    t.teardown(() => exchange.close());
  }
  return { lb1, lb2, port };
}

t.test('each group is a conversation of its own', async (t) => {
  const { lb1, lb2 } = await pair(t, ['blue', 'green'], ['blue', 'green']);
  await meet(lb1, lb2, ['blue', 'green']);
  await lb1.send('green', 'active');
  await lb2.until(() => lb2.heard.includes('green active'));
  t.notOk(lb2.heard.includes('blue active'));
});

t.test('a farewell is about every group', async (t) => {
  const { lb1, lb2, port } = await pair(t, ['blue', 'green'], ['blue', 'green']);
  await meet(lb1, lb2, ['blue', 'green']);
  const farewell = lb1.exchange.encodeNext({ ...REPORT, role: 'init' })!;
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  socket.send(farewell, port, ADDRESS.lb2);
  await lb2.until(() => lb2.heard.includes('blue init') && lb2.heard.includes('green init'));
  t.pass('both groups heard it');
});

t.test('a farewell is made anew when it would say something else, or after so many rounds', async (t) => {
  const { lb1, lb2, port } = await pair(t, ['blue', 'green'], ['blue', 'green']);
  await meet(lb1, lb2, ['blue', 'green']);
  const next = (role: PeerReport['role'] = 'init') => lb1.exchange.encodeNext({ ...REPORT, role })!;
  const farewell = next();
  t.equal(next(), farewell, 'there is nothing new');
  t.not(next('fault'), farewell);
  const kept = next();
  let rounds = 0;
  for (; next() === kept && rounds < 100; rounds += 2)
    for (const group of ['blue', 'green']) await lb1.send(group, 'fault');
  t.ok(rounds >= 2 && rounds < 100, 'it ages');
  // With the last one above these are seven rounds of probes that go out before the next beat.
  for (let i = 0; i < 6; i++) for (const group of ['blue', 'green']) await lb1.send(group, 'fault');
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  socket.send(kept, port, ADDRESS.lb2);
  await lb2.until(() => lb2.heard.includes('blue init') && lb2.heard.includes('green init'));
  t.pass('and is still heard after the last beat that it was good for, and the rounds behind it');
  lb1.exchange.renewNonce();
  t.not(next(), kept);
});

t.test('a group that this config does not have is dropped, counted and explained', async (t) => {
  const { lb1, lb2 } = await pair(t, ['blue', 'green'], ['blue']);
  await meet(lb1, lb2, ['blue']);
  await lb1.send('green');
  // Datagrams of one path come in order.
  await lb1.send('blue', 'active');
  await lb2.until(() => lb2.heard.includes('blue active'));
  t.match(lb2.exchange.status(60_000)[0], { dropped: { group: 1 }, state: 'up' });
  t.match(lb2.exchange.warnings(), [/\(group\): about a VIP group that this config does not have/]);

  lb2.configure(['blue', 'green']);
  await meet(lb1, lb2, ['green']);
  await lb1.send('blue', 'fault');
  await lb2.until(() => lb2.heard.includes('blue fault'));
  t.equal(
    lb2.heard.filter((text) => text === 'blue hello').length,
    1,
    'the group that stays goes on where it was',
  );
});

t.test('paths that stay are not opened again', async (t) => {
  const { lb1, lb2, port } = await pair(t, ['blue'], ['blue']);
  await meet(lb1, lb2, ['blue']);
  const before = lb1.exchange.status(1)[0]!;
  const other = await freeDatagramPort();
  for (const { exchange } of [lb1, lb2])
    await exchange.open(
      [
        { type: 'unicast', port: other },
        { type: 'unicast', port },
      ],
      new Set(['127.0.0.9']),
    );
  t.match(lb1.exchange.status(1)[1], { sent: before.sent, received: before.received });
  const heard = lb2.heard.length;
  await lb1.send('blue', 'active');
  await lb2.until(() => lb2.heard.length > heard);
  t.strictSame(lb2.heard.slice(heard), ['blue active'], 'heard on both, it counts once');
});
