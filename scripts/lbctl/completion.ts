import { COMMANDS, type Command } from './commands.ts';

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
_lbctl() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} command= i
  COMPREPLY=()
  [ "$before" = --run-dir ] && { mapfile -t COMPREPLY < <(compgen -d -- "$word"); return; }
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
    --run-dir) i=$((i + 1)) ;;
    -*) ;;
    *) command=\${COMP_WORDS[i]} && break ;;
    esac
  done
  local words=
  case $command in
    '') words='${[...commands.map(({ name }) => name), '--run-dir', '--json', '--help', '--version'].join(' ')}' ;;
${cases}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _lbctl lbctl
`;
}

function answerOf({ args, options = [], repeated = [] }: Command): string {
  const flags = [...[...options, ...repeated].map(([text]) => text.split(' ')[0]), '--help'].join(' ');
  const first = args[0]?.[0] ?? '';
  if (first === '<FILE>') return 'mapfile -t COMPREPLY < <(compgen -f -- "$word"); return';
  if (first === '<POOL/BACKEND>')
    return `words="${flags} $(lbctl backends 2>/dev/null | awk 'NR > 1 && $1 ~ "/" { print $1 }')"`;
  const choices = /^\[(.+\|.+)\]$/.exec(first)?.[1]?.split('|') ?? [];
  return `words='${[...choices, flags].join(' ')}'`;
}

if (import.meta.main) process.stdout.write(bashCompletion(COMMANDS));
