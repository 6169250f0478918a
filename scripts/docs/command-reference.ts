import type { Command } from '../lbctl/commands.ts';
import { code, prose, table } from './markdown.ts';

/** The section of the reference with the commands of lbctl. */
export function commandReference(commands: readonly Command[]): string {
  return table(['command', 'what it does', 'arguments and options'], commands.map(rowOf));
}

function rowOf({ name, args, summary, options = [], repeated = [] }: Command): string[] {
  const usage = [name, ...args.map(([argument]) => argument)].join(' ');
  const details = [...args, ...options, ...repeated].map(([what, help]) => `${code(what)}: ${prose(help)}`);
  return [
    code(usage).replaceAll('|', '\\|'),
    prose(summary),
    details.join('<br>').replaceAll(/(?<!\\)\|/g, '\\|'),
  ];
}
