import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import type { ConfigError } from '../../common/errors.ts';
import type { PoolConfig } from '../../common/model.ts';

function pool(keys: string): PoolConfig {
  const text = `
frontends: { web: { bind: ["127.0.0.1:80"], pool: web } }
pools: { web: { ${keys} backends: { s1: { address: "127.0.0.1:1" } } } }
`;
  return parseConfig(text, '/test.yaml', { cpus: 1 }).pools[0]!;
}

t.test('everything is off or at a safe default', async (t) => {
  const { retry, outlier, limits, slowStartMs, panicShare, timeouts } = pool('');
  t.same(retry, {
    connect: true,
    reset: false,
    timeout: false,
    statuses: [],
    attempts: 2,
    budgetShare: 0.2,
    budgetMin: 3,
  });
  t.same([outlier, slowStartMs, panicShare], [undefined, 0, 0]);
  t.same(limits, { requests: 0, pending: 0, connections: 0 });
  t.match(timeouts, { connectMs: 5000, responseMs: 60_000, idleMs: 60_000, totalMs: 0 });
});

t.test('what is written', async (t) => {
  t.match(pool('retry: { on: [reset, timeout, 502, 503], attempts: 1, budget: 50%, budget_min: 0 },').retry, {
    connect: false,
    reset: true,
    timeout: true,
    statuses: [502, 503],
    attempts: 1,
    budgetShare: 0.5,
    budgetMin: 0,
  });
  t.match(pool('retry: false,').retry, { connect: false, attempts: 0 });
  t.match(pool('outlier: true,').outlier, {
    consecutive5xx: 5,
    consecutiveFailures: 5,
    latencyFactor: 0,
    baseEjectionMs: 30_000,
    maxEjectionMs: 300_000,
    maxEjectedShare: 0.5,
  });
  t.equal(pool('outlier: false,').outlier, undefined);
  t.match(pool('outlier: { latency_factor: 2.5 },').outlier, { latencyFactor: 2.5, intervalMs: 10_000 });
  t.match(pool('slow_start: 30s, panic: 50%, limits: { requests: 100 },'), {
    slowStartMs: 30_000,
    panicShare: 0.5,
    limits: { requests: 100, pending: 0, connections: 0 },
  });
  t.match(pool('timeouts: { response: 2s, total: 10s },').timeouts, { idleMs: 2000, totalMs: 10_000 });
});

t.test('what is wrong is named', async (t) => {
  const cases: [keys: string, message: RegExp][] = [
    ['retry: { on: [resets] },', /connect, reset, timeout or a status from 500 to 599/],
    ['retry: { on: [404] },', /from 500 to 599/],
    ['retry: { budget: 120% },', /a percentage from 0% to 100%/],
    ['retry: { budget: 0.2 },', /a percentage from 0% to 100%/],
    ['retry: { attempt: 1 },', /attempt/],
    ['outlier: { latency_factor: 1 },', /0 \(off\) or a number from 1\.5 to 100/],
    ['panic: half,', /a percentage from 0% to 100%/],
    ['limits: { requests: -1 },', /a whole number from 0/],
    [
      'outlier: { base_ejection_time: 10m, max_ejection_time: 1m },',
      /must not be below base_ejection_time \(10m\)/,
    ],
  ];
  for (const [keys, message] of cases)
    try {
      pool(keys);
      t.fail(keys);
    } catch (error) {
      t.match((error as ConfigError).problems.map((it) => it.message).join(), message, keys);
    }
});
