import { basename } from 'node:path';
import type { AgentProcess } from './agent-process.ts';
import { Child, type Program } from './child.ts';
import { guardian } from './guardian-program.ts';
import { JobQueue } from './job-queue.ts';
import type { Lbd } from './lbd.ts';
import type { Machine } from './machine.ts';
import type { Network } from './network.ts';

/** Milliseconds that a program usually takes for one thing, at most. */
const USUAL_MS = { ip: 0.4, nft: 8, announcer: 4, witness: 3, command: 30, version: 4 } as const;
/** A witness that does not answer. */
const NO_ANSWER = 1;
/** Exit code of a program that `timeout -s KILL` has ended. */
const KILLED = 137;

/** What the programs of a machine can reach and change. */
export interface Surroundings {
  readonly network: Network;
  lbdOf(machine: Machine): Lbd;
  /** Whether an address beyond the peer answers this machine. */
  witnessAnswers(machine: Machine, address: string): boolean;
  /** An address was announced to the neighbours. */
  announced(machine: Machine, address: string): void;
  /** An operator's command was called. */
  called(machine: Machine, command: readonly string[]): void;
}

export interface SpawnOptions {
  readonly reject?: boolean;
  readonly timeout?: number;
  readonly cleanup?: boolean;
}

/** Starts a program of the agent, as `execa(file, args, options)` would. */
export function spawn(
  parent: AgentProcess,
  surroundings: Surroundings,
  file: string,
  args: readonly string[],
  { reject = true, timeout = Number.POSITIVE_INFINITY }: SpawnOptions = {},
): Child {
  const { machine } = parent;
  const name = file === 'bash' ? basename(args[0] ?? '') : basename(file);
  const child = new Child(parent, name, reject);
  if (machine.missing.has(file)) {
    child.begin({ line: () => {}, end: () => {} });
    child.exit({ code: 'ENOENT' });
    return child;
  }
  const queue = new JobQueue(machine, child);
  const endsWithInput = { end: () => queue.end(() => child.exit()) };
  const once = (program: string, usualMs: number, run: () => void) => {
    queue.add(
      program,
      usualMs,
      (outcome) => {
        run();
        child.exit(
          outcome === 'done'
            ? { exitCode: 0 }
            : outcome === 'late'
              ? { signal: 'SIGTERM', timedOut: true }
              : { exitCode: 1 },
        );
      },
      timeout > 0 ? timeout : undefined,
    );
    return { line: () => {}, end: () => {} };
  };
  const program = (): Program => {
    if (file === 'ip') return { ...endsWithInput, ...ipBatch(machine, child, queue) };
    if (name === 'guardian.sh') return guardian(machine, child, surroundings, args.slice(1));
    if (name === 'nft.sh') return { ...endsWithInput, ...nftShell(machine, child, queue) };
    if (name === 'announcer.sh')
      return { ...endsWithInput, ...announcer(machine, child, queue, surroundings) };
    if (name === 'witness.sh') return witness(machine, child, surroundings, args.slice(1));
    if (name === '--norc') return monitor(machine, child);
    if (name === 'socat') return socat(machine, child, queue, surroundings);
    if (name === 'arping' || name === 'ndptool') return once(name, USUAL_MS.version, () => {});
    return once('command', USUAL_MS.command, () => surroundings.called(machine, [file, ...args]));
  };
  return child.begin(program());
}

/** `ip -json -force -batch -`. */
function ipBatch(machine: Machine, child: Child, queue: JobQueue): Pick<Program, 'line'> {
  let number = 0;
  return {
    line: (text) =>
      queue.add('ip', USUAL_MS.ip, (outcome) => {
        number++;
        // What only looks at something works all the same.
        const refused = outcome === 'failed' && /^(?:addr|route) (?!show)/.test(text);
        const result = refused
          ? { error: 'RTNETLINK answers: Cannot allocate memory' }
          : machine.kernel.run(text);
        if ('out' in result) child.say(`${result.out}\n`);
        if (result.error !== undefined) child.say(`${result.error}\nCommand failed -:${number}\n`, 'stderr');
      }),
  };
}

/** `nft.sh`: a line is `TIMEOUT SCRIPT`, answered by the exit code. */
function nftShell({ kernel }: Machine, child: Child, queue: JobQueue): Pick<Program, 'line'> {
  return {
    line: (text) => {
      const at = text.indexOf(' ');
      const script = text.slice(at + 1).split('\x01');
      queue.add(
        'nft',
        USUAL_MS.nft,
        (outcome) => {
          if (outcome === 'done') runNft(kernel.tables, script);
          child.say(
            { done: '0 \n', failed: '1 Error: Could not process rule\n', late: `${KILLED} \n` }[outcome],
          );
        },
        1_000 * Number(text.slice(0, at)),
      );
    },
  };
}

/** Which tables are there afterwards. */
export function runNft(tables: Set<string>, script: readonly string[]): void {
  for (const line of script) {
    const [, remove, name] = /^(delete )?table ip6? (\S+)/.exec(line) ?? [];
    if (name === undefined) continue;
    const key = line.replace('delete ', '').replace(/ \{$/, '');
    if (remove === undefined) tables.add(key);
    else tables.delete(key);
  }
}

/** `announcer.sh`: a line is `TOOL INTERFACE ADDRESS`. */
function announcer(
  machine: Machine,
  child: Child,
  queue: JobQueue,
  { announced }: Surroundings,
): Pick<Program, 'line'> {
  return {
    line: (text) =>
      queue.add('announcer', USUAL_MS.announcer, (outcome) => {
        if (outcome === 'done') announced(machine, text.split(' ')[2] ?? '');
        child.say(`${text} ${outcome === 'done' ? 0 : 2}\n`);
      }),
  };
}

/** Puts frames on the wire; of a gratuitous ARP request bytes 38 to 41 are the address. */
function socat(machine: Machine, child: Child, queue: JobQueue, { announced }: Surroundings): Program {
  return {
    line: () => {},
    bytes: (frame) => {
      queue.add('socat', 0.1, (outcome) => {
        if (outcome === 'done') announced(machine, frame.subarray(38, 42).join('.'));
        child.say('> length=86\n', 'stderr');
      });
    },
    end: () => queue.end(() => child.exit()),
  };
}

/** `ip monitor link` in a shell: says something whenever the state of an interface changes. */
function monitor(machine: Machine, child: Child): Program {
  const tell = (line: string) =>
    machine.after('helper', 0.5 * machine.random(), () => child.say(`${line}\n`));
  machine.kernel.monitors.add(tell);
  return {
    line: () => {},
    end: () => child.exit(),
    killed: () => machine.kernel.monitors.delete(tell),
  };
}

/** `witness.sh TIMEOUT [TOOL INTERFACE ADDRESS]...`: for each number on its input a line for each address. */
function witness(machine: Machine, child: Child, world: Surroundings, args: readonly string[]): Program {
  const timeoutMs = 1_000 * Number(args[0]);
  const addresses = args.slice(1).filter((_, i) => i % 3 === 2);
  return {
    line: (number) => {
      for (const address of addresses) {
        const pace = machine.pace('witness', USUAL_MS.witness);
        if (pace === 'hang') {
          child.lingers = true;
          continue;
        }
        const answers =
          typeof pace === 'number' && pace < timeoutMs && world.witnessAnswers(machine, address);
        machine.after('helper', answers ? (pace as number) : timeoutMs, () => {
          const code = answers && world.witnessAnswers(machine, address) ? 0 : NO_ANSWER;
          if (child.running) child.say(`${number} ${address} ${code}\n`);
        });
      }
    },
    end: () => child.exit(),
  };
}
