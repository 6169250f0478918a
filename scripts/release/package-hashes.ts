#!/usr/bin/env -S node --disable-sigusr1
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

/**
 * Makes the file `package-hashes`: the lock file has hashes of tarballs, which cannot be compared with packages that are
 * unpacked, so the tarballs are fetched, compared with the lock file, unpacked, and hashed as an install finds them.
 *
 *     scripts/release/package-hashes.ts > package-hashes        after each change of package-lock.json
 */
export interface LockedPackage {
  /** Below the tree, such as `node_modules/zod`. */
  readonly path: string;
  readonly version: string;
  /** Of the tarball, as the lock file says it. */
  readonly integrity: string;
  readonly optional: boolean;
}

const ROOT = join(import.meta.dirname, '../..');
const HEAD =
  '# SHA-256 of the files of each production package, integrity of its tarball in package-lock.json, path.\n# Made by scripts/release/package-hashes.ts.\n';

/** @returns the packages of production, in the order of the lock file */
export function lockedPackages(lock: string): LockedPackage[] {
  const { packages } = JSON.parse(lock) as {
    packages: Record<string, { version: string; integrity: string; dev?: boolean; optional?: boolean }>;
  };
  return Object.entries(packages)
    .filter(([path, { dev }]) => path !== '' && dev !== true)
    .map(([path, { version, integrity, optional }]) => ({
      path,
      version,
      integrity,
      optional: optional === true,
    }));
}

/** @returns the hash that `scripts/install` compares, see `digest_of` there */
export function digestOf(folder: string): string {
  const script = '. "$1"; digest_of "$2"';
  const shell = ['-c', script, 'sh', join(ROOT, 'scripts/installer/packages.sh'), folder];
  return execFileSync('sh', shell, { encoding: 'utf8' }).trim();
}

function make(scratch: string): string {
  const packages = lockedPackages(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
  const lines = packages.map(({ path, version, integrity, optional }) => {
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
    const args = ['pack', `${name}@${version}`, '--json', '--ignore-scripts', '--pack-destination', scratch];
    const [packed] = JSON.parse(
      execFileSync('npm', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
    );
    const tarball = join(scratch, basename(packed.filename));
    const found = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`;
    if (found !== integrity)
      throw new Error(`${path}: the tarball is ${found}, the lock file says ${integrity}`);
    const folder = join(scratch, 'packages', basename(path));
    mkdirSync(folder, { recursive: true });
    execFileSync('tar', ['-C', folder, '--strip-components=1', '--no-same-owner', '-xzf', tarball]);
    const digest = digestOf(folder);
    rmSync(folder, { recursive: true });
    rmSync(tarball);
    return `${digest} ${integrity} ${path}${optional ? ' optional' : ''}\n`;
  });
  return `${HEAD}${lines.join('')}`;
}

if (import.meta.main) {
  const scratch = mkdtempSync(join(tmpdir(), 'tandem-packages-'));
  try {
    process.stdout.write(make(scratch));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
