import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { SHARED } from '../../scripts/lab/holder.ts';
import { NODES, type NodeName } from '../../scripts/lab/hosts.ts';
import type { Lab } from '../../scripts/lab/lab.ts';
import { TOOL_PATH } from '../../scripts/lab/missing.ts';

/** Programs that an agent runs. */
export const HELPERS = ['ip', 'nft', 'arping', 'ndptool', 'socat', 'ping', 'bash', 'timeout'] as const;
export type Helper = (typeof HELPERS)[number];

/**
 * What is wrong with a helper. `delay`: each start, and each batch of lines that a running `ip` gets, takes so many
 * seconds more. `once`: only the next one does. `hang`: until it is freed. `fail`: exit code 1, also of a running `ip`.
 * `die`: killed.
 */
export type Hindrance = `delay ${number}` | `once ${number}` | 'hang' | 'fail' | 'die';

/**
 * It is called like the program in whose place it is, and can be killed like that: then nothing that it has held back
 * happens any more. REAL and CONTROL are replaced.
 */
const WRAPPER = `#!/bin/bash
hold() {
  local how
  while :; do
    how=
    read -r how 2>/dev/null <CONTROL
    case $how in
      'delay '*) sleep "\${how#delay }"; return ;;
      'once '*) if mv CONTROL "CONTROL.$$" 2>/dev/null; then sleep "\${how#once }"; return; fi ;;
      hang) sleep 0.02 ;;
      fail) echo "it is made to fail" >&2; exit 1 ;;
      die) kill -KILL $$ ;;
      *) return ;;
    esac
  done
}
hold
if [[ " $* " != *' -batch - '* ]]; then exec REAL "$@"; fi
exec 3> >(exec REAL "$@")
while :; do
  fresh=1
  if read -r -t 0; then fresh=; fi
  IFS= read -r line || break
  if [ -n "$fresh" ]; then hold; fi
  printf '%s\\n' "$line" >&3
done
exec 3>&-
wait $!
`;

/** Makes a directory that comes first in the PATH of an agent whose helpers shall be hindered. */
export function makeHelpers(directory: string, onHost = directory): void {
  mkdirSync(join(directory, 'bin'), { recursive: true });
  const found = { env: { ...process.env, PATH: TOOL_PATH }, encoding: 'utf8' } as const;
  for (const name of HELPERS) {
    const real = execFileSync('sh', ['-c', `command -v ${name} || true`], found).trim();
    if (real === '') continue;
    const script = WRAPPER.replaceAll('REAL', real).replaceAll('CONTROL', join(onHost, name));
    writeFileSync(join(directory, 'bin', name), script);
    chmodSync(join(directory, 'bin', name), 0o755);
  }
}

/** From now on, also for what runs already. @param how undefined: it is well again */
export function hinder(directory: string, name: Helper, how: Hindrance | undefined): void {
  const control = join(directory, name);
  if (how === undefined) {
    rmSync(control, { force: true });
    return;
  }
  writeFileSync(`${control}.new`, `${how}\n`);
  renameSync(`${control}.new`, control);
}

/** The helpers of both agents of a lab, each to be hindered by itself. */
export class Helpers {
  readonly #lab: Lab;
  readonly #directory: string;

  constructor(lab: Lab) {
    this.#lab = lab;
    this.#directory = join(SHARED, basename(mkdtempSync(lab.outside(join(SHARED, 'helpers-')))));
    for (const node of NODES)
      makeHelpers(lab.outside(join(this.#directory, node)), join(this.#directory, node));
  }

  /** @returns what comes first in the PATH of a node's agent */
  path(node: NodeName): string {
    return join(this.#directory, node, 'bin');
  }

  /** @param how undefined: it is well again */
  hinder(node: NodeName, name: Helper, how: Hindrance | undefined): void {
    hinder(this.#lab.outside(join(this.#directory, node)), name, how);
  }
}
