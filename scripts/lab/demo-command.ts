import { parseArgs } from 'node:util';
import { messageOf } from '../../common/errors.ts';
import { FAULT_NAMES, FAULTS, type FaultName, isFault } from './faults.ts';
import { exitCodeOf, interruptible } from './interrupt.ts';

/** What a demo does: tells its steps through `say`, and returns its result with what is not as it must be. */
export type Demo = (fault: FaultName, say: (text: string) => void) => Promise<object>;

/**
 * Runs a demo from its command line and sets the exit code: 0 all as it must be, 1 not, 2 wrong usage.
 *
 * @param name of the program, for messages
 * @param faults that can happen where it runs
 * @param withDemo makes what the demo needs, calls back once, and cleans up however that ends
 */
export async function demoCommand(
  name: string,
  about: string,
  withDemo: (run: (demo: Demo) => Promise<void>) => Promise<void>,
  faults: readonly FaultName[] = FAULT_NAMES,
): Promise<void> {
  const list = faults.map((fault) => `  ${fault.padEnd(15)}${FAULTS[fault].title}`).join('\n');
  const usage = `usage: scripts/${name} [--fault NAME] [--json]\n\n${about}\n\n${list}`;
  try {
    const options = parse(name, usage, faults);
    if (options === undefined) return;
    const { fault, json } = options;
    await withDemo(async (demo) => {
      const say = json ? () => {} : (text: string) => console.log(text);
      const result = await interruptible(demo(fault, say));
      if (json) console.log(JSON.stringify(result));
      process.exitCode = (result as { broken: string[] }).broken.length === 0 ? 0 : 1;
    });
  } catch (error) {
    console.error(`${name}: ${messageOf(error)}`);
    process.exitCode = exitCodeOf(error);
  }
}

function parse(
  name: string,
  usage: string,
  faults: readonly FaultName[],
): { fault: FaultName; json: boolean } | undefined {
  try {
    const { values } = parseArgs({
      options: {
        fault: { type: 'string', default: 'cut' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    const { fault, json } = values;
    if (!isFault(fault) || !faults.includes(fault))
      throw new Error(`--fault ${fault}: expected ${faults.join(', ')}`);
    if (!values.help) return { fault, json };
    console.log(usage);
  } catch (error) {
    console.error(`${name}: ${messageOf(error)}\n${usage}`);
    process.exitCode = 2;
  }
  return undefined;
}
