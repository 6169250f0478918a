import type { KeySchema } from '../../common/json-schema.ts';
import type { Command } from '../lbctl/commands.ts';
import { commandReference } from './command-reference.ts';
import { keyReference, restartKeys } from './key-reference.ts';

/** Text of `docs/reference.md`. */
export function reference(file: KeySchema, commands: readonly Command[]): string {
  return `# Reference

Every key of the config file, and every command of \`lbctl\`. Made from their definitions by \`npm run docs\`, so do not edit
it; \`lbctl schema\` prints the same for editors, as a JSON Schema.

- **X** stands for a name of yours: 1 to 64 letters, digits, \`_\`, \`.\` or \`-\`, the first a letter or digit. \`[]\` is each
  entry of a list.
- **Durations** are a whole number and \`ms\`, \`s\`, \`m\`, \`h\`, \`d\` or \`w\`: \`100ms\`, \`10s\`, \`5m\`. **Sizes** have \`B\`, \`KiB\`,
  \`MiB\` or \`GiB\`: \`64KiB\`. **Files** are relative to the config file where nothing else is said.
- **YAML**: \`<<: *name\` takes in the keys of another mapping, and keys of the top level that begin with \`x-\` are for such anchors
  alone. \`\${NAME}\` and \`\${NAME:-default}\` in a value are of the environment of the daemon (\`Environment=\` of its unit, on both
  nodes alike); \`$\${NAME}\` is that text. \`lbctl check\` takes them
  of your own shell: \`sudo env NAME=value lbctl check FILE\`.
- An unknown key, a value out of its range and a name that leads nowhere are errors, with line and column. \`lbctl check FILE\`
  shows all of them.

## What needs a restart

A change is in force after \`lbctl reload\`, but for these. \`lbd\` takes such a file, goes on with the value that it has and
warns; \`ha-agent\` refuses one with another cluster name or other nodes, and \`lbctl reload\` changes nothing then.

${restartKeys(file)}

${keyReference(file)}

## Commands of \`lbctl\`

\`lbctl [--run-dir DIR] [--json] COMMAND\`: \`--run-dir\` is where the daemons keep their sockets (\`/run/tandem\`), \`--json\` is
for programs. Exit 0: done, or yes; 1: failed and says why, or no; 2: usage; 3: something is down (\`status --check\`).

${commandReference(commands)}
`;
}
