import type { Place, Setup } from './setup.ts';

/** A proxy to compare: one worker unless told otherwise, kept-alive connections to the origin, no access log. */
export interface Contender {
  readonly name: string;
  /** Runs just-in-time compiled code, which takes a moment to become what it stays. */
  readonly warmsUp: boolean;
  /** What this machine lacks to run it so, or undefined. */
  lacks(setup: Setup): string | undefined;
  /** Text of its config file; empty where it takes arguments only. */
  config(setup: Setup, place: Place): string;
  /** @param file path of the config */
  argv(setup: Setup, place: Place, file: string): string[];
}
