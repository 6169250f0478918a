import type { Child } from '../child.ts';
import { type SpawnOptions, spawn } from '../programs.ts';
import { asking, surroundings } from './current.ts';

/** In place of `execa`. */
export function execa(file: string, args: readonly string[] = [], options: SpawnOptions = {}): Child {
  return spawn(asking(), surroundings(), file, args, options);
}

export type ResultPromise = Child;
