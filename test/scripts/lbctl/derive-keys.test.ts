import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import t, { type Test } from 'tap';
import { clusterKeys } from '../../../common/cluster-keys.ts';
import { PROGRAM_FOLDERS } from '../../../common/programs.ts';
import { deriveKey } from '../../../common/secret.ts';
import { nodeCommand } from '../../common/node.ts';
import { program } from '../../common/programs.ts';
import { tempDir } from '../../common/temp-dir.ts';

const LBCTL = join(import.meta.dirname, '../../../scripts/lbctl.ts');
const SECRET = Buffer.from('0123456789abcdef0123456789abcdef');
const CONFIG = `cluster: { name: shop, nodes: { lb1: { address: 127.0.0.1 }, lb2: { address: 127.0.0.2 } } }
ha: { vips: [{ address: 192.0.2.9/32, interface: lo }] }
frontends: { web: { bind: ["*:80"], mode: http, pool: web } }
pools: { web: { backends: { s1: { address: 127.0.0.1:9000 } } } }
`;
const skip = process.geteuid?.() !== 0 && 'only root may derive keys';

/** A host with the groups of an installation. */
function host(t: Test, groups = 'tandem-lb) echo "$2:x:4001:";;\ntandem-ha) echo "$2:x:4002:";;\n') {
  const directory = tempDir(t);
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  program(bin, 'getent', `#!/bin/sh\ncase $2 in\n${groups}*) exit 2;;\nesac\n`);
  chmodSync(bin, 0o755);
  writeFileSync(join(directory, 'tandem.yaml'), CONFIG);
  writeFileSync(join(directory, 'secret'), SECRET, { mode: 0o600 });
  const env = { TANDEM_PROGRAMS: `${bin}:${PROGRAM_FOLDERS}` };
  const lbctl = (...args: string[]) =>
    execa(...nodeCommand('--disable-sigusr1', LBCTL, ...args), { env, reject: false });
  return { directory, file: join(directory, 'tandem.yaml'), lbctl };
}

t.test('the daemons get their keys, and check follows', { skip }, async (t) => {
  const { directory, file, lbctl } = host(t);
  const { exitCode, stdout, stderr } = await lbctl('derive-keys', file);
  t.same([exitCode, stderr], [0, '']);
  t.match(stdout, /^keys are in \S+secret\.keys\nDaemons that run use them after "lbctl reload"\.$/);
  t.notMatch(stdout, /[0-9a-f]{32}/);
  t.equal(statSync(join(directory, 'secret.keys/sync.key')).gid, 4001);
  t.equal(statSync(join(directory, 'secret.keys/heartbeat.key')).gid, 4002);
  const cluster = { name: 'shop', secretFile: join(directory, 'secret') };
  t.strictSame(clusterKeys(cluster, 'sync'), { sync: [deriveKey(SECRET, 'sync', 'shop')] });
  t.match(JSON.parse((await lbctl('--json', 'derive-keys', file)).stdout), {
    ok: true,
    folders: [join(directory, 'secret.keys')],
  });

  const check = () => lbctl('check', file, '--for', 'lb1');
  t.match(await check(), { exitCode: 0 });
  writeFileSync(join(directory, 'secret'), Buffer.alloc(32, 9));
  t.match(await check(), {
    exitCode: 1,
    stderr:
      /cluster\.secret_file: the folder of keys \S+ has keys that were not derived from \S+secret: as root: lbctl/,
  });
  t.equal((await lbctl('derive-keys', file)).exitCode, 0);
  t.match(await check(), { exitCode: 0 });
});

t.test('what is missing is said, and no key is made', { skip }, async (t) => {
  const { directory, file, lbctl } = host(t, 'tandem-lb) echo "$2:x:4001:";;\n');
  t.match(await lbctl('derive-keys', file), {
    exitCode: 1,
    stderr: 'lbctl: there is no group tandem-ha, which scripts/install makes',
  });
  t.notOk(existsSync(join(directory, 'secret.keys')), 'no key');
  t.match(await lbctl('derive-keys', join(directory, 'none.yaml')), { exitCode: 1, stderr: /none\.yaml/ });
  writeFileSync(file, CONFIG.replace(/^cluster.*\nha.*\n/, ''));
  t.match(await lbctl('derive-keys', file), {
    exitCode: 1,
    stderr: /tandem\.yaml has no cluster, so no keys$/,
  });
});
