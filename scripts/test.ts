import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Parser, type Result } from 'tap-parser';
import { labMissing } from './lab/missing.ts';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

const total: Counts = { passed: 0, failed: 0, skipped: 0 };

function add(counts: Counts): void {
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
}

/** Runs a program that counts as one test: it passes when its exit code is 0. */
async function check(title: string, file: string, args: string[]): Promise<void> {
  const code = await exitCode(spawn(file, args, { stdio: 'inherit' }));
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${title}`);
  add({ passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 });
}

/** Runs tap over files and counts assertions; a line for each file, all of each failure. */
async function tap(args: string[]): Promise<void> {
  const child = spawn('tap', ['run', '--reporter=tap', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const parser = new Parser();
  /** Of the file that is being read: the TAP of one file comes in one piece. */
  let file: Counts = { passed: 0, failed: 0, skipped: 0 };
  const failedBefore = total.failed;
  let fileResult: Result | undefined;
  parser.on('result', (result: Result) => {
    if (result !== fileResult) countResult(file, result);
  });
  parser.on('assert', (result: Result) => {
    fileResult = result;
    // A file that crashed, or ended before its plan, fails even if every assertion before that passed.
    if (result.skip !== false || (!result.ok && file.failed === 0)) countResult(file, result);
    console.log(`${result.ok ? 'ok    ' : 'FAILED'} ${result.name}  ${describe(file)}`);
    add(file);
    file = { passed: 0, failed: 0, skipped: 0 };
  });
  child.stdout!.pipe(parser);
  const [code] = await Promise.all([exitCode(child), once(parser, 'complete')]);
  if (code !== 0 && total.failed === failedBefore) {
    console.log(`FAILED tap itself: exit ${code}`);
    total.failed++;
  }
}

function countResult(counts: Counts, result: Result): void {
  if (result.skip !== false || result.todo !== false) {
    counts.skipped++;
    console.log(`       skipped: ${result.fullname}: ${result.skip || result.todo}`);
  } else if (result.ok) counts.passed++;
  else {
    counts.failed++;
    console.log(`FAILED ${result.fullname}: ${result.name}`);
    if (result.diag) console.log(JSON.stringify(result.diag, undefined, 2).replaceAll(/^/gm, '       '));
  }
}

/** Such as `3 passed, 0 failed, 1 skipped`. */
function describe({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

async function exitCode(child: ChildProcess): Promise<number> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return code ?? (signal === null ? 1 : 128);
}

// What is quick and telling comes first.
await check('types', 'tsc', ['--noEmit']);
await check('format and lint', 'biome', ['check', '--error-on-warnings', '.']);
// tap leaves one processor aside, so that of two there would be one; most of these files wait for something.
await tap([`--jobs=${Math.max(2, availableParallelism() - 1)}`]);
const labTests = globSync('test/lab/*.test.ts').toSorted();
const missing = labMissing();
if (missing !== undefined) console.log(`The lab's tests are skipped: ${missing}.`);
// One after the other: each builds its own hosts, and they would measure each other's load.
await tap(['--jobs=1', '--timeout=900', ...labTests]);
console.log(describe(total));
process.exitCode = total.failed === 0 ? 0 : 1;
