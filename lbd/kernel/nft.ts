import { execa } from 'execa';
import { messageOf, OperatorError } from '../../common/errors.ts';
import { TABLE, type TableObjects } from './ruleset.ts';
import type { TableListing } from './table-listing.ts';

/** A transaction with some thousand elements takes tens of milliseconds on a busy machine. */
const TIMEOUT_MS = 10_000;
/** A ruleset's names, a list of deleted flows. */
const MAX_OUTPUT_CHARS = 64 * 1024 * 1024;
/** Programs of one's own that are remembered, to tell their doing from that of others. */
const MAX_PIDS = 64;

/** Runs `nft` and `conntrack`: all that lbd changes of the host's kernel goes through here. */
export class Nft {
  readonly #pids: number[] = [];

  /** Whether a process was one of ours, lately. */
  isOwn(pid: number): boolean {
    return this.#pids.includes(pid);
  }

  /** Carries out a script in one transaction. @throws OperatorError with the first complaint */
  async apply(script: string): Promise<void> {
    await this.run('nft', ['-f', '-'], script);
  }

  /** Names of what lbd's table holds; undefined: there is no table. @throws OperatorError */
  async objects(): Promise<TableObjects | undefined> {
    const tables = await this.run('nft', ['-j', 'list', 'tables', 'inet']);
    const isOurs = ({ table }: NftObject) => table?.name === TABLE;
    if (!parse(tables).some(isOurs)) return undefined;
    const listed = parse(await this.run('nft', ['-j', '-t', 'list', 'table', 'inet', TABLE]));
    return {
      sets: listed.flatMap(({ set, map }) => [
        ...(set === undefined ? [] : [['set', set.name] as const]),
        ...(map === undefined ? [] : [['map', map.name] as const]),
      ]),
      chains: listed.flatMap(({ chain }) => (chain === undefined ? [] : [chain.name])),
    };
  }

  /** What lbd's table holds in numbers; undefined: there is no table. @throws OperatorError */
  async listing(): Promise<TableListing | undefined> {
    if ((await this.objects()) === undefined) return undefined;
    const listed = parse(await this.run('nft', ['-j', 'list', 'table', 'inet', TABLE]));
    const chains = new Map<string, number>();
    const sets = new Map<string, number>();
    for (const { chain } of listed) if (chain !== undefined) chains.set(chain.name, 0);
    for (const { rule, set, map } of listed) {
      if (rule !== undefined) chains.set(rule.chain, (chains.get(rule.chain) ?? 0) + 1);
      const it = set ?? map;
      if (it !== undefined) sets.set(it.name, it.elem?.length ?? 0);
    }
    return { sets, chains };
  }

  /** Base chains of others at the forward hook whose policy is to drop, as `family table chain`. @throws OperatorError */
  async forwardDrops(): Promise<string[]> {
    return parse(await this.run('nft', ['-j', 'list', 'chains'])).flatMap(({ chain }) =>
      chain?.hook === 'forward' && chain.policy === 'drop' && chain.family !== 'bridge'
        ? [`${chain.family} ${chain.table} ${chain.name}`]
        : [],
    );
  }

  /**
   * Has conntrack forget flows.
   *
   * @param args of `conntrack`, with `-D`
   * @returns how many, and a line for each @throws OperatorError
   */
  async deleteFlows(args: readonly string[]): Promise<{ deleted: number; output: string }> {
    const result = await this.#execute('conntrack', args, '');
    // With none it exits with 1.
    const deleted = deletedCount(result.stderr);
    if (deleted === undefined) throw refusal('conntrack', result);
    return { deleted, output: result.stdout };
  }

  /**
   * @param input for standard input
   * @returns standard output
   * @throws OperatorError `NO_PROGRAM` or `KERNEL_REFUSED`, with the first line of what it says
   */
  async run(program: Program, args: readonly string[], input = ''): Promise<string> {
    const result = await this.#execute(program, args, input);
    if (result.failed) throw refusal(program, result);
    return result.stdout;
  }

  async #execute(program: Program, args: readonly string[], input: string): Promise<Result> {
    const child = execa(program, args, {
      input,
      timeout: TIMEOUT_MS,
      maxBuffer: MAX_OUTPUT_CHARS,
      reject: false,
      env: { LC_ALL: 'C' },
    });
    if (child.pid !== undefined) {
      this.#pids.push(child.pid);
      if (this.#pids.length > MAX_PIDS) this.#pids.shift();
    }
    const result = await child;
    if ((result as { code?: string }).code === 'ENOENT') {
      const debian = program === 'nft' ? 'nftables' : 'conntrack';
      throw new OperatorError(
        'NO_PROGRAM',
        `there is no program "${program}"; install the package ${debian}`,
      );
    }
    return { ...result, shortMessage: result.shortMessage ?? '' };
  }
}

type Program = 'nft' | 'conntrack';

interface Result {
  readonly failed: boolean;
  readonly stdout: string;
  readonly stderr: string;
  readonly shortMessage: string;
}

/** How many flows `conntrack -D` deleted, by what it says on its standard error. */
function deletedCount(text: string): number | undefined {
  const count = /(\d+) flow entries have been deleted/.exec(text)?.[1];
  return count === undefined ? undefined : Number(count);
}

function refusal(program: Program, { stderr, shortMessage }: Result): OperatorError {
  const lines = stderr.split('\n');
  const line = lines.find((it) => /error|not permitted|failed/i.test(it)) ?? (lines[0] || shortMessage);
  return new OperatorError('KERNEL_REFUSED', `${program}: ${line}`);
}

interface NftSetObject {
  readonly name: string;
  readonly elem?: readonly unknown[];
}

interface NftObject {
  readonly table?: { readonly name: string };
  readonly set?: NftSetObject;
  readonly map?: NftSetObject;
  readonly rule?: { readonly chain: string };
  readonly chain?: {
    readonly family: string;
    readonly table: string;
    readonly name: string;
    readonly hook?: string;
    readonly policy?: string;
  };
}

function parse(json: string): readonly NftObject[] {
  try {
    const { nftables } = JSON.parse(json) as { nftables: unknown };
    if (Array.isArray(nftables)) return nftables as NftObject[];
    throw new Error('no list "nftables" in it');
  } catch (error) {
    throw new OperatorError('KERNEL_REFUSED', `nft -j wrote what cannot be read: ${messageOf(error)}`);
  }
}
