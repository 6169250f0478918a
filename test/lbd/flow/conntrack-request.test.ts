import t from 'tap';
import { FLAG, MESSAGE } from '../../../lbd/flow/conntrack-message.ts';
import { RequestBatch } from '../../../lbd/flow/conntrack-request.ts';
import { keyOf } from '../../../lbd/flow/flow.ts';
import { readRequests, tuplesOf } from './flows.ts';

const CLIENT = '10.0.0.50:1234';
const VIP = '10.0.0.100:80';
const BACKEND = '10.1.0.1:8080';

const FLOWS: Record<string, string> = {
  'both ends translated': tuplesOf('tcp', CLIENT, VIP, BACKEND, '10.0.0.100:4321'),
  'only the backend': tuplesOf('udp', CLIENT, VIP, BACKEND),
  'only the port of the client': tuplesOf('tcp', CLIENT, VIP, VIP, '10.0.0.50:999'),
  'nothing translated': tuplesOf('tcp', CLIENT, VIP, VIP),
  IPv6: tuplesOf('tcp', '[fd00::50]:1234', '[fd00::100]:80', '[fd01::1]:8080', '[fd00::100]:4321'),
};

for (const [name, tuples] of Object.entries(FLOWS))
  t.test(name, async (t) => {
    const batch = new RequestBatch(3);
    batch.insert(1, { tuples, mark: 7, status: 0, timeoutS: 600 });
    batch.update(2, { tuples, mark: 0, status: 0, timeoutS: 900 }, 4, 0xf);
    batch.delete(3, keyOf(tuples));
    t.equal(batch.room, 0);
    const [insert, update, remove] = readRequests(batch.take());
    t.equal(insert!.tuples, tuples, 'as the other node has it');
    t.match(insert, { type: MESSAGE.new, sequence: 1, flags: FLAG.request | FLAG.create });
    t.equal(update!.tuples, keyOf(tuples));
    t.match(update, { type: MESSAGE.new, sequence: 2, flags: FLAG.request });
    t.equal(remove!.tuples, keyOf(tuples));
    t.match(remove, { type: MESSAGE.delete, sequence: 3, flags: FLAG.request | FLAG.ack });
    const isTcp = tuples.charCodeAt(0) === 6;
    t.strictSame(
      [...insert!.words].sort(),
      [
        [3, isTcp ? 14 : 8],
        [7, 600],
        [8, 7],
      ],
      'status, life, mark',
    );
    t.strictSame(
      [...update!.words].sort(),
      [
        [21, 15],
        [3, isTcp ? 14 : 12],
        [7, 900],
        [8, 0],
      ],
      'no bit is taken back',
    );
    const liberal = [
      [4, 0x0a0a],
      [5, 0x0a0a],
    ];
    t.strictSame([...insert!.tcpInfo], isTcp ? [[1, 3], ...liberal] : [], 'established, any window');
    t.strictSame([...update!.tcpInfo], isTcp ? liberal : []);
    t.equal(batch.count, 0, 'the batch is empty again');
  });

t.test('a dump asks for all families', async (t) => {
  const batch = new RequestBatch(1);
  batch.dump(9);
  const bytes = batch.take();
  t.equal(bytes[16], 0);
  t.match(readRequests(bytes), [{ type: MESSAGE.get, sequence: 9, tuples: '' }]);
});

t.test('a question for nothing is answered all the same', async (t) => {
  const batch = new RequestBatch(1);
  batch.nothing(9);
  const bytes = batch.take();
  t.equal(bytes.length, 20);
  t.equal(bytes.readUInt16LE(4), 1, 'NLMSG_NOOP');
  t.equal(bytes.readUInt16LE(6), FLAG.request | FLAG.ack);
  t.equal(bytes.readUInt32LE(8), 9);
});
