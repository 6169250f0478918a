import t from 'tap';
import { type BackendFacts, type BackendLife, nextLife } from '../../../../lbd/control/care/backend-life.ts';

const GATES = ['open', 'stuck', 'closed'];

const facts: BackendFacts = {
  nowMs: 0,
  admin: 'ready',
  health: 'healthy',
  healthWhy: 'status 200',
  drainRequested: false,
  ejected: undefined,
  active: 0,
  weight: 1,
  sticky: true,
  drainTimeoutMs: 30_000,
};

/** Tells what becomes of a backend: each step is what changed, and the state, gate and cut that follow. */
function story(...steps: [change: Partial<BackendFacts>, expected: string][]): {
  told: string[];
  expected: string[];
  life: BackendLife;
} {
  let now = facts;
  let life: BackendLife | undefined;
  const told: string[] = [];
  for (const [change] of steps) {
    now = { ...now, ...change };
    const next = nextLife(life, now);
    life = next.life;
    told.push(`${life.state} ${GATES[life.gate]}${next.cut ? ' cut' : ''}`);
  }
  return { told, expected: steps.map(([, expected]) => expected), life: life! };
}

const stories: Record<string, [change: Partial<BackendFacts>, expected: string][]> = {
  'a backend comes up, fails, and comes back': [
    [{ health: 'unknown' }, 'starting closed'],
    [{ health: 'healthy' }, 'ready open'],
    [{ health: 'unhealthy' }, 'down closed'],
    [{ health: 'healthy' }, 'ready open'],
  ],
  'a drain lets stuck clients in until its time-out, even with nothing in flight': [
    [{ active: 3 }, 'ready open'],
    [{ admin: 'drain', nowMs: 1000 }, 'draining stuck'],
    [{ active: 0, nowMs: 2000 }, 'draining stuck'],
    [{ active: 1, nowMs: 20_000 }, 'draining stuck'],
    [{ active: 0, nowMs: 31_000 }, 'drained closed'],
  ],
  'without stickiness a drain is over when nothing is in flight': [
    [{ sticky: false, active: 2 }, 'ready open'],
    [{ admin: 'drain', nowMs: 1000 }, 'draining stuck'],
    [{ active: 0, nowMs: 1500 }, 'drained closed'],
  ],
  'a request that a worker is just about to count keeps the drain open': [
    [{ sticky: false, active: 0 }, 'ready open'],
    [{ admin: 'drain', nowMs: 1000 }, 'draining stuck'],
    [{ active: 1, nowMs: 1049 }, 'draining stuck'],
    [{ active: 0, nowMs: 1050 }, 'drained closed'],
  ],
  'what is open at the time-out is cut, once': [
    [{ active: 2 }, 'ready open'],
    [{ admin: 'drain' }, 'draining stuck'],
    [{ nowMs: 29_999 }, 'draining stuck'],
    [{ nowMs: 30_000 }, 'drained closed cut'],
    [{ nowMs: 30_100 }, 'drained closed'],
    [{ active: 0, nowMs: 30_200 }, 'drained closed'],
    [{ admin: 'ready' }, 'ready open'],
  ],
  'a longer time-out does not reopen a drain that is over': [
    [{ admin: 'drain', drainTimeoutMs: 1000 }, 'draining stuck'],
    [{ nowMs: 1000 }, 'drained closed'],
    [{ drainTimeoutMs: 60_000, active: 1 }, 'drained closed'],
  ],
  'the second drain has its own time': [
    [{ admin: 'drain' }, 'draining stuck'],
    [{ nowMs: 30_000 }, 'drained closed'],
    [{ admin: 'ready' }, 'ready open'],
    [{ admin: 'drain' }, 'draining stuck'],
    [{ nowMs: 59_999 }, 'draining stuck'],
    [{ nowMs: 60_000 }, 'drained closed'],
  ],
  'the backend drains itself through its health check, stops and comes back': [
    [{ active: 1 }, 'ready open'],
    [{ drainRequested: true }, 'draining stuck'],
    [{ health: 'unhealthy', drainRequested: false }, 'down closed'],
    [{ health: 'healthy' }, 'ready open'],
  ],
  'a drain that the backend asked for ends with a healthy answer': [
    [{ drainRequested: true }, 'draining stuck'],
    [{ drainRequested: false, nowMs: 10_000 }, 'ready open'],
  ],
  'a backend that asks for a drain with its very first answer gets no new clients': [
    [{ health: 'unknown' }, 'starting closed'],
    [{ drainRequested: true }, 'draining stuck'],
  ],
  'a drained backend is stopped and restarted by its operator': [
    [{ admin: 'drain', sticky: false }, 'draining stuck'],
    [{ nowMs: 100 }, 'drained closed'],
    [{ health: 'unhealthy' }, 'drained closed'],
    [{ health: 'healthy' }, 'drained closed'],
    [{ admin: 'ready' }, 'ready open'],
  ],
  'a backend that dies while it drains gets no stuck clients': [
    [{ active: 1 }, 'ready open'],
    [{ admin: 'drain' }, 'draining stuck'],
    [{ health: 'unhealthy' }, 'draining closed'],
    [{ active: 0, nowMs: 100 }, 'drained closed'],
  ],
  'a drain that the pair had decided before this node knew the backend': [
    [{ health: 'unknown', admin: 'drain' }, 'draining closed'],
    [{ health: 'healthy', nowMs: 1000 }, 'draining stuck'],
  ],
  'operator and backend want the same': [
    [{ admin: 'drain' }, 'draining stuck'],
    [{ health: 'unhealthy', drainRequested: true, nowMs: 1000 }, 'draining stuck'],
    [{ admin: 'ready', nowMs: 20_000 }, 'draining stuck'],
    [{ nowMs: 30_000 }, 'drained closed'],
  ],
  'maint closes at once and never cuts': [
    [{ active: 5 }, 'ready open'],
    [{ admin: 'maint' }, 'maint closed'],
    [{ nowMs: 90_000 }, 'maint closed'],
    [{ drainRequested: true }, 'maint closed'],
    [{ admin: 'ready', drainRequested: false, health: 'unhealthy' }, 'down closed'],
  ],
  'from drain to maint': [
    [{ admin: 'drain', active: 5 }, 'draining stuck'],
    [{ admin: 'maint', nowMs: 100 }, 'maint closed'],
    [{ nowMs: 40_000 }, 'maint closed'],
  ],
  'a healthy backend that fails its clients is left out for a while': [
    [{}, 'ready open'],
    [{ ejected: '5 answers of 500 and above in a row' }, 'ejected closed'],
    [{ admin: 'drain' }, 'draining stuck'],
    [{ admin: 'ready' }, 'ejected closed'],
    [{ health: 'unhealthy' }, 'down closed'],
    [{ health: 'healthy' }, 'ejected closed'],
    [{ ejected: undefined }, 'ready open'],
  ],
  'weight 0 keeps the gate open for stuck clients': [[{ weight: 0 }, 'ready open']],
};

for (const [name, steps] of Object.entries(stories)) {
  t.test(name, async (t) => {
    const { told, expected } = story(...steps);
    t.same(told, expected);
  });
}

t.test('the reason is in words', async (t) => {
  const cases: [Partial<BackendFacts>, string][] = [
    [{}, 'status 200'],
    [{ weight: 0 }, 'weight 0: no new clients; status 200'],
    [{ health: 'unknown' }, 'waits for its first health check'],
    [{ health: 'unhealthy', healthWhy: 'connection refused' }, 'connection refused'],
    [{ admin: 'maint', health: 'unhealthy' }, 'set to maint by the operator'],
    [{ admin: 'drain' }, 'set to drain by the operator'],
    [{ drainRequested: true }, 'its health check asked for a drain (drain_status)'],
    [
      { admin: 'drain', health: 'unhealthy', healthWhy: 'timed out after 5 s' },
      'set to drain by the operator; unhealthy: timed out after 5 s',
    ],
  ];
  for (const [change, why] of cases) t.equal(story([change, '']).life.why, why);
});

t.test('the time of a state is that of its change', async (t) => {
  const { life } = story(
    [{ nowMs: 5 }, ''],
    [{ nowMs: 10, health: 'unhealthy', healthWhy: 'connection refused' }, ''],
    [{ nowMs: 20, healthWhy: 'timed out after 5 s' }, ''],
  );
  t.match(life, { sinceMs: 10, why: 'timed out after 5 s' });
});
