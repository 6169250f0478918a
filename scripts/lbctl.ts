#!/usr/bin/env -S sh -c 'exec "$(dirname "$(readlink -f "$0")")/node" "$0" "$@"'
import { CommanderError, Command as Program } from 'commander';
import { count } from '../common/count.ts';
import { ConfigError, messageOf, OperatorError, problemLines } from '../common/errors.ts';
import { printable, printableJson } from '../common/printable.ts';
import { VERSION } from '../common/version.ts';
import { COMMANDS, type Command, type Output, UsageError } from './lbctl/commands.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_DOWN = 3;

const program = new Program('lbctl')
  .description('Operates a Tandem load balancer node through the unix sockets of its daemons.')
  .version(VERSION)
  .option('--run-dir <DIR>', 'where the daemons keep their sockets', '/run/tandem')
  .option('--json', 'answer in JSON', false)
  .exitOverride()
  .configureOutput({ outputError: (text, write) => complain(text, 'lbctl', write) })
  .addHelpText(
    'after',
    '\nExit codes: 0 done or yes, 1 failed (the reason is on standard error) or no, 2 usage, 3 something is down (status --check).',
  )
  .configureHelp({ showGlobalOptions: true });
for (const command of COMMANDS) add(command);

// `lbctl events | head` is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  process.stderr.write(`lbctl: cannot write the answer: ${messageOf(error)}\n`);
  process.exit(EXIT_FAILED);
});
// Where nobody takes complaints, the exit code still says how it went.
process.stderr.on('error', () => {});
await program.parseAsync().catch((error: unknown) => {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
});

function add(command: Command): void {
  const sub = program.command(command.name).summary(command.summary).description(command.summary);
  sub.configureOutput({
    outputError: (text, write) => complain(text, `lbctl ${command.name}`, write),
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
      const invocation = { runDir, args: sub.args, options: sub.opts(), json };
      const stream = command.stream?.(invocation);
      if (stream !== undefined) {
        for await (const { text, json: answer } of stream) printNext(text, answer, json);
        return;
      }
      const output = await command.run(invocation);
      print(output, json);
      if (output.no) process.exitCode = EXIT_FAILED;
      if (output.down) process.exitCode = EXIT_DOWN;
    } catch (error) {
      fail(error, json);
    }
  });
}

/** In JSON too, where that was asked for: commander complains before it has read all options. */
function complain(text: string, command: string, write: (text: string) => void): void {
  const line = usageLine(text, command);
  if (process.argv.includes('--json'))
    print({ text: '', json: { ok: false, code: 'USAGE', error: line } }, true);
  write(`lbctl: ${line}\n`);
}

/** Commander's complaint in our form: one line, and where to read on. */
function usageLine(text: string, command: string): string {
  return `${printable(messageOf(text.trim())).replace(/^error: /, '')} (see ${command} --help)`;
}

function print(output: Output, json: boolean): void {
  const text = json ? printableJson(JSON.stringify(output.json, null, 2)) : output.text;
  if (text !== '') process.stdout.write(`${text}\n`);
}

/** One of many answers: a line each for programs. */
function printNext(text: string, answer: unknown, json: boolean): void {
  const line = json ? printableJson(JSON.stringify(answer)) : text;
  if (line !== '') process.stdout.write(`${line}\n`);
}

function fail(error: unknown, json: boolean): void {
  if (error instanceof ConfigError) {
    if (json)
      print({ text: '', json: { ok: false, problems: error.problems, warnings: error.warnings } }, json);
    else
      for (const line of [...problemLines(error), ...error.warnings])
        process.stderr.write(`${printable(line)}\n`);
    process.stderr.write(`lbctl: ${count(error.problems.length, 'problem')}\n`);
  } else {
    const message = messageOf(error);
    const code =
      error instanceof UsageError ? 'USAGE' : error instanceof OperatorError ? error.code : 'FAILED';
    if (json) print({ text: '', json: { ok: false, code, error: message } }, json);
    process.stderr.write(`lbctl: ${printable(message)}\n`);
  }
  process.exitCode = error instanceof UsageError ? EXIT_USAGE : EXIT_FAILED;
}
