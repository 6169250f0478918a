import { chmodSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { Conntrack } from '../../../lbd/flow/conntrack.ts';
import { RequestBatch } from '../../../lbd/flow/conntrack-request.ts';
import { monotonicMs } from '../../../lbd/session/memory.ts';

/** A helper that does as the script says; `answer(type, sequence, error)` sends a message of the kernel. */
function program(t: Test, script: string): string {
  const file = join(t.testdir(), 'helper.mjs');
  writeFileSync(
    file,
    `#!/usr/bin/env node
import { stdin, stdout, stderr, exit } from 'node:process';
const answer = (type, sequence, error = 0) => {
  const bytes = Buffer.alloc(36);
  bytes.writeUInt32LE(36); bytes.writeUInt16LE(type, 4); bytes.writeUInt32LE(sequence, 8); bytes.writeInt32LE(-error, 16);
  stdout.write(bytes);
};
${script}`,
  );
  chmodSync(file, 0o755);
  return file;
}

/** Starts it and keeps the story, until `last` was told. */
function story(t: Test, helper: string, last: RegExp): Promise<string[]> {
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
      helper,
    );
    t.teardown(() => conntrack.close());
    conntrack.open();
  });
}

// The helper is the tree's own Node.
process.env.PATH = `${dirname(process.execPath)}${delimiter}${process.env.PATH}`;

const DUMP = "stdin.once('data', (request) => { const sequence = request.readUInt32LE(8);";

t.test('a dump, events and answers', async (t) => {
  const helper = program(
    t,
    `${DUMP} answer(0x100, 0); answer(3, sequence); answer(0x102, 0); answer(2, 77, 28); });`,
  );
  t.strictSame(await story(t, helper, /answer/), ['dump', 'flow', 'whole', 'gone', 'answer to 77: 28']);
});

t.test('without the program', async (t) => {
  const [, down] = await story(t, join(t.testdir(), 'socat'), /down/);
  t.match(down, /no program ".*socat"; install socat/);
});

for (const [name, script, end] of [
  [
    'without the right',
    "stderr.write('E bind: Operation not permitted'); exit(1);",
    /^down: .*CAP_NET_ADMIN/,
  ],
  [
    'events that came too fast',
    "stderr.write('E recvfrom: No buffer space available'); exit(1);",
    /^lost: events of the kernel came faster/,
  ],
  [
    'another end',
    "stderr.write('2026/01/01 socat[7] E out of luck\\n'); exit(1);",
    /^down: .*: E out of luck$/,
  ],
  ['nonsense', 'stdout.write(Buffer.alloc(16));', /^lost: a netlink message of 0 bytes/],
  [
    'a dump that is refused',
    `${DUMP} answer(2, sequence, 1); });`,
    /^down: the kernel does not list its flows: error 1$/,
  ],
] as const)
  t.test(`${name}: it begins again`, async (t) => {
    const told = await story(t, program(t, script), /^(down|lost)/);
    t.match(told.at(-1), end);
  });

t.test('how late events are read shows by a question that queues behind them', async (t) => {
  // The dump is answered at once, the question when something else asks for it.
  const helper = program(
    t,
    `stdin.once('data', (dump) => {
       answer(3, dump.readUInt32LE(8));
       stdin.once('data', (question) => {
         answer(0x102, 0);
         stdin.once('data', () => { answer(2, question.readUInt32LE(8)); answer(0x102, 0); });
       });
     });`,
  );
  const { promise: whole, resolve: onWhole } = Promise.withResolvers<void>();
  const gone = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
  let count = 0;
  const conntrack = new Conntrack(
    {
      onFlow: () => {},
      onGone: () => gone[count++]?.resolve(),
      onAnswer: () => t.fail('nobody else asked'),
      onDumpBegin: () => {},
      onDumpEnd: onWhole,
      onDown: (why) => t.fail(why),
    },
    helper,
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

t.test('a small buffer is better than none', async (t) => {
  const refuse =
    "if (process.argv.at(-1).includes('=1:33:')) { stderr.write('E setsockopt: Operation not permitted'); exit(1); }";
  const told = await story(t, program(t, `${refuse} ${DUMP} answer(3, sequence); });`), /whole/);
  t.strictSame(told, ['dump', 'dump', 'whole'], 'nobody hears of it');
});
