import { type ParseArgsConfig, parseArgs } from 'node:util';
import { messageOf, OperatorError } from '../../common/errors.ts';

/** Options as `parseArgs` of Node gives them. @throws OperatorError for what it does not know */
export function parsed<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    throw new OperatorError('USAGE', messageOf(error), { cause: error });
  }
}

/** @throws OperatorError naming the option */
export function whole(name: string, text: string, least: number, most: number): number {
  if (/^\d+$/.test(text)) return number(name, text, least, most);
  throw new OperatorError('USAGE', `--${name} must be a whole number: it is ${text}`);
}

/** @throws OperatorError naming the option */
export function number(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (value >= least && value <= most) return value;
  throw new OperatorError('USAGE', `--${name} must be a number from ${least} to ${most}: it is ${text}`);
}
