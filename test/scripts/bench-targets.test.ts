import t from 'tap';
import type { CostRow } from '../../scripts/bench/data/cost.ts';
import { growthOf, type Sample } from '../../scripts/bench/data/soak.ts';
import { failuresOf, type Results, verdicts } from '../../scripts/bench/data/targets.ts';

function row(proxy: string, totalUs: number, failures: string[] = []): CostRow {
  return {
    proxy,
    totalUs,
    failures,
    userUs: 0,
    systemUs: totalUs,
    perSecond: 1,
    units: 1,
    originConnections: 1,
  };
}

function samples(bytes: readonly number[]): Sample[] {
  return bytes.map((residentBytes, seconds) => ({ seconds, residentBytes }));
}

/** Flat after its beginning. */
const FLAT = samples([50, 80, 100, 100, 101, 99, 102, 104]);

t.test('met, missed or not measured', async (t) => {
  const cases: readonly [
    what: string,
    results: Results,
    target: RegExp,
    ratio: number | undefined,
    says: string,
  ][] = [
    ['nothing ran', { cost: {}, memory: {}, latency: {} }, /TLS/, undefined, 'not measured'],
    ['exactly the bound', cost('http', row('lbd', 11), row('haproxy', 10)), /÷ haproxy/, 1.1, 'met'],
    ['more', cost('http', row('lbd', 12), row('haproxy', 10)), /÷ haproxy/, 1.2, 'missed'],
    ['a peer is missing', cost('http', row('lbd', 12)), /÷ http-proxy-3/, undefined, 'not measured'],
    ['another peer', cost('http', row('lbd', 1), row('http-proxy-3', 4)), /÷ http-proxy-3/, 0.25, 'met'],
    [
      'no unit was done',
      cost('tcp', row('lbd', 1), row('haproxy', Number.NaN)),
      /TCP/,
      undefined,
      'not measured',
    ],
    [
      'workers',
      cost('workers', row('lbd, 1 worker', 10), row('lbd, 2 workers', 12)),
      /workers/,
      1.2,
      'missed',
    ],
    ['a soak that is flat', soaked(FLAT, 10), /memory/, 1.02, 'met'],
    ['a soak that grows', soaked(samples([1, 1, 10, 10, 11, 11, 13, 13]), 10), /memory/, 1.3, 'missed'],
    ['a short soak', soaked(FLAT, 1), /memory/, undefined, 'not measured'],
    ['a soak without samples', soaked([], 10), /memory/, undefined, 'not measured'],
  ];
  for (const [what, results, target, ratio, says] of cases) {
    const found = verdicts(results).find((verdict) => target.test(verdict.what))!;
    t.equal(found.says, says, what);
    t.equal(found.measured?.toFixed(3), ratio?.toFixed(3), what);
  }
});

t.test('the latency of one proxy beside another', async (t) => {
  const at = (proxy: string, p99Us: number) => ({
    ...{ proxy, p99Us, p50Us: 1, p999Us: 1, lateP99Us: 1, perSecond: 1 },
    failures: [],
  });
  const results: Results = {
    ...{ cost: {}, memory: {} },
    latency: { latency: { rate: 1, rows: [at('lbd', 150), at('haproxy', 100)] } },
  };
  const verdict = verdicts(results).find(({ what }) => what.startsWith('p99'));
  t.match(verdict, { measured: 1.5, says: 'met' });
});

t.test('memory at the beginning does not count as growth', async (t) => {
  t.equal(growthOf(samples([1, 1, 8, 8, 9, 9, 8, 8])), 1);
  t.ok(Number.isNaN(growthOf(samples([1, 2, 3]))));
});

t.test('each failure is told with its load and proxy', async (t) => {
  const results = cost('tls', row('lbd', 1), row('nginx', 1, ['3 × read']));
  results.soak = { minutes: 1, samples: [], units: {}, failures: ['upload: 1 × status'] };
  t.same(failuresOf(results), ['tls, nginx: 3 × read', 'soak: upload: 1 × status']);
});

function cost(load: 'http' | 'tls' | 'tcp' | 'workers', ...rows: CostRow[]): Results {
  return { cost: { [load]: rows }, memory: {}, latency: {} };
}

function soaked(taken: readonly Sample[], minutes: number): Results {
  return { cost: {}, memory: {}, latency: {}, soak: { minutes, samples: taken, units: {}, failures: [] } };
}
