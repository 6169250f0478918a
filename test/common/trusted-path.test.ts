import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { whoElseWrites } from '../../common/trusted-path.ts';
import { tempDir } from './temp-dir.ts';

const asRoot = process.getuid?.() === 0;

t.test('programs of the system are trusted', async (t) => {
  t.equal(await whoElseWrites('/usr/bin/env'), undefined);
  t.equal(await whoElseWrites('/bin/sh'), undefined, 'through links');
  t.match(await whoElseWrites('env'), /not an absolute path/);
  t.match(await whoElseWrites('/no/such/program'), /ENOENT/);
});

t.test('the file, a folder above it, and what a link leads to', async (t) => {
  const directory = tempDir(t);
  const folder = join(directory, 'folder');
  const file = join(folder, 'program');
  mkdirSync(folder);
  chmodSync(folder, 0o755);
  writeFileSync(file, '#!/bin/sh\n');
  chmodSync(file, 0o755);
  const link = join(directory, 'link');
  symlinkSync('folder/program', link);
  t.equal(await whoElseWrites(file), undefined);
  t.equal(await whoElseWrites(link), undefined);

  for (const [path, mode, who] of [
    [file, 0o775, /program may be written by group id \d+ \(mode 0775\)/],
    [file, 0o757, /program may be written by every user/],
    [folder, 0o777, /folder may be written by every user/],
  ] as const) {
    chmodSync(path, mode);
    t.match(await whoElseWrites(file), who);
    t.match(await whoElseWrites(link), who, 'by the link, too');
    chmodSync(path, 0o755);
  }
  chmodSync(folder, 0o1777);
  t.equal(await whoElseWrites(file), undefined, 'a sticky folder, as /tmp is');
});

t.test('a folder on the way of a link counts, and links that lead nowhere end', async (t) => {
  const directory = tempDir(t);
  const open = join(directory, 'open');
  mkdirSync(open);
  chmodSync(open, 0o777);
  symlinkSync('/usr/bin/env', join(open, 'second'));
  symlinkSync(join(open, 'second'), join(directory, 'first'));
  t.match(await whoElseWrites(join(directory, 'first')), /open may be written by every user/);
  symlinkSync('round', join(directory, 'round'));
  t.match(await whoElseWrites(join(directory, 'round')), /ELOOP/);
});

t.test('owners', { skip: !asRoot && 'needs root' }, async (t) => {
  const file = join(tempDir(t), 'program');
  writeFileSync(file, '');
  chmodSync(file, 0o700);
  chownSync(file, 4321, 4321);
  t.match(await whoElseWrites(file), /belongs to user id 4321/);
  t.equal(await whoElseWrites(file, [4321]), undefined);
});
