import type { Path } from './source.ts';

/** Takes what is wrong with the config. @param at points at the key or, unless told so, at its value */
export type Report = (path: Path, message: string, at?: 'key' | 'value') => void;
