#!/usr/bin/env -S node --disable-sigusr1
import { messageOf, OperatorError } from '../../common/errors.ts';
import { LOAD_HELP, LOAD_NAMES, type LoadName } from './data/names.ts';

/**
 * `npm run bench -- NAME [OPTIONS]`. Figures belong here and not into tests: they depend on the machine. Each
 * benchmark is a module with `run(args)`.
 */
interface Bench {
  readonly help: string;
  load(): Promise<{ run(args: string[]): Promise<void> }>;
}

/** A load of the data plane by its own name. */
function dataBench(load: LoadName): Bench {
  const alone = async () => {
    const { run } = await import('./data.ts');
    return { run: (args: string[]) => run([load, ...args]) };
  };
  return { help: LOAD_HELP[load], load: alone };
}

const BENCHES: Readonly<Record<string, Bench>> = {
  data: {
    help: 'the data plane beside HAProxy, nginx and Node: all of the following loads, in a quarter of an hour',
    load: () => import('./data.ts'),
  },
  ...Object.fromEntries(LOAD_NAMES.map((load) => [load, dataBench(load)])),
  failover: {
    help: 'blackout, VIP moves and double ownership over many runs of each fault',
    load: () => import('./failover.ts'),
  },
  switchover: {
    help: 'wrk and 1,000 open connections while the active node hands over again and again',
    load: () => import('./switchover.ts'),
  },
  rolling: {
    help: 'wrk while backends are drained and the active node hands over',
    load: () => import('./rolling.ts'),
  },
  kernel: {
    help: 'the kernel engine beside HAProxy, nginx and no balancer; lag and cost of its flow sync',
    load: () => import('./kernel.ts'),
  },
  flows: {
    help: 'open flows of the kernel engine across faults: resets, pauses, wrong backends',
    load: () => import('./flows.ts'),
  },
  floods: {
    help: 'p99 of traffic under floods of every port and socket of the active node',
    load: () => import('./floods.ts'),
  },
  sync: {
    help: 'session sync: full resync, updates a second, lag',
    load: () => import('./sync.ts'),
  },
};

const [name, ...args] = process.argv.slice(2);
const bench = name !== undefined && Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined;
if (bench === undefined) {
  const lines = Object.entries(BENCHES).map(([known, { help }]) => `  ${known.padEnd(12)}${help}`);
  console.error(`usage: npm run bench -- NAME [--help]\n${lines.join('\n')}`);
  process.exitCode = 2;
} else {
  try {
    await (await bench.load()).run(args);
  } catch (error) {
    console.error(`bench ${name}: ${messageOf(error)}`);
    process.exitCode = error instanceof OperatorError && error.code === 'USAGE' ? 2 : 1;
  }
}
