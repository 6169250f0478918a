import { mock } from 'node:test';
import t from 'tap';
import { backendId, poolId } from '../../../common/hash.ts';
import { sessionHashKey, sessionRows, sweepSessions } from '../../../lbd/control/sessions.ts';
import { SessionTable } from '../../../lbd/session/table.ts';
import { testConfig } from './test-config.ts';

t.test('both nodes derive the same key from the same secret, nodes alone do not', async (t) => {
  const psk = Buffer.alloc(32, 7);
  t.same(sessionHashKey(psk), sessionHashKey(Buffer.from(psk)));
  t.equal(sessionHashKey(psk).length, 4);
  t.ok(sessionHashKey(psk).buffer instanceof SharedArrayBuffer, 'all threads see when it is replaced');
  t.not(sessionHashKey(psk).join(), sessionHashKey(Buffer.alloc(32, 8)).join());
  t.not(sessionHashKey(undefined).join(), sessionHashKey(undefined).join());
});

t.test('rows have names, and numbers for what is no longer in the config', async (t) => {
  const table = new SessionTable(SessionTable.create(1024), 0, { hashKey: new Uint32Array(4) });
  table.keyOfSource(poolId('web'), '192.0.2.7');
  table.store(backendId('web', 's1'), 60_000);
  table.keyOfSource(poolId('web'), '192.0.2.8');
  table.store(backendId('web', 'gone'), 60_000);
  table.keyOfCookie(poolId('old'), 'abc');
  table.store(backendId('old', 'x'), 60_000);
  const rows = sessionRows(table, testConfig(), 10).sort((a, b) => (a.key < b.key ? -1 : 1));
  const hex = (id: number) => `#${id.toString(16)}`;
  const bySource = rows.filter((row) => row.kind === 'source');
  t.match(bySource, [
    { pool: 'web', key: '192.0.2.7', backend: 's1' },
    { pool: 'web', key: '192.0.2.8', backend: hex(backendId('web', 'gone')) },
  ]);
  t.match(
    rows.filter((row) => row.kind === 'cookie'),
    [{ pool: hex(poolId('old')), backend: hex(backendId('old', 'x')) }],
  );
  for (const row of rows) t.ok(row.expires_in_ms > 0 && row.expires_in_ms <= 61_000);
  t.equal(sessionRows(table, testConfig(), 1).length, 1);
});

t.test(
  'a sweep comes round every 30 s in slices that take no time, whatever the size of the table',
  async (t) => {
    for (const capacity of [1024, 65_536, 1 << 20, 1 << 24]) {
      mock.timers.enable({ apis: ['setInterval'] });
      t.teardown(() => mock.timers.reset());
      const slices: number[] = [];
      let clock = 0;
      const stop = sweepSessions({
        capacity,
        sweep: (buckets: number) => slices.push(buckets),
        tickClock: () => clock++,
      } as unknown as SessionTable);
      mock.timers.tick(30_000);
      stop();
      mock.timers.tick(30_000);
      mock.timers.reset();
      const swept = slices.reduce((sum, slice) => sum + slice, 0);
      t.ok(swept >= capacity / 8, `${capacity} entries: ${swept} buckets`);
      t.ok(slices.length === 30 || slices[0]! > 400, 'a small table wakes nobody ten times a second');
      t.ok(slices[0]! <= 1024 || slices.length === 300);
      t.equal(clock, 30, 'the clock goes once a second');
    }
  },
);
