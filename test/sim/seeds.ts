import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Test } from 'tap';
import type { Played, Range } from './player.ts';

const { env } = process;
/** `SEED=17` replays one seed with its story, `SEEDS=1000000` runs so many, from `FROM` on. */
const ONLY = env.SEED === undefined ? undefined : Number(env.SEED);
const FROM = Number(env.FROM ?? 1);
/** In CI both files together run 20,000 seeds. */
const SEEDS = Number(env.SEEDS ?? (env.CI === undefined ? 1_000 : 10_000));
const PLAYER = new URL('player.ts', import.meta.url);

/** Longest time that a file with that many seeds may take, in milliseconds. */
export const TIMEOUT_MS = 600_000 + SEEDS * 100;

/**
 * Plays a story for each seed, and fails with how to repeat it and its timeline. In a thread of its own: the test runner
 * watches each promise of its thread, which would take longer than the stories.
 *
 * @param story its module has one function of a seed, with the name of the module
 */
export async function play(t: Test, story: Range['story']): Promise<void> {
  const range: Range = { story, from: ONLY ?? FROM, count: ONLY === undefined ? SEEDS : 1 };
  const worker = new Worker(PLAYER, { workerData: range, execArgv: [] });
  const [{ failed, shown, stories }] = (await once(worker, 'message')) as [Played];
  if (ONLY !== undefined) for (const lines of stories) t.comment(`\n${lines.join('\n')}`);
  for (const { seed, problem, lines } of shown) {
    t.fail(`SEED=${seed} node test/sim/${story}.test.ts: ${problem}`, { diagnostic: false });
    if (ONLY === undefined) t.comment(`\n${lines.join('\n')}`);
  }
  t.equal(failed, 0, `${failed} of ${range.count} seeds failed`);
}
