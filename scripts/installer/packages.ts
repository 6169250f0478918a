import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';

/**
 * Copies the production part of a tree's `node_modules`, among it the pinned Node, so that a node without a registry
 * can be installed.
 *
 *     packages.ts SOURCE TARGET
 *
 * Exit 1 and one line when a package is missing or has another version than `package-lock.json` says; then npm has
 * to do it.
 */
interface Lock {
  readonly packages: Readonly<Record<string, Locked>>;
}

interface Locked {
  readonly version?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
}

const [source, target] = process.argv.slice(2) as [string, string];
const lock = JSON.parse(readFileSync(join(source, 'package-lock.json'), 'utf8')) as Lock;
const wanted = Object.entries(lock.packages).filter(([path, { dev }]) => path !== '' && dev !== true);
const here = wanted.filter(([path, { optional }]) => {
  const found = versionOf(join(source, path));
  // The Node of another processor.
  return !(found === undefined && optional === true);
});

const bad = here.find(([path, { version }]) => versionOf(join(source, path)) !== version);
if (bad === undefined) copy();
else {
  const [path, { version }] = bad;
  console.error(
    `${path}: expected version ${version}, found ${versionOf(join(source, path)) ?? 'no such package'}`,
  );
  process.exitCode = 1;
}

function copy(): void {
  // A package's own node_modules are packages of the lock file too.
  for (const [path] of here)
    cpSync(join(source, path), join(target, path), {
      recursive: true,
      filter: (from) => basename(from) !== 'node_modules' && !/\/node-linux-\w+\/(include|share)$/.test(from),
    });
  const bin = join(target, 'node_modules/.bin');
  mkdirSync(bin, { recursive: true });
  symlinkSync(`../node-linux-${process.arch}/bin/node`, join(bin, 'node'));
}

function versionOf(directory: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { version?: string })
      .version;
  } catch {
    return undefined;
  }
}
