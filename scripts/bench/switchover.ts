import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { OperatorError } from '../../common/errors.ts';
import { interruptible } from '../lab/interrupt.ts';
import { Lab } from '../lab/lab.ts';
import { LongLivedClients } from '../lab/long-lived-clients.ts';
import { startOrigins } from '../lab/origins.ts';
import { Pair } from '../lab/pair.ts';
import { requireWrk, verdict, wrk } from './wrk.ts';

const HELP = `usage: npm run bench -- switchover [--switchovers 6] [--every 5] [--connections 1000]

Switchovers there and back, every so many seconds, under wrk with 50 connections, while so many others stay connected:
TCP, WebSocket and kept-alive HTTP, a third each, that send something twice a second. Prints what was lost.`;

const WRK_CONNECTIONS = 50;
const TALK_MS = 500;
const LIMITS = { switchovers: 1000, every: 60, connections: 9000 } as const;

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      switchovers: { type: 'string', default: '6' },
      every: { type: 'string', default: '5' },
      connections: { type: 'string', default: '1000' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const number = (flag: keyof typeof LIMITS) => {
    const value = Number(values[flag]);
    if (Number.isInteger(value) && value >= 1 && value <= LIMITS[flag]) return value;
    throw new OperatorError(
      'USAGE',
      `--${flag} ${values[flag]}: expected a whole number from 1 to ${LIMITS[flag]}`,
    );
  };
  const [switchovers, every, connections] = [number('switchovers'), number('every'), number('connections')];
  requireWrk();
  const lab = await Lab.up();
  try {
    await interruptible(measure(lab, switchovers, every, connections));
  } finally {
    await lab.down();
  }
}

async function measure(lab: Lab, switchovers: number, every: number, connections: number): Promise<void> {
  await startOrigins(lab);
  const pair = await Pair.start(lab);
  try {
    const staying = await LongLivedClients.start(lab, Math.ceil(connections / 3), TALK_MS);
    const load = wrk(lab, WRK_CONNECTIONS, every * (switchovers + 1));
    for (let i = 1; i <= switchovers; i++) {
      await sleep(every * 1000);
      await pair.switchover(pair.active());
      await pair.whole();
      console.error(`switchover ${i}/${switchovers}: ${pair.active()} is active`);
    }
    const output = await load;
    const { echo, websocket, http } = await staying.finish();
    console.log(`wrk: ${verdict(output)}`);
    for (const [name, kind] of Object.entries({ TCP: echo, WebSocket: websocket, HTTP: http }))
      console.log(
        `${name}: ${kind.answers} answers to ${kind.total} clients, ${kind.broken} broken${kind.causes.length > 0 ? `: ${kind.causes.join(', ')}` : ''}`,
      );
  } finally {
    await pair.stop();
  }
}
