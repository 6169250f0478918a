import { COMMANDS, type Command } from './commands.ts';

/** POOL/BACKEND, both as `name` of the schema takes them. */
const BACKEND_NAME = '[A-Za-z0-9][A-Za-z0-9_.-]{0,63}/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}';
/** Nobody reads through more. */
const MAX_BACKENDS = 4096;

/**
 * Prints the completion of `lbctl` for bash, made from the table of commands:
 *
 *     node scripts/lbctl/completion.ts > /usr/local/share/bash-completion/completions/lbctl
 *
 * Backends are those that `lbctl backends` lists at that moment.
 */
export function bashCompletion(commands: readonly Command[]): string {
  const cases = commands.map((command) => `    ${command.name}) ${answerOf(command)} ;;`).join('\n');
  return `# Completion of lbctl for bash, made by scripts/lbctl/completion.ts.
# Root presses TAB, and names come from a socket that others may have replaced: nothing here evaluates them (as compgen -W
# would), and only names of a config are offered.
_lbctl() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} command='' i
  COMPREPLY=()
  if [ "$before" = --run-dir ]; then _lbctl_files -d; return; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
    --run-dir) i=$((i + 1)) ;;
    -*) ;;
    *) command=\${COMP_WORDS[i]} && break ;;
    esac
  done
  case $command in
    '') _lbctl_words ${[...commands.map(({ name }) => name), '--run-dir', '--json', '--help', '--version'].join(' ')} ;;
${cases}
  esac
}
_lbctl_words() {
  local each
  for each; do
    case $each in "$word"*) COMPREPLY+=("$each") ;; esac
  done
}
_lbctl_backends() {
  local line LC_ALL=C
  while read -r line _; do
    if [[ $line =~ ^${BACKEND_NAME}$ ]]; then _lbctl_words "$line"; fi
  done < <(lbctl backends 2>/dev/null | head -n ${MAX_BACKENDS})
}
# Readline quotes what it is told to be the name of a file.
_lbctl_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$word")
}
complete -F _lbctl lbctl
`;
}

function answerOf({ args, options = [], repeated = [] }: Command): string {
  const flags = [...[...options, ...repeated].map(([text]) => text.split(' ')[0]), '--help'].join(' ');
  const first = args[0]?.[0] ?? '';
  if (first === '<FILE>' || first === '[FILE]') return '_lbctl_files -f';
  if (first === '<POOL/BACKEND>' || first === '[FILTER]') return `_lbctl_words ${flags}; _lbctl_backends`;
  const choices = /^\[(.+\|.+)\]$/.exec(first)?.[1]?.split('|') ?? [];
  return `_lbctl_words ${[...choices, flags].join(' ')}`;
}

if (import.meta.main) process.stdout.write(bashCompletion(COMMANDS));
