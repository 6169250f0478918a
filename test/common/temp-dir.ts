import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import type { Test } from 'tap';

/** A new empty directory with a short path (a unix socket's may have 107 bytes), gone after the test. */
export function tempDir(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'tandem-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** @returns the paths, from the directory on, of all in it and below that is not a directory */
export function filesIn(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map(({ parentPath, name }) => relative(directory, join(parentPath, name)));
}
