import fc from 'fast-check';
import t from 'tap';
import { MAX_FRAME_BYTES } from '../../../../lbd/kernel/helper/flow-request.ts';
import { Inbox } from '../../../../lbd/kernel/helper/inbox.ts';
import { MAX_LINE_BYTES, MalformedRequest } from '../../../../lbd/kernel/helper/requests.ts';

/** Puts bytes in, in pieces of these lengths, and takes out what is complete. */
function read(
  bytes: Buffer,
  lengths: readonly number[],
  take: (inbox: Inbox) => string | undefined,
): string[] {
  const inbox = new Inbox();
  const found: string[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const end = at + (lengths[i] ?? bytes.length);
    inbox.push(bytes.subarray(at, end));
    at = end;
    for (let next = take(inbox); next !== undefined; next = take(inbox)) found.push(next);
  }
  return found;
}
const pieces = fc.array(fc.integer({ min: 1, max: 9 }));

t.test('lines and frames come out as they went in, however they are cut', async () => {
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[a-z ä]{0,12}$/)), pieces, (lines, lengths) => {
      const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
      return read(bytes, lengths, (inbox) => inbox.line()).join('|') === lines.join('|');
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 12 })), pieces, (frames, lengths) => {
      const all = frames.flatMap((frame) => [Buffer.from([frame.length, 0, 0, 0]), Buffer.from(frame)]);
      const found = read(Buffer.concat(all), lengths, (inbox) => inbox.frame()?.toString('hex'));
      return found.join('|') === frames.map((frame) => Buffer.from(frame).toString('hex')).join('|');
    }),
  );
});

t.test('frames follow a line', async (t) => {
  const inbox = new Inbox();
  inbox.push(Buffer.from('hello\n\u0002\u0000\u0000\u0000ab'));
  t.equal(inbox.line(), 'hello');
  t.equal(inbox.frame()?.toString(), 'ab');
});

t.test('what does not end is not kept', async (t) => {
  const lines = new Inbox();
  lines.push(Buffer.alloc(MAX_LINE_BYTES, 'x'));
  t.equal(lines.line(), undefined);
  lines.push(Buffer.from('x'));
  t.throws(() => lines.line(), MalformedRequest);
  const frames = new Inbox();
  const head = Buffer.alloc(4);
  head.writeUInt32LE(MAX_FRAME_BYTES + 1);
  frames.push(head);
  t.throws(() => frames.frame(), MalformedRequest);
});
