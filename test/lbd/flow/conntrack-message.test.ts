import fc from 'fast-check';
import t from 'tap';
import { ConntrackMessage } from '../../../lbd/flow/conntrack-message.ts';
import { attribute, tuplesOf } from './flows.ts';

/** As Linux 6.18 sent them, without the netlink header. */
const CAPTURED = {
  // tcp ESTABLISHED 10.0.0.51:1234 → 10.0.0.100:80, answers 10.1.0.1:8080 → 10.0.0.100:999
  new: '020000003400018014000180080001000a000033080002000a0000641c00028005000100060000000600020004d2000006000300005000003400028014000180080001000a010001080002000a0000641c0002800500010006000000060002001f9000000600030003e7000008000c000c11329c08000300000001be0800070000000258300004802c000180050001000300000005000200000000000500030000000000060004000a000000060005000a0000001c0018800800010000000000080002000000000008000300000000000800080000000000',
  destroy:
    '020000003400018014000180080001000a000033080002000a0000641c00028005000100060000000600020004d2000006000300005000003400028014000180080001000a010001080002000a0000641c0002800500010006000000060002001f9000000600030003e7000008000c000c11329c08000300000003be0800070000000257100004800c0001800500010003000000',
};
const TUPLES = tuplesOf('tcp', '10.0.0.51:1234', '10.0.0.100:80', '10.1.0.1:8080', '10.0.0.100:999');

function bytesOf(hex: string): Buffer {
  return Buffer.concat([Buffer.alloc(16), Buffer.from(hex, 'hex')]);
}

function read(bytes: Buffer): ConntrackMessage | undefined {
  const message = new ConntrackMessage();
  return message.read(bytes, 0, bytes.length, () => true) ? message : undefined;
}

t.test('what the kernel sends is read', async (t) => {
  t.match(read(bytesOf(CAPTURED.new)), {
    tuples: TUPLES,
    status: 0x1be,
    timeoutS: 600,
    tcpState: 3,
    mark: 0,
  });
  t.match(read(bytesOf(CAPTURED.destroy)), { tuples: TUPLES, timeoutS: 599, tcpState: 3 });
});

t.test('the filter sees the key, and what it refuses is not read on', async (t) => {
  const message = new ConntrackMessage();
  const bytes = bytesOf(CAPTURED.new);
  let key = '';
  const refuse = (original: Buffer, length: number) => {
    key = original.latin1Slice(0, length);
    return false;
  };
  t.equal(message.read(bytes, 0, bytes.length, refuse), false);
  t.equal(key, TUPLES.slice(0, 13));
  t.equal(message.tuples, '');
});

t.test('counters of both directions are added, marks are read', async (t) => {
  const counter = (low: number) => {
    const value = Buffer.alloc(8);
    value.writeUInt32BE(1, 0);
    value.writeUInt32BE(low, 4);
    return attribute(2, value);
  };
  const mark = Buffer.from([0, 0, 1, 2]);
  const more = [attribute(9 | 0x8000, counter(5)), attribute(10 | 0x8000, counter(6)), attribute(8, mark)];
  const message = read(Buffer.concat([bytesOf(CAPTURED.new), ...more]));
  t.match(message, { bytes: 2 * 2 ** 32 + 11, mark: 258 });
});

t.test('a flow in a zone, and one that is neither TCP nor UDP, is not ours', async (t) => {
  t.equal(read(Buffer.concat([bytesOf(CAPTURED.new), attribute(18, Buffer.from([0, 1]))])), undefined);
  t.equal(read(bytesOf(CAPTURED.new.replaceAll('0500010006', '0500010001'))), undefined);
});

t.test('whatever comes, it is read or refused', async () => {
  const message = new ConntrackMessage();
  const whole = bytesOf(CAPTURED.new);
  fc.assert(
    fc.property(fc.nat(whole.length), fc.nat(whole.length - 1), fc.nat(255), (length, at, value) => {
      const bytes = Buffer.from(whole);
      bytes[at] = value;
      message.read(bytes, 0, length, () => true);
      return message.tuples === '' || message.tuples.length === TUPLES.length;
    }),
    { numRuns: 2000 },
  );
});
