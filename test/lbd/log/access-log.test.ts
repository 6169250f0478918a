import t from 'tap';
import { AccessLog } from '../../../lbd/log/access-log.ts';
import { AccessLogs } from '../../../lbd/log/access-logs.ts';

t.test('lines leave in batches: when one is full, or soon after its first line', async (t) => {
  const batches: string[] = [];
  let wake = () => {};
  const log = new AccessLog('/a', (path, lines) => {
    t.equal(path, '/a');
    batches.push(new TextDecoder().decode(lines));
    wake();
  });
  const line = `${'x'.repeat(999)}\n`;
  for (let n = 0; n < 65; n++) log.write(line);
  t.strictSame(batches, []);
  log.write(line);
  t.strictSame(batches, [line.repeat(65)], 'as many as fit in 64 KiB');
  const later = new Promise<void>((resolve) => {
    wake = resolve;
  });
  // The batch's own timer keeps nobody alive.
  const alive = setInterval(() => {}, 1000);
  await later;
  clearInterval(alive);
  t.strictSame(batches, [line.repeat(65), line]);
  log.flush();
  t.equal(batches.length, 2, 'nothing is left');
});

t.test('one log for all frontends with the same file; a record stays while its config does', async (t) => {
  const sent: string[] = [];
  const logs = new AccessLogs((path, lines) => sent.push(`${path}: ${new TextDecoder().decode(lines)}`));
  const config = { path: '/a', format: 'common', sample: 1, maxBytes: 1 } as const;
  const record = (known: Parameters<AccessLogs['record']>[0], its: typeof config | undefined, name = 'web') =>
    logs.record(known, its, name, '192.0.2.1', true);
  const web = record(undefined, config)!;
  t.equal(record(web, config), web);
  t.not(record(web, { ...config }), web, 'a reload');
  t.equal(record(web, undefined), undefined);
  const shop = record(undefined, config, 'shop')!;
  for (const one of [web, shop]) {
    one.begin();
    one.end();
    one.end();
  }
  logs.flush();
  t.equal(sent.length, 1);
  t.match(sent[0], /^\/a: (192\.0\.2\.1 - - \[[^\]]+\] "-" 0 0\n){2}$/);
});
