import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** A new empty directory with a short path (a unix socket's may have 107 bytes), gone after the test. */
export function tempDir(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'tandem-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
