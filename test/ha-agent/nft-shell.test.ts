import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { NftShell } from '../../ha-agent/nft-shell.ts';
import { refusedPriority } from '../common/refused-priority.ts';
import { tempDir } from '../common/temp-dir.ts';

/** @param nft what `nft` does, for sh; undefined: there is none @returns a shell, and what `nft` was told */
function shellWith(t: Test, nft: string | undefined): { shell: NftShell; told: () => string } {
  const directory = tempDir(t);
  const bin = join(directory, 'bin');
  const out = join(directory, 'told');
  mkdirSync(bin);
  if (nft === undefined)
    for (const name of ['bash', 'nice', 'timeout']) symlinkSync(`/usr/bin/${name}`, join(bin, name));
  else {
    writeFileSync(join(bin, 'nft'), `#!/bin/sh\n${nft.replaceAll('OUT', out)}\n`);
    chmodSync(join(bin, 'nft'), 0o755);
  }
  const before = process.env.PATH;
  process.env.PATH = nft === undefined ? bin : `${bin}${delimiter}${before}`;
  const shell = new NftShell();
  t.teardown(() => {
    process.env.PATH = before;
    shell.close();
  });
  return { shell, told: () => readFileSync(out, 'utf8') };
}

t.test('scripts get there as they are, one after the other', async (t) => {
  const { shell, told } = shellWith(t, 'cat >>OUT; echo done >>OUT');
  const scripts = ['table ip x {\n\tchain y { }\n}\n', `add "$(id)" \\n 'a' *; \`b\`\n`, ''];
  await Promise.all(scripts.map((script) => shell.run(script, 60_000)));
  t.equal(told(), scripts.map((script) => `${script}\ndone\n`).join(''));
});

t.test('what goes wrong is said, and the next one is carried out', async (t) => {
  const { shell } = shellWith(
    t,
    'read -r word; [ "$word" = good ] && exit 0; echo "line 1: $word" >&2; echo more >&2; exit 1',
  );
  const [bad, good] = await Promise.allSettled([shell.run('bad\n', 60_000), shell.run('good\n', 60_000)]);
  t.match(bad, { status: 'rejected', reason: { code: 'NFT_FAILED', message: 'nft: line 1: bad' } });
  t.match(good, { status: 'fulfilled' });
});

t.test('where priorities may not be changed its own words are told all the same', async (t) => {
  const { shell } = shellWith(t, 'echo "line 1: bad" >&2; exit 1');
  shell.close();
  const code = `import { NftShell } from ${JSON.stringify(String(new URL('../../ha-agent/nft-shell.ts', import.meta.url)))};
    const shell = new NftShell();
    await shell.run('x', 60_000).catch(({ message }) => console.log(message));
    shell.close();`;
  const [file, args] = refusedPriority('--input-type=module', '-e', code);
  const { stdout } = await promisify(execFile)(file, args);
  t.equal(stdout, 'nft: line 1: bad\n');
});

t.test('one that hangs is killed', async (t) => {
  const { shell } = shellWith(t, 'exec sleep 300');
  await t.rejects(shell.run('x\n', 50), { code: 'NFT_FAILED', message: 'nft: took longer than 50 ms' });
});

t.test('a shell that stands still is ended, and another one goes on', async (t) => {
  const { shell, told } = shellWith(t, 'cat >>OUT');
  const [bin = ''] = process.env.PATH!.split(delimiter);
  const stall = join(bin, 'stall');
  writeFileSync(join(bin, 'bash'), `#!/bin/sh\n[ -e ${stall} ] && exec sleep 300\nexec /bin/bash "$@"\n`);
  chmodSync(join(bin, 'bash'), 0o755);
  writeFileSync(stall, '');
  await t.rejects(shell.run('x\n', 50), { code: 'NFT_FAILED', message: 'nft: no answer within 550 ms' });
  rmSync(stall);
  await shell.run('y\n', 60_000);
  t.equal(told(), 'y\n\n');
});

t.test('no nft', async (t) => {
  const { shell } = shellWith(t, undefined);
  await t.rejects(shell.run('x\n', 60_000), {
    code: 'NO_NFT',
    message: 'there is no program "nft"; install nftables',
  });
});

t.test('what waits when the agent stops is not heard of any more', async (t) => {
  const { shell } = shellWith(t, 'cat >/dev/null; sleep 1');
  const run = shell.run('x\n', 60_000);
  shell.close();
  await t.rejects(run, { message: 'nft: the agent is stopping' });
});
