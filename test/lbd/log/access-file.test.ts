import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { AccessFile } from '../../../lbd/log/access-file.ts';
import { AccessFiles } from '../../../lbd/log/access-files.ts';
import { until } from '../../../scripts/lab/wait.ts';
import { tempDir } from '../../common/temp-dir.ts';

/** Collects what is told, and lets a test wait for it. */
function listener() {
  const told: string[] = [];
  let wake: (() => void) | undefined;
  return {
    told,
    tell: (level: string, text: string) => {
      told.push(`${level} ${text}`);
      wake?.();
    },
    until: async (pattern: RegExp) => {
      while (!told.some((line) => pattern.test(line))) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

const bytes = (text: string) => new TextEncoder().encode(text);

async function untilFile(path: string, text: string): Promise<void> {
  await until(`${path} with ${JSON.stringify(text)}`, () => readFileSync(path, 'utf8') === text);
}

t.test('appends in order, to what is there already, and for its group only', async (t) => {
  const path = join(tempDir(t), 'access.log');
  writeFileSync(path, 'old\n');
  const { told, tell } = listener();
  const file = new AccessFile(path, { tell });
  for (let n = 0; n < 500; n++) file.append(bytes(`line ${n}\n`));
  await file.close(60_000);
  t.equal(
    readFileSync(path, 'utf8'),
    `old\n${Array.from({ length: 500 }, (_, n) => `line ${n}\n`).join('')}`,
  );
  t.equal(file.dropped, 0);
  t.strictSame(told, []);
  const fresh = join(tempDir(t), 'new.log');
  const other = new AccessFile(fresh, { tell });
  other.append(bytes('x\n'));
  await other.close(60_000);
  t.equal(
    execFileSync('stat', ['-c', '%a', fresh], { encoding: 'utf8' }).trim().at(-1),
    '0',
    'not for others',
  );
});

t.test('a rotation: no line is lost, and the new file gets what comes then', async (t) => {
  const dir = tempDir(t);
  const path = join(dir, 'access.log');
  const { tell } = listener();
  const file = new AccessFile(path, { tell });
  file.append(bytes('one\n'));
  await untilFile(path, 'one\n');
  renameSync(path, `${path}.1`);
  file.append(bytes('two\n'));
  await untilFile(`${path}.1`, 'one\ntwo\n');
  file.reopen();
  await untilFile(path, '');
  file.append(bytes('three\n'));
  await file.close(60_000);
  t.equal(readFileSync(`${path}.1`, 'utf8'), 'one\ntwo\n');
  t.equal(readFileSync(path, 'utf8'), 'three\n');
});

t.test('a rotation that fails: the old file is still written, and the status says so', async (t) => {
  const dir = join(tempDir(t), 'log');
  mkdirSync(dir);
  const path = join(dir, 'access.log');
  const { tell, told, until } = listener();
  const file = new AccessFile(path, { tell });
  file.append(bytes('one\n'));
  await untilFile(path, 'one\n');
  renameSync(dir, `${dir}.1`);
  file.reopen();
  await until(/cannot open/);
  file.append(bytes('two\n'));
  await untilFile(join(`${dir}.1`, 'access.log'), 'one\ntwo\n');
  t.match(file.warning, /^access log: cannot open .*ENOENT.*, the old file is still written$/);
  mkdirSync(dir);
  file.reopen();
  file.append(bytes('three\n'));
  await untilFile(path, 'three\n');
  t.equal(file.warning, undefined);
  t.equal(told.length, 1);
  await file.close(60_000);
});

t.test('a directory that is not there: told once, counted, and written again once it is there', async (t) => {
  const dir = join(tempDir(t), 'log');
  const path = join(dir, 'access.log');
  const { told, tell, until } = listener();
  const file = new AccessFile(path, { tell });
  await until(/cannot open/);
  for (let n = 0; n < 10; n++) file.append(bytes('a\nb\n'));
  file.reopen();
  await new Promise((resolve) => setImmediate(resolve));
  mkdirSync(dir);
  for (let n = 1; !existsSync(path) || readFileSync(path, 'utf8') === ''; n++) {
    file.reopen();
    file.append(bytes(`later ${n}\n`));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await until(/is written again/);
  await file.close(60_000);
  t.equal(told.filter((line) => /cannot open/.test(line)).length, 1, 'one line for all');
  t.match(told.at(-1), /^info access log: .* is written again; \d+ lines? lost$/);
  t.match(readFileSync(path, 'utf8'), /^(a\nb\n|later \d+\n)+$/, 'whole lines');
});

t.test('a limit: the file is moved aside, the one before it goes, and the status says so', async (t) => {
  const dir = tempDir(t);
  const path = join(dir, 'access.log');
  writeFileSync(path, 'old\n');
  const { told, tell, until } = listener();
  const file = new AccessFile(path, { tell, maxBytes: 8 });
  const append = async (line: string, before: string) => {
    file.append(bytes(line));
    await untilFile(path, `${before}${line}`);
  };
  await append('one\n', 'old\n');
  t.equal(file.warning, undefined, 'what was there counts, and the limit may be reached');
  await append('two\n', '');
  t.equal(readFileSync(`${path}.full`, 'utf8'), 'old\none\n');
  t.match(
    file.warning,
    `${path} reached its max_size of 8B before its rotation; lines before that are in ${path}.full`,
  );
  t.notMatch(file.warning, /lost/);
  await append('three\n', 'two\n');
  await append('four\n', '');
  t.equal(readFileSync(`${path}.full`, 'utf8'), 'two\nthree\n');
  await until(/and older ones are lost/);
  t.match(file.warning, 'and older ones are lost');
  await append('five\n', 'four\n');
  await append('six\n', '');
  t.equal(told.length, 2, 'a flood is told twice');

  renameSync(path, `${path}.1`);
  file.reopen();
  await untilFile(path, '');
  t.equal(file.warning, undefined, 'until the next rotation');
  file.limit(1000);
  for (let n = 0; n < 50; n++) file.append(bytes('line\n'));
  await file.close(60_000);
  t.equal(readFileSync(path, 'utf8').length, 250);
  t.equal(file.dropped, 0);
});

t.test('a limit, and a rotation that has moved the file and not said so yet', async (t) => {
  const path = join(tempDir(t), 'access.log');
  const { tell } = listener();
  const file = new AccessFile(path, { tell, maxBytes: 4 });
  file.append(bytes('one\n'));
  await untilFile(path, 'one\n');
  renameSync(path, `${path}.1`);
  file.append(bytes('two\n'));
  await untilFile(path, 'two\n');
  await file.close(60_000);
  t.notOk(existsSync(`${path}.full`));
  t.equal(readFileSync(`${path}.1`, 'utf8'), 'one\n');
});

t.test('a limit, and a directory in which nothing can be moved: dropped, counted, told once', async (t) => {
  const path = join(tempDir(t), 'access.log');
  mkdirSync(join(`${path}.full`, 'in the way'), { recursive: true });
  const { told, tell, until } = listener();
  const file = new AccessFile(path, { tell, maxBytes: 4 });
  file.append(bytes('one\n'));
  await untilFile(path, 'one\n');
  file.append(bytes('two\nthree\n'));
  await until(/cannot be moved/);
  file.append(bytes('four\n'));
  await file.close(60_000);
  t.equal(readFileSync(path, 'utf8'), 'one\n', 'it does not grow');
  t.equal(file.dropped, 3);
  t.equal(told.length, 1);
});

const noFull = !existsSync('/dev/full') && 'there is no /dev/full';

t.test('a full disk: counted, told once, and never in the way', { skip: noFull }, async (t) => {
  const { told, tell, until } = listener();
  const file = new AccessFile('/dev/full', { tell });
  for (let n = 0; n < 100; n++) file.append(bytes('a\nb\n'));
  await until(/ENOSPC/);
  file.append(bytes('c\n'));
  await file.close(60_000);
  t.equal(file.dropped, 201);
  t.strictSame(told, ['warn access log: cannot write /dev/full: ENOSPC; lines are dropped']);
  t.match(file.warning, 'access log: cannot write /dev/full: ENOSPC; 201 lines lost');
});

t.test('one line that is lost is told as one', { skip: noFull }, async (t) => {
  const { tell, until } = listener();
  const file = new AccessFile('/dev/full', { tell });
  file.append(bytes('a\n'));
  await until(/ENOSPC/);
  await file.close(60_000);
  t.match(file.warning, /; 1 line lost$/);
});

t.test('a reader that is too slow: memory is bounded, and nothing waits', async (t) => {
  const fifo = join(tempDir(t), 'fifo');
  execFileSync('mkfifo', [fifo]);
  // Opened for both, so that neither end waits for the other; nobody reads.
  const held = openSync(fifo, 'r+');
  const { told, tell } = listener();
  const file = new AccessFile(fifo, { tell });
  const batch = new Uint8Array(64 * 1024).fill(10);
  for (let n = 0; n < 200; n++) file.append(batch);
  t.ok(file.dropped >= (200 - 128) * batch.length, `${file.dropped} dropped`);
  t.strictSame(told, [`warn access log: ${fifo} is too slow; lines are dropped`]);
  // The write that hangs returns when nobody can read any more.
  closeSync(held);
  await file.close(60_000);
  t.ok(file.dropped >= 200 * batch.length, 'and what waited is lost with its reader');
});

t.test('the files of a config', async (t) => {
  const dir = tempDir(t);
  const { tell } = listener();
  const files = new AccessFiles(tell);
  const config = (...names: (string | undefined)[]) => ({
    frontends: names.map((name) => ({
      accessLog:
        name === undefined
          ? undefined
          : { path: join(dir, name), format: 'json' as const, sample: 1, maxBytes: 1000 },
    })),
  });
  files.apply(config('a', undefined, 'a') as unknown as Parameters<AccessFiles['apply']>[0]);
  files.append(join(dir, 'a'), bytes('one\n'));
  files.append(join(dir, 'b'), bytes('nobody knows this file\n'));
  files.apply(config('b') as unknown as Parameters<AccessFiles['apply']>[0]);
  files.append(join(dir, 'a'), bytes('late\n'));
  files.append(join(dir, 'b'), bytes('two\n'));
  t.strictSame(files.warnings(), []);
  await files.close();
  t.equal(readFileSync(join(dir, 'a'), 'utf8'), 'one\nlate\n', 'requests under way may still end');
  t.equal(readFileSync(join(dir, 'b'), 'utf8'), 'two\n');
  t.equal(files.dropped, 0);
});
