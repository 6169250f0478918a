import t from 'tap';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../common/duration.ts';

t.test('durations', async (t) => {
  for (const [text, ms] of [
    ['0ms', 0],
    ['100ms', 100],
    ['10s', 10_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['1d', 86_400_000],
    ['2w', 1_209_600_000],
  ] as const) {
    t.equal(parseDuration(text), ms, text);
    t.equal(parseDuration(formatDuration(ms)), ms, `${text} and back`);
  }
  for (const text of [
    '',
    '10',
    's',
    '1.5s',
    '-1s',
    '+1s',
    '10 s',
    '10S',
    '1s1s',
    '9999999999ms',
    ' 1s',
    '1s\n',
  ])
    t.equal(parseDuration(text), undefined, JSON.stringify(text));
  t.equal(formatDuration(90_000), '90s');
  t.equal(formatDuration(0), '0ms');
});

t.test('sizes', async (t) => {
  for (const [text, bytes] of [
    ['100B', 100],
    ['64KiB', 65_536],
    ['1MiB', 1_048_576],
    ['2GiB', 2_147_483_648],
  ] as const) {
    t.equal(parseSize(text), bytes, text);
    t.equal(formatSize(bytes), text);
  }
  for (const text of ['', '64', '64KB', '64kib', '64K', '-1B', '1.5MiB'])
    t.equal(parseSize(text), undefined, text);
});
