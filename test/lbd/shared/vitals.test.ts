import t from 'tap';
import {
  CONNECTIONS,
  createVitalsBuffers,
  FULL_SHARE,
  PENDING,
  RETRYING,
  TRIPPED_5XX,
  TRIPPED_FAILURES,
  Vitals,
} from '../../../lbd/shared/vitals.ts';

function views(): Vitals[] {
  const buffers = createVitalsBuffers(2, 4);
  return [-1, 0, 1].map((worker) => new Vitals(buffers, 4, worker));
}

t.test('what is open counts over all workers, and a dead one is taken off', async (t) => {
  const [control, first, second] = views() as [Vitals, Vitals, Vitals];
  for (const kind of [RETRYING, PENDING, CONNECTIONS] as const) {
    first.begin(kind, 2);
    first.begin(kind, 2);
    second.begin(kind, 2);
    second.begin(kind, 3);
    second.end(kind, 3);
    t.same([control.open(kind, 2), control.open(kind, 3)], [3, 0]);
  }
  control.forgetWorker(0);
  t.same(
    [RETRYING, PENDING, CONNECTIONS].map((kind) => control.open(kind as 0, 2)),
    [1, 1, 1],
  );
});

t.test('failures in a row, whichever worker sees them', async (t) => {
  const [control, first, second] = views() as [Vitals, Vitals, Vitals];
  first.answered(1, true, 3);
  second.answered(1, true, 3);
  t.equal(control.tripped(1), 0);
  first.answered(1, false, 3);
  first.answered(1, true, 3);
  first.answered(1, true, 3);
  t.equal(control.tripped(1), 0, 'a good answer begins the count anew');
  second.answered(1, true, 3);
  t.equal(control.tripped(1), TRIPPED_5XX);
  first.answered(1, false, 3);
  t.equal(control.tripped(1), TRIPPED_5XX, 'stays until it is seen');
  control.clearStreaks(1);
  for (let i = 0; i < 3; i++) first.failed(1, 3);
  t.equal(control.tripped(1), TRIPPED_FAILURES);
  t.equal(control.tripped(0), 0);
  for (let i = 0; i < 9; i++) first.failed(0, 0);
  t.equal(control.tripped(0), 0, 'off');
});

t.test('a new backend has its full share and no past', async (t) => {
  const [control] = views() as [Vitals];
  t.equal(control.share(0), FULL_SHARE);
  control.setShare(0, 100);
  control.failed(0, 1);
  t.same([control.share(0), control.tripped(0)], [100, TRIPPED_FAILURES]);
  control.reset(0);
  t.same([control.share(0), control.tripped(0)], [FULL_SHARE, 0]);
});
