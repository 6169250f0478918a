import t from 'tap';
import type { HealthState } from '../../../../common/control.ts';
import { joined } from '../../../../lbd/control/health/joined-report.ts';

function report(address: string, state: HealthState, why: string, more: object = {}) {
  const checks = [{ ok: state === 'healthy', ms: 1, detail: why }];
  return {
    address,
    report: { state, drainRequested: false, why, sinceMs: 5, checks, failingChecks: [], ...more },
  };
}
const good = report('10.0.0.1', 'healthy', 'status 200');
const bad = report('10.0.0.2', 'unhealthy', 'connection refused');
const untested = report('10.0.0.3', 'unknown', 'waiting for the first check');

t.test('one address: what it is', (t) => {
  t.strictSame(joined([bad], 7, undefined), { ...bad.report, sinceMs: 7 });
  t.end();
});

t.test('several: healthy while one is, and those that fail are named', (t) => {
  t.match(joined([good, bad, untested], 7, undefined), {
    state: 'healthy',
    why: 'status 200; 1 of 3 addresses fails: 10.0.0.2: connection refused',
    sinceMs: 7,
    checks: [
      { ok: true, detail: '10.0.0.1: status 200' },
      { ok: false, detail: '10.0.0.2: connection refused' },
      { detail: '10.0.0.3: waiting for the first check' },
    ],
  });
  t.match(joined([bad, untested], 7, undefined), { state: 'unknown' });
  t.match(joined([bad, { ...bad, address: '10.0.0.4' }], 7, undefined), {
    state: 'unhealthy',
    why: '2 of 2 addresses fail: 10.0.0.2: connection refused, 10.0.0.4: connection refused',
  });
  const many = Array.from({ length: 9 }, (_, i) => ({ ...bad, address: `10.0.1.${i}` }));
  t.match(
    joined(many, 7, undefined).why,
    /^9 of 9 addresses fail: .*10\.0\.1\.2: connection refused and 6 more$/,
  );
  t.end();
});

t.test('a drain is asked for by all that are healthy', (t) => {
  const leaving = report('10.0.0.5', 'healthy', 'status 404', { drainRequested: true });
  t.match(joined([leaving, good], 7, undefined), { drainRequested: false });
  t.match(joined([leaving, bad], 7, undefined), { drainRequested: true });
  t.end();
});

t.test('without an address: down once it is known why, unknown until then', (t) => {
  t.match(joined([], 7, undefined), { state: 'unknown', why: 'waiting for the address of its host name' });
  t.match(joined([], 7, 'host name a.test: the name is not known'), {
    state: 'unhealthy',
    why: 'host name a.test: the name is not known',
  });
  t.end();
});
