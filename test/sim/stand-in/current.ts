import { type AgentProcess, currentProcess } from '../agent-process.ts';
import type { Surroundings } from '../programs.ts';

let world: Surroundings | undefined;

/** The world in which processes run from now on. */
export function setSurroundings(surroundings: Surroundings): void {
  world = surroundings;
}

export function surroundings(): Surroundings {
  if (world === undefined) throw new Error('there is no simulated world');
  return world;
}

/** The process that asks. */
export function asking(): AgentProcess {
  const process = currentProcess();
  if (process === undefined) throw new Error('no simulated process runs');
  return process;
}
