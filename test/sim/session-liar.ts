import { RECORD_WORDS } from '../../lbd/session/scan.ts';
import { bytesFrame, FRAME, FrameBuilder, UPDATES_HEAD, wordsFrame } from '../../lbd/session/sync-frame.ts';
import { type Hello, helloFrame, registerFrame } from '../../lbd/session/sync-hello.ts';

/** Keys of nobody else: the pool is another one. */
const POOL = 8;
const MAX_FRAMES = 40;

/** What somebody with the cluster's secret sends who is no peer as it should be: a greeting, and then anything. */
export function lies(random: () => number, hello: Hello): Buffer {
  const below = (count: number) => Math.floor(random() * count);
  let sent = 0;
  const register = (key: string, version: number) =>
    registerFrame({ key, value: 'x'.repeat(below(200)), version, origin: 'x' });
  const updates = (first: number, version: number) => {
    const frame = new FrameBuilder(FRAME.updates, UPDATES_HEAD + RECORD_WORDS);
    frame.words.set([first, 0, 1, hello.clock]);
    frame.words.set(
      [below(1e6), below(1e6), 3, 4, POOL, 1, 1 + below(3), version, 100 + below(100_000)],
      UPDATES_HEAD,
    );
    return frame.finish(UPDATES_HEAD + RECORD_WORDS);
  };
  const kinds: readonly (() => Buffer)[] = [
    () => updates(sent++, hello.clock),
    () => updates(sent++, hello.clock),
    () => updates(sent++, hello.clock),
    () => updates(sent + 5, hello.clock),
    () => updates(sent++, 2 ** 30 + below(2 ** 30)),
    () => updates(sent++, 0x7fffffff),
    () => register(`junk/${below(1e6)}`, 1),
    () => register(`admin/web/s${below(1e6)}`, 2 ** 47 + below(2 ** 47)),
    () => wordsFrame(FRAME.ack, [below(1e6), 0, below(3), below(3)]),
    () => wordsFrame(FRAME.done, [below(3), below(3)]),
    () => wordsFrame(FRAME.digests, [below(3), 1, 0, 1, below(1e6), 1]),
    () => wordsFrame(FRAME.digests, [below(3), 0, 0, 1024, ...new Array<number>(2048).fill(below(1e6))]),
    () => wordsFrame(FRAME.round),
    () => wordsFrame(FRAME.ping),
    () => wordsFrame(FRAME.hashKey, [1, 2, 3, 4]),
    () => bytesFrame(FRAME.tickets, Buffer.from('{}')),
    () => bytesFrame(FRAME.refused, Buffer.from('no')),
    () => bytesFrame(FRAME.flows, Buffer.alloc(4 + below(100))),
    () => helloFrame(hello),
    () => Buffer.from(Uint8Array.from({ length: below(300) }, () => below(256))),
  ];
  const frames = Array.from({ length: below(MAX_FRAMES) }, () => kinds[below(kinds.length)]!());
  const start = wordsFrame(FRAME.start, [0, 0, 0]);
  return Buffer.concat([helloFrame(hello), start, ...frames]);
}
