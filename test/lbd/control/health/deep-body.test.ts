import t from 'tap';
import { judgeDeepBody } from '../../../../lbd/control/health/deep-body.ts';

const CASES: readonly [body: unknown, ok: boolean, detail: string, failing: string[]][] = [
  [{ status: 'ok' }, true, 'says "ok"', []],
  [{ status: 'UP', checks: { db: true } }, true, 'says "UP"', []],
  [{ status: true }, true, 'says true', []],
  [
    { status: 'degraded', checks: { database: true, cache: false } },
    true,
    'says "degraded": check cache fails',
    ['cache'],
  ],
  [{ status: 'ok', checks: { database: false } }, false, 'says "ok", but check database fails', ['database']],
  [
    { status: 'fail', checks: { database: false, disk: 'fail' } },
    false,
    'says "fail": checks database, disk fail',
    ['database', 'disk'],
  ],
  [{ status: 'down' }, false, 'says "down"', []],
  [{ status: 'starting' }, false, 'says "starting"', []],
  [{ status: 7 }, false, 'says a number', []],
  [{ status: null }, false, 'says null', []],
  [{ checks: { a: true, b: 'pass' } }, true, 'all checks pass', []],
  [{ checks: { a: true, b: 'no' } }, false, 'check b fails', ['b']],
  [{ status: 'warn', checks: { a: 'warn' } }, true, 'says "warn": check a warns', ['a']],
  [{ status: 'pass', checks: { a: 'warn' } }, true, 'says "pass", but check a warns', ['a']],
  [
    {
      status: 'pass',
      checks: { 'db:time': [{ status: 'pass' }, { status: 'fail' }], cpu: [{ observedValue: 3 }] },
    },
    false,
    'says "pass", but check db:time fails',
    ['db:time'],
  ],
  [{ status: 'ok', checks: { a: null } }, false, 'says "ok", but check a fails', ['a']],
  [{ status: 'ok', checks: { a: 12 } }, false, 'says "ok", but check a fails', ['a']],
  [{ status: 'ok', checks: { a: [[true]] } }, false, 'says "ok", but check a fails', ['a']],
  [{ status: 'ok', checks: [] }, false, '"checks" is a list, expected an object', []],
  [{}, false, 'the body has neither "status" nor "checks"', []],
  [[], false, 'the body is a list, expected a JSON object', []],
  ['ok', false, 'the body is a string, expected a JSON object', []],
  [
    { status: 'ok', checks: { 'a\u001b[31m\n': false } },
    false,
    'says "ok", but check a?[31m? fails',
    ['a?[31m?'],
  ],
];

for (const [body, ok, detail, failingChecks] of CASES)
  t.test(JSON.stringify(body), (t) => {
    t.strictSame(judgeDeepBody(JSON.stringify(body)), { ok, detail, failingChecks });
    t.end();
  });

t.test('not JSON', (t) => {
  t.match(judgeDeepBody('<html>\n<title>It works'), {
    ok: false,
    detail: 'the body is not JSON: it begins with "<html>?<title>It wor"',
  });
  t.match(judgeDeepBody(' '), { ok: false, detail: 'the body is empty, expected JSON' });
  t.match(judgeDeepBody('['.repeat(60_000)), { ok: false });
  t.end();
});

t.test('no more names than a line can bear', (t) => {
  const checks = Object.fromEntries(
    Array.from({ length: 1000 }, (_, n) => [`${n}${'x'.repeat(100)}`, false]),
  );
  const { ok, failingChecks } = judgeDeepBody(JSON.stringify({ checks }));
  t.equal(ok, false);
  t.equal(failingChecks.length, 32);
  t.ok(failingChecks.every((name) => name.length <= 64));
  t.end();
});
