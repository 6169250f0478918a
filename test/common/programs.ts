import { chmodSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Test } from 'tap';
import { tempDir } from './temp-dir.ts';

/** Writes an executable script. @returns its path */
export function program(directory: string, name: string, script: string): string {
  const path = join(directory, name);
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  return path;
}

/** An empty directory that comes first in the PATH of this process until the test ends. */
export function firstInPath(t: Test): string {
  const directory = tempDir(t);
  const before = process.env.PATH;
  process.env.PATH = `${directory}${delimiter}${before}`;
  t.teardown(() => {
    process.env.PATH = before;
  });
  return directory;
}
