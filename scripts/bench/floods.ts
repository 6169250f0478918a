import { resolve } from 'node:path';
import { OperatorError } from '../../common/errors.ts';
import { ATTACKS, type Attack } from '../lab/floods/attacks.ts';
import { interruptible } from '../lab/interrupt.ts';
import { Lab } from '../lab/lab.ts';
import { startOrigins } from '../lab/origins.ts';
import { drawn, markdown } from './data/report.ts';
import { measure, type Plan } from './floods/measure.ts';
import { ratio, tableOf } from './floods/report.ts';
import { parsed, whole } from './options.ts';

const HELP = `usage: npm run bench -- floods [--attack WORDS …] [--rounds 5] [--seconds 2] [--rate 20000] [--tree DIR] [--json | --markdown]

p99 of steady HTTP traffic through the VIP, without and with floods of every port and socket of the active node, by a user
of the node that owns nothing, by an operator, and by a host of the network. Each round has a window without a flood, one
with the same flood aimed at a program that does nothing with it (the control), and one with the flood. So the first
quotient has in it what the flood itself takes from this machine, and the second one is what the daemons add to that.

  --attack WORDS  those whose name or attacker has these words; may be given several times
  --rounds N      rounds of each
  --seconds N     of a window
  --rate N        datagrams a second, at most; connections a 20th of it, handshakes a 200th
  --tree DIR      the daemons are those of another source tree

Floods run at nice 19: hosts of a real network do not take the processors of the node.`;

export async function run(args: string[]): Promise<void> {
  const { values } = parsed({
    args,
    options: {
      attack: { type: 'string', multiple: true },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '2' },
      rate: { type: 'string', default: '20000' },
      tree: { type: 'string' },
      json: { type: 'boolean', default: false },
      markdown: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const plan: Plan = {
    attacks: chosen(values.attack),
    rounds: whole('rounds', values.rounds, 1, 1000),
    seconds: whole('seconds', values.seconds, 1, 60),
    perSecond: whole('rate', values.rate, 200, 1_000_000),
    tree: values.tree === undefined ? undefined : resolve(values.tree),
  };
  const lab = await Lab.up();
  try {
    await startOrigins(lab);
    const rows = await interruptible(
      measure(lab, plan, (row) => {
        const [quiet, control] = [ratio(row.rounds, 'quiet')[0]!, ratio(row.rounds, 'control')[0]!];
        console.error(
          `${row.name}, by ${row.by}: ${quiet.toFixed(2)} × without, ${control.toFixed(2)} × control`,
        );
      }),
    );
    if (values.json) console.log(JSON.stringify(rows));
    else console.log((values.markdown ? markdown : drawn)(tableOf(rows)));
  } finally {
    await lab.down();
  }
}

/** @throws OperatorError where words name none */
function chosen(words: readonly string[] | undefined): readonly Attack[] {
  const isRoot = process.getuid?.() === 0;
  const possible = ATTACKS.filter(({ by }) => by !== 'stranger' || isRoot);
  if (words === undefined) return possible;
  const label = ({ name, by }: Attack) => `${name}, by ${by}`;
  for (const word of words)
    if (!possible.some((attack) => label(attack).includes(word)))
      throw new OperatorError(
        'USAGE',
        `--attack ${word}: there are ${possible.map((attack) => `"${label(attack)}"`).join('; ')}`,
      );
  return possible.filter((attack) => words.some((word) => label(attack).includes(word)));
}
