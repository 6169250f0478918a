import { randomBytes } from 'node:crypto';
import { appendFileSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Clients } from '../../scripts/lab/clients.ts';
import { NODES } from '../../scripts/lab/hosts.ts';
import { NODE, ROOT } from '../../scripts/lab/lab.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { until } from '../../scripts/lab/wait.ts';
import { LabWitness, WITNESS } from '../../scripts/lab/witness.ts';
import { PATIENT } from './calm.ts';
import { startPair } from './fault-run.ts';

const PREVIOUS = '  previous_secret_file: secret.old\n';

t.test('the secret is replaced as the docs say, and nobody notices', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t, { witness: WITNESS });
  const { lab, directory } = pair;
  const witness = await LabWitness.start(pair);
  await witness.grants();
  const path = (name: string) => lab.outside(join(directory, name));
  const file = lab.outside(pair.configFile);
  const clients = await Clients.start(lab, PATIENT);
  const active = pair.active();
  const rolesSeen = async () => (await pair.events()).filter(({ kind }) => kind === 'role').length;
  const before = { changes: pair.ownership.changes.length, roles: await rolesSeen() };
  const well = () =>
    until('all to be well, and said to be', async () => {
      for (const node of NODES) {
        const { stdout } = await pair.lbctl(node, '--json', 'status');
        const { warnings, paths } = JSON.parse(stdout) as {
          warnings: string[];
          paths: { name: string; state: string }[];
        };
        const down = paths.filter(({ state }) => state !== 'up').map(({ name }) => name);
        if (warnings.length + down.length > 0) throw new Error([...warnings, ...down].join('; '));
      }
      return true;
    });
  const reloadBoth = async () => {
    for (const node of NODES) {
      const { code, stdout } = await pair.lbctl(node, 'reload');
      t.equal(code, 0, stdout);
      t.match(
        stdout,
        /^lbd: reloaded: .*the secrets changed[\s\S]*^ha-agent: reloaded: .*the secrets changed/m,
      );
    }
    await well();
    await witness.grants();
  };

  renameSync(path('secret'), path('secret.old'));
  writeFileSync(path('secret'), randomBytes(48), { mode: 0o600 });
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace('  secret_file: secret\n', `  secret_file: secret\n${PREVIOUS}`));
  const argv = [NODE, join(ROOT, 'scripts/witness.ts'), 'key', '--config', pair.configFile, '--node', 'lb1'];
  const former = readFileSync(path('witness.key'), 'utf8');
  const key = await lab.exec('lb1', argv);
  appendFileSync(path('witness.key'), key);
  const log = () => readFileSync(path('witness.log'), 'utf8');
  await witness.signal('SIGHUP');
  await until('the witness to have read it', () => /was read again/.test(log()));
  await reloadBoth();

  writeFileSync(file, text);
  await reloadBoth();
  rmSync(path('secret.old'));
  writeFileSync(path('witness.key'), readFileSync(path('witness.key'), 'utf8').replace(former, ''));
  await witness.signal('SIGHUP');
  await until('the witness to have forgotten it', () => (log().match(/was read again/g) ?? []).length === 2);
  await well();
  await witness.grants();

  const { probe, sticky, keptAlive } = await clients.report();
  t.ok(probe.requests > 0);
  t.strictSame(probe.causes, {}, 'every new connection got a 200');
  t.strictSame(keptAlive.causes, [], 'no open connection broke');
  for (const [kind, { kept, total }] of Object.entries(sticky)) t.equal(kept, total, kind);
  await clients.stop();
  t.equal(pair.active(), active);
  t.equal(pair.ownership.changes.length, before.changes, 'the VIP did not move');
  t.equal(await rolesSeen(), before.roles, 'no role changed');
});
