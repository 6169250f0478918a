import { parentPort, workerData } from 'node:worker_threads';
import type { Outcome } from './series.ts';

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

/** Each with what it needs alone: to load the agents takes longer than to play a hundred stories without them. */
const STORIES = {
  'one-fault': async () => (await import('./one-fault.ts')).oneFaultOf,
  'many-faults': async () => (await import('./many-faults.ts')).manyFaultsOf,
  'flow-roles': async () => (await import('./flow-roles.ts')).flowRoles,
  'session-sync': async () => (await import('./session-sync.ts')).sessionSync,
} satisfies Record<string, () => Promise<(seed: number) => Outcome>>;
const MOST_SHOWN = 3;

async function play({ story, from, count }: Range): Promise<Played> {
  const shown: Played['shown'][number][] = [];
  const stories: (readonly string[])[] = [];
  const tell = await STORIES[story]();
  let failed = 0;
  for (let seed = from; seed < from + count; seed++) {
    const { problems, lines } = await inTurn(() => tell(seed));
    if (count === 1) stories.push(lines);
    const [problem] = problems;
    if (problem === undefined) continue;
    failed++;
    if (shown.length < MOST_SHOWN) shown.push({ seed, problem, lines });
  }
  return { failed, shown, stories };
}

/** Plays in a turn of the event loop of its own: a story keeps its promises itself, see `Simulation.runUntil`. */
function inTurn<R>(play: () => R): Promise<R> {
  return new Promise((resolve, reject) =>
    setImmediate(() => {
      try {
        resolve(play());
      } catch (error) {
        reject(error);
      }
    }),
  );
}

parentPort!.postMessage(await play(workerData as Range));
