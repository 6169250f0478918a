import t, { type Test } from 'tap';
import { OperatorError } from '../../../common/errors.ts';
import { Conntrack } from '../../../lbd/flow/conntrack.ts';
import { RequestBatch } from '../../../lbd/flow/conntrack-request.ts';
import { DIRECT, type FlowKernel } from '../../../lbd/flow/flow-kernel.ts';
import {
  NetlinkError,
  NetlinkOverrun,
  type NetlinkSocket,
  type OnNetlinkMessage,
} from '../../../lbd/flow/netlink-socket.ts';
import { monotonicMs } from '../../../lbd/session/memory.ts';

/** What a read finds: a message of the kernel, or what is thrown. */
type Found = Buffer | Error;

/** A message of this type; `error` is that of an answer. */
function message(type: number, sequence: number, error = 0): Buffer {
  const bytes = Buffer.alloc(36);
  bytes.writeUInt32LE(36);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt32LE(sequence, 8);
  bytes.writeInt32LE(-error, 16);
  return bytes;
}

/** A kernel that does as it is told: `onRequest` says what can be read after the request with this number. */
class FakeSocket implements NetlinkSocket {
  readonly #onRequest: (sequence: number) => readonly Found[];
  readonly #found: Found[] = [];
  closed = false;
  onAnswers = () => {};

  constructor(onRequest: (sequence: number) => readonly Found[]) {
    this.#onRequest = onRequest;
  }

  read(onMessage: OnNetlinkMessage): boolean {
    const next = this.#found.shift();
    if (next instanceof Error) throw next;
    if (next !== undefined) onMessage(next, 0, next.length);
    return this.#found.length > 0;
  }

  write(requests: Buffer): void {
    this.tell(...this.#onRequest(requests.readUInt32LE(8)));
    this.onAnswers();
  }

  tell(...found: readonly Found[]): void {
    this.#found.push(...found);
  }

  close(): void {
    this.closed = true;
  }
}

/** A way to the kernel that opens these sockets. */
function kernel(open: () => FakeSocket | Promise<FakeSocket>): FlowKernel {
  const ready = (socket: FakeSocket, onAnswers: () => void) => Object.assign(socket, { onAnswers });
  return {
    ...DIRECT,
    open: (onAnswers) => {
      const socket = open();
      return socket instanceof Promise ? socket.then((it) => ready(it, onAnswers)) : ready(socket, onAnswers);
    },
  };
}

/** Starts it and keeps the story, until `last` was told. */
function story(t: Test, open: () => FakeSocket | Promise<FakeSocket>, last: RegExp): Promise<string[]> {
  return new Promise((resolve) => {
    const told: string[] = [];
    const tell = (line: string) => {
      told.push(line);
      if (last.test(line)) resolve(told);
    };
    const conntrack = new Conntrack(
      {
        onFlow: (_bytes, _at, _end, fromDump) => tell(fromDump ? 'flow of the dump' : 'flow'),
        onGone: () => tell('gone'),
        onAnswer: (sequence, error) => tell(`answer to ${sequence}: ${error}`),
        onDumpBegin: () => tell('dump'),
        onDumpEnd: () => tell('whole'),
        onDown: (why, lost) => tell(`${lost ? 'lost' : 'down'}: ${why}`),
      },
      kernel(open),
    );
    t.teardown(() => conntrack.close());
    conntrack.open();
  });
}

const [EVENT, GONE, DONE, ANSWER] = [0x100, 0x102, 3, 2];

t.test('a dump, events and answers', async (t) => {
  const socket = new FakeSocket((sequence) => [
    message(EVENT, 0),
    message(DONE, sequence),
    message(GONE, 0),
    message(ANSWER, 77, 28),
  ]);
  t.strictSame(await story(t, () => socket, /answer/), ['dump', 'flow', 'whole', 'gone', 'answer to 77: 28']);
});

t.test('events are read although nobody asks', async (t) => {
  const socket = new FakeSocket((sequence) => [message(DONE, sequence)]);
  const told = story(t, () => socket, /gone/);
  await new Promise((resolve) => setImmediate(resolve));
  socket.tell(message(GONE, 0));
  t.strictSame(await told, ['dump', 'whole', 'gone']);
});

for (const [name, found, end] of [
  ['events that came too fast', new NetlinkOverrun('too fast'), 'lost: too fast'],
  ['nonsense', new NetlinkError('0 bytes'), 'lost: 0 bytes'],
  ['another end', new OperatorError('NETLINK', 'out of luck'), 'down: out of luck'],
] as const)
  t.test(`${name}: it begins again`, async (t) => {
    const sockets: FakeSocket[] = [];
    const open = () => {
      const isFirst = sockets.length === 0;
      const socket = new FakeSocket((sequence) => (isFirst ? [found] : [message(DONE, sequence)]));
      sockets.push(socket);
      return socket;
    };
    t.strictSame(await story(t, open, /whole/), ['dump', end, 'dump', 'whole']);
    t.strictSame(
      sockets.map(({ closed }) => closed),
      [true, false],
    );
  });

t.test('a dump that is refused: it begins again', async (t) => {
  let refusals = 0;
  const open = () =>
    new FakeSocket((sequence) =>
      refusals++ === 0 ? [message(ANSWER, sequence, 1)] : [message(DONE, sequence)],
    );
  t.strictSame(await story(t, open, /whole/), [
    'dump',
    'down: the kernel does not list its flows: operation not permitted (EPERM)',
    'dump',
    'whole',
  ]);
});

t.test('a socket that cannot be opened is tried again', async (t) => {
  let tries = 0;
  const open = () => {
    if (tries++ === 0) throw new OperatorError('PERMISSION', 'not for you');
    return new FakeSocket((sequence) => [message(DONE, sequence)]);
  };
  t.strictSame(await story(t, open, /whole/), ['down: not for you', 'dump', 'whole']);
});

t.test('a socket that somebody else opens comes later, or not at all', async (t) => {
  let tries = 0;
  const open = async () => {
    if (tries++ === 0) throw new OperatorError('HELPER', 'nobody there');
    return new FakeSocket((sequence) => [message(DONE, sequence)]);
  };
  t.strictSame(await story(t, open, /whole/), ['down: nobody there', 'dump', 'whole']);
});

t.test('a socket that comes when nobody wants it any more is closed', async (t) => {
  const socket = new FakeSocket(() => []);
  const { promise, resolve } = Promise.withResolvers<FakeSocket>();
  const quiet = () => t.fail('nothing to tell');
  const conntrack = new Conntrack(
    { onFlow: quiet, onGone: quiet, onAnswer: quiet, onDumpBegin: quiet, onDumpEnd: quiet, onDown: quiet },
    kernel(() => promise),
  );
  conntrack.open();
  t.notOk(conntrack.running);
  conntrack.close();
  resolve(socket);
  await new Promise((settled) => setImmediate(settled));
  t.ok(socket.closed);
});

t.test('how late events are read shows by a question that queues behind them', async (t) => {
  const { promise: whole, resolve: onWhole } = Promise.withResolvers<void>();
  const gone = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
  let count = 0;
  // The dump is answered at once, the question when something else asks for it.
  let question = 0;
  const socket = new FakeSocket((sequence) => {
    if (question === 0 && sequence < 2 ** 32 - 1) return [message(DONE, sequence)];
    if (question === 0) {
      question = sequence;
      return [message(GONE, 0)];
    }
    return [message(ANSWER, question), message(GONE, 0)];
  });
  const conntrack = new Conntrack(
    {
      onFlow: () => {},
      onGone: () => gone[count++]?.resolve(),
      onAnswer: () => t.fail('nobody else asked'),
      onDumpBegin: () => {},
      onDumpEnd: onWhole,
      onDown: (why) => t.fail(why),
    },
    kernel(() => socket),
  );
  t.teardown(() => conntrack.close());
  conntrack.open();
  await whole;
  const askedMs = monotonicMs() - 1000;
  conntrack.ask(askedMs);
  await gone[0].promise;
  t.equal(conntrack.delayMs(askedMs + 5000), 5000, 'no answer yet');
  const batch = new RequestBatch(1);
  batch.nothing(1);
  conntrack.write(batch.take());
  await gone[1].promise;
  const delayMs = conntrack.delayMs(monotonicMs());
  t.ok(delayMs >= 1000);
  t.equal(conntrack.delayMs(askedMs + 1e9), delayMs, 'it does not grow any more');
});
