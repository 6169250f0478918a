import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import type { Test } from 'tap';
import type { Played, Range } from './player.ts';

const { env } = process;
/** `SEED=17` replays one seed with its story, `SEEDS=1000000` runs so many, from `FROM` on. */
const ONLY = env.SEED === undefined ? undefined : Number(env.SEED);
const FROM = Number(env.FROM ?? 1);
/** In CI. A story of the agents costs half of what it did when each had a pair of its own: 7 to 12 ms of a busy processor. */
const CI_SEEDS: Readonly<Record<Range['story'], number>> = {
  'one-fault': 10_000,
  'many-faults': 10_000,
  'flow-roles': 5_000,
  'session-sync': 5_000,
};
const SEEDS = env.SEEDS === undefined ? undefined : Number(env.SEEDS);
/** Elsewhere. */
const FEW_SEEDS = 500;
/** Of a thread's young objects, in MiB: hardly one outlives its happening, and each collection looks at those that do. */
const SEMI_SPACE_MB = 64;
const PLAYER = new URL('player.ts', import.meta.url);

/** Longest time that a file may take, in milliseconds. */
export const TIMEOUT_MS = 600_000 + (SEEDS ?? Math.max(...Object.values(CI_SEEDS))) * 100;

/**
 * Plays a story for each seed, and fails with how to repeat it and its timeline. In threads of their own, one a processor:
 * the test runner watches each promise of its thread, which would take longer than the stories.
 *
 * @param story its module has one function of a seed, with the name of the module
 */
export async function play(t: Test, story: Range['story']): Promise<void> {
  setFlagsFromString(`--min-semi-space-size=${SEMI_SPACE_MB}`);
  setFlagsFromString(`--max-semi-space-size=${SEMI_SPACE_MB}`);
  const many = SEEDS ?? (env.CI === undefined ? FEW_SEEDS : CI_SEEDS[story]);
  const count = ONLY === undefined ? many : 1;
  const parts = await Promise.all(ranges(story, ONLY ?? FROM, count).map(playRange));
  const failed = parts.reduce((sum, part) => sum + part.failed, 0);
  const shown = parts.flatMap((part) => part.shown);
  const stories = parts.flatMap((part) => part.stories);
  if (ONLY !== undefined) for (const lines of stories) t.comment(`\n${lines.join('\n')}`);
  for (const { seed, problem, lines } of shown) {
    t.fail(`SEED=${seed} node test/sim/${story}.test.ts: ${problem}`, { diagnostic: false });
    if (ONLY === undefined) t.comment(`\n${lines.join('\n')}`);
  }
  t.equal(failed, 0, `${failed} of ${count} seeds failed`);
}

/** Equal parts for all processors; the last one may be shorter. */
function ranges(story: Range['story'], from: number, count: number): Range[] {
  const size = Math.ceil(count / availableParallelism());
  const starts = Array.from({ length: Math.ceil(count / size) }, (_, i) => from + i * size);
  return starts.map((start) => ({ story, from: start, count: Math.min(size, from + count - start) }));
}

async function playRange(range: Range): Promise<Played> {
  const worker = new Worker(PLAYER, { workerData: range, execArgv: [] });
  const [played] = (await once(worker, 'message')) as [Played];
  return played;
}
