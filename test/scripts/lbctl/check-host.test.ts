import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import t from 'tap';
import { PROGRAM_FOLDERS } from '../../../common/programs.ts';
import { listensAt } from '../../../scripts/lbctl/check-host.ts';
import { nodeCommand } from '../../common/node.ts';
import { program } from '../../common/programs.ts';
import { tempDir } from '../../common/temp-dir.ts';

const LBCTL = join(import.meta.dirname, '../../../scripts/lbctl.ts');

t.test('ports that a running lbd has itself are not called taken', async (t) => {
  const frontends = {
    web: { mode: 'http', bind: ['*:80', '[::1]:8000-8010'] },
    dns: { mode: 'udp', bind: ['*:53'] },
  } as unknown as Parameters<typeof listensAt>[0]['frontends'];
  const has = (port: number, protocol: 'tcp' | 'udp') =>
    listensAt({ frontends }, { what: 'frontend x', host: '*', port, protocol });
  t.ok(has(80, 'tcp') && has(8005, 'tcp') && has(53, 'udp'));
  t.notOk(has(53, 'tcp') || has(80, 'udp') || has(8011, 'tcp') || has(8080, 'tcp'));
});

t.test(
  'check finds a backend that is this machine, behind a frontend on all of its addresses',
  { skip: process.geteuid?.() !== 0 && 'programs must belong to root' },
  async (t) => {
    const directory = tempDir(t);
    const bin = join(directory, 'bin');
    mkdirSync(bin, { mode: 0o755 });
    const addresses = ['198.51.100.1', '192.0.2.7'].map((local) => ({ local }));
    program(
      bin,
      'ip',
      `#!/bin/sh\necho '${JSON.stringify([{ ifname: 'eth0', flags: ['UP'], addr_info: addresses }])}'\n`,
    );
    const file = join(directory, 'tandem.yaml');
    const check = (cluster: string, ...args: string[]) => {
      writeFileSync(
        file,
        `${cluster}
frontends: { in: { bind: ["*:25204"], mode: tcp, pool: p } }
pools: { p: { backends: { s1: { address: "192.0.2.7:25204" } } } }
`,
      );
      const env = { TANDEM_PROGRAMS: `${bin}:${PROGRAM_FOLDERS}` };
      return execa(...nodeCommand('--disable-sigusr1', LBCTL, 'check', file, ...args), {
        env,
        reject: false,
      });
    };
    const found =
      /^\S+tandem\.yaml:\d+:\d+: (?:warning: )?pools\.p\.backends\.s1\.address: found 192\.0\.2\.7:25204, an address of this machine where frontends\.in listens: what it gets would go round for ever$/m;
    const pair = `cluster: { name: shop, nodes: { a: { address: 198.51.100.1 }, b: { address: 198.51.100.2 } } }
ha: { vips: [{ address: 192.0.2.9/32, interface: eth0 }] }`;
    const here = await check(pair, '--for', 'a');
    t.match(here.stderr, found);
    t.equal(here.exitCode, 1);
    t.match(await check(pair, '--for', 'b'), { exitCode: 0 }, 'of another machine it is not known');
    t.match(await check(''), { exitCode: 0, stdout: found }, 'a file that names no machine: a warning');
  },
);
