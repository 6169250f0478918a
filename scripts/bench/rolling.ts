import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { OperatorError } from '../../common/errors.ts';
import { BACKENDS } from '../lab/hosts.ts';
import { interruptible } from '../lab/interrupt.ts';
import { Lab } from '../lab/lab.ts';
import { startOrigins } from '../lab/origins.ts';
import { Pair } from '../lab/pair.ts';
import { requireWrk, verdict, wrk } from './wrk.ts';

const HELP = `usage: npm run bench -- rolling [--seconds 60]

wrk with 50 connections through the pair, while each backend in turn is drained and made ready again and, in the
middle, the active node hands over. Prints what wrk counted.`;

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { seconds: { type: 'string', default: '60' }, help: { type: 'boolean', default: false } },
  });
  if (values.help) return console.log(HELP);
  const seconds = Number(values.seconds);
  if (!(seconds >= 10 && seconds <= 600)) throw new OperatorError('USAGE', '--seconds: expected 10 to 600');
  requireWrk();
  const lab = await Lab.up();
  try {
    await interruptible(measure(lab, seconds));
  } finally {
    await lab.down();
  }
}

async function measure(lab: Lab, seconds: number): Promise<void> {
  await startOrigins(lab);
  const pair = await Pair.start(lab);
  try {
    const load = wrk(lab, 50, seconds);
    const pauseMs = (seconds * 1000) / (2 * BACKENDS.length + 2);
    const lbctl = async (...command: string[]) => {
      await sleep(pauseMs);
      const { code, stdout, stderr } = await pair.lbctl(pair.active(), ...command);
      console.log(`lbctl ${command.join(' ')}: ${(stdout || stderr).trim()}`);
      if (code !== 0) throw new Error(`lbctl ${command.join(' ')} failed`);
    };
    for (const [i, name] of BACKENDS.entries()) {
      await lbctl('drain', `web/${name}`);
      await lbctl('ready', `web/${name}`);
      if (i === 1) await lbctl('switchover');
    }
    const output = await load;
    console.log(`\n${output}\n${verdict(output)}`);
  } finally {
    await pair.close();
  }
}
