#!/usr/bin/env -S node --disable-sigusr1
import { Command as Program } from 'commander';
import { ConfigError, messageOf } from '../common/errors.ts';
import { printable, printableJson } from '../common/printable.ts';
import { VERSION } from '../common/version.ts';
import { COMMANDS, type Command, type Output, UsageError } from './lbctl/commands.ts';
import { count } from './lbctl/format.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

const program = new Program('lbctl')
  .description('Operates a Tandem load balancer node through the unix sockets of its daemons.')
  .version(VERSION)
  .option('--run-dir <DIR>', 'where the daemons keep their sockets', '/run/tandem')
  .option('--json', 'answer in JSON', false)
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : EXIT_USAGE))
  .configureOutput({ outputError: (text, write) => write(`lbctl: ${usageLine(text, 'lbctl')}\n`) })
  .addHelpText(
    'after',
    '\nExit codes: 0 done or yes, 1 failed (the reason is on standard error) or no, 2 usage.',
  );
for (const command of COMMANDS) add(command);

// `lbctl events | head` is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});
await program.parseAsync();

function add(command: Command): void {
  const sub = program.command(command.name).summary(command.summary).description(command.summary);
  sub.configureOutput({
    outputError: (text, write) => write(`lbctl: ${usageLine(text, `lbctl ${command.name}`)}\n`),
  });
  for (const [name, help] of command.args) sub.argument(name, help);
  for (const [flags, help] of command.options ?? []) sub.option(flags, help);
  for (const [flags, help] of command.repeated ?? [])
    sub.option(flags, help, (value: string, before?: string) =>
      before === undefined ? value : `${before}\n${value}`,
    );
  sub.action(async () => {
    const { runDir, json } = program.opts<{ runDir: string; json: boolean }>();
    try {
      const output = await command.run({ runDir, args: sub.args, options: sub.opts() });
      print(output, json);
      if (output.no) process.exitCode = EXIT_FAILED;
    } catch (error) {
      fail(error, json);
    }
  });
}

/** Commander's complaint in our form: one line, and where to read on. */
function usageLine(text: string, command: string): string {
  return `${printable(messageOf(text.trim())).replace(/^error: /, '')} (see ${command} --help)`;
}

function print(output: Output, json: boolean): void {
  const text = json ? printableJson(JSON.stringify(output.json, null, 2)) : output.text;
  if (text !== '') process.stdout.write(`${text}\n`);
}

function fail(error: unknown, json: boolean): void {
  if (error instanceof ConfigError) {
    if (json) print({ text: '', json: { ok: false, problems: error.problems } }, json);
    else
      for (const { where, message } of error.problems)
        process.stderr.write(`${printable(`${where}: ${message}`)}\n`);
    process.stderr.write(`lbctl: ${count(error.problems.length, 'problem')}\n`);
  } else process.stderr.write(`lbctl: ${printable(messageOf(error))}\n`);
  process.exitCode = error instanceof UsageError ? EXIT_USAGE : EXIT_FAILED;
}
