import t from 'tap';
import {
  type ClientsReport,
  type FaultReport,
  flowFailures,
  flowTable,
  type KindReport,
} from '../../scripts/bench/flows/report.ts';
import { machineTime } from '../../scripts/bench/kernel/machine.ts';
import { kernelFailures, kernelVerdicts } from '../../scripts/bench/kernel/targets.ts';

t.test('time of the machine: interrupts count, what runs at a lower priority does not', async (t) => {
  const stat = 'cpu  100 900 50 4000 10 1 30 4 0 0\ncpu0 50 450 25 2000 5 0 15 2 0 0\n';
  t.strictSame(machineTime(stat), { busyUs: 1_850_000, idleUs: 40_100_000 });
});

t.test('targets are met or missed by the ratio of two rates', async (t) => {
  const row = (contender: 'kernel' | 'haproxy' | 'direct', perSecond: number, failures: string[] = []) => ({
    ...{ contender, perSecond, failures },
    ...{ gbitPerSecond: 1, machineUs: 1, balancerUs: 1, idle: 0 },
  });
  const results = {
    cost: {
      requests: [row('kernel', 140), row('haproxy', 100)],
      throughput: [row('kernel', 79), row('haproxy', 40, ['1 × read']), row('direct', 100)],
    },
  };
  t.strictSame(
    kernelVerdicts(results).map(({ says }) => says),
    ['met', 'not measured', 'met', 'missed', 'not measured'],
  );
  t.strictSame(kernelFailures(results), ['throughput, haproxy: 1 × read']);
});

t.test('what must not happen to a flow is told', async (t) => {
  const good: KindReport = { flows: 10, resets: 0, causes: [], lost: 0, wrong: 0, pauseMs: 12 };
  const report = (echo: Partial<KindReport>, trouble = ''): FaultReport => ({
    fault: 'cut',
    clients: {
      kinds: { echo: { ...good, ...echo }, download: good, datagrams: good } as ClientsReport['kinds'],
      backends: 3,
      tookMs: 1,
    },
    before: 30,
    after: 30,
    programs: { redis: { trouble, pauseMs: undefined } },
  });
  t.strictSame(flowFailures([report({})]), []);
  t.strictSame(flowFailures([report({ resets: 2, causes: ['ECONNRESET'], lost: 1, wrong: 1 }, 'gone')]), [
    'cut: 2 echo flows ended: ECONNRESET',
    'cut: 1 echo flows lost',
    'cut: 1 echo flows at another backend',
    'cut: redis: gone',
  ]);
  t.strictSame(flowTable([report({ resets: 2 })]).rows[0]!.slice(0, 5), ['cut', '30 → 30', '2', '0', '0']);
});
