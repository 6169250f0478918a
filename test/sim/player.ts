import { parentPort, workerData } from 'node:worker_threads';
import { manyFaults } from './many-faults.ts';
import { oneFaultOf } from './one-fault.ts';

/** Which stories a thread plays. */
export interface Range {
  readonly story: keyof typeof STORIES;
  readonly from: number;
  readonly count: number;
}

export interface Played {
  readonly failed: number;
  /** Some of those that failed. */
  readonly shown: readonly {
    readonly seed: number;
    readonly problem: string;
    readonly lines: readonly string[];
  }[];
  /** Of a lone seed. */
  readonly stories: readonly (readonly string[])[];
}

const STORIES = { 'one-fault': oneFaultOf, 'many-faults': manyFaults };
const MOST_SHOWN = 3;
/** The event loop gets a turn after so many seeds. */
const BREATH = 50;

async function play({ story, from, count }: Range): Promise<Played> {
  const shown: Played['shown'][number][] = [];
  const stories: (readonly string[])[] = [];
  let failed = 0;
  for (let seed = from; seed < from + count; seed++) {
    const { problems, lines } = await STORIES[story](seed);
    if (count === 1) stories.push(lines);
    if (seed % BREATH === 0) await new Promise((resolve) => setImmediate(resolve));
    const [problem] = problems;
    if (problem === undefined) continue;
    failed++;
    if (shown.length < MOST_SHOWN) shown.push({ seed, problem, lines });
  }
  return { failed, shown, stories };
}

parentPort!.postMessage(await play(workerData as Range));
