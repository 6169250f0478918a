import type { Child, Program } from './child.ts';
import type { Machine } from './machine.ts';
import { runNft, type Surroundings } from './programs.ts';

/** From the decision to addresses that are gone: measured 14 ms at the median, 30 at worst. */
const REMOVE_MS = 5;
const REMOVE_SPREAD_MS = 20;
const RETRY_MS = 100;
const ATTEMPTS = 35;

interface Plan {
  readonly timeoutMs: number;
  readonly peer: string;
  readonly port: number;
  readonly lines: string[];
  readonly vips: string[];
  readonly rules: string[];
  readonly commands: { readonly address: string; readonly words: readonly string[] }[];
}

function planOf(args: readonly string[]): Plan {
  const plan: Plan = {
    timeoutMs: 1_000 * Number(args[0]),
    peer: args[1] ?? '',
    port: Number(args[2]),
    lines: [],
    vips: [],
    rules: [],
    commands: [],
  };
  for (let i = 3; i < args.length; ) {
    const [kind, one = '', two = ''] = args.slice(i, i + 3);
    if (kind === 'vip') {
      const address = one.split('/')[0]!;
      plan.vips.push(address);
      plan.lines.push(`addr del ${one} dev ${two}`, `addr del ${address}/32 dev lo`);
      i += 3;
    } else if (kind === 'line') {
      plan.lines.push(one);
      i += 2;
    } else if (kind === 'table') {
      for (const family of ['ip', 'ip6'])
        plan.rules.push(`table ${family} ${one}`, `delete table ${family} ${one}`);
      i += 2;
    } else if (kind === 'exec') {
      const count = Number(two);
      plan.commands.push({ address: one, words: args.slice(i + 3, i + 3 + count) });
      i += 3 + count;
    } else throw new Error(`guardian.sh knows no ${kind}`);
  }
  return plan;
}

/** What `guardian.sh` does, step for step. */
export function guardian(
  machine: Machine,
  child: Child,
  { network, called }: Surroundings,
  args: readonly string[],
): Program {
  const { kernel, random } = machine;
  const { peer, port, lines, vips, rules, commands, ...plan } = planOf(args);
  let { timeoutMs } = plan;
  /** Lines that came while it was busy: it does one thing at a time. */
  let unread: string[] = [];
  let busy = false;
  let ended = false;
  let told: readonly string[] = [];
  let settings: readonly string[] = [];
  let adders: readonly number[] = [];
  let former: readonly string[] = [];
  let farewell = '';
  let fired = false;
  let patienceMs: number | undefined;
  let reading = 0;
  machine.guardianSinceMs = machine.sim.now;

  const copies = () =>
    [...kernel.addresses.values()]
      .filter(({ address }) => vips.includes(address))
      .map(({ address, prefix, device }) => `addr del ${address}/${prefix} dev ${device}`);

  const remove = (done: (isGone: boolean) => void) => {
    busy = true;
    for (const adder of adders) machine.children.get(adder)?.kill('SIGKILL');
    adders = [];
    const pace = machine.pace('guardian', 0);
    if (pace === 'hang') return;
    const takes = typeof pace === 'number' ? pace : 0;
    machine.after('helper', REMOVE_MS + random() * REMOVE_SPREAD_MS + takes, () => {
      if (!child.running) return;
      const ip = machine.pace('ip', 0);
      const works = ip !== 'fail' && ip !== 'die' && pace !== 'fail';
      if (works) for (const line of [...lines, ...former, ...copies()]) kernel.run(line);
      former = [];
      const isGone = works && !vips.some((vip) => kernel.has(vip) || kernel.parks(vip));
      if (isGone && peer !== '' && farewell !== '') {
        const data = Buffer.from(farewell, 'hex');
        for (let copy = 0; copy < 2; copy++)
          network.send(machine, { to: peer, port, fromPort: 40_000, data });
        farewell = '';
      }
      for (const { address, words } of commands) if (told.includes(address)) called(machine, words);
      told = [];
      for (const setting of settings) kernel.settings.set(...(setting.split('=') as [string, string]));
      settings = [];
      runNft(kernel.tables, rules);
      busy = false;
      done(isGone);
    });
  };

  const read = () => {
    reading++;
    while (!busy) {
      const text = unread.shift();
      if (text === undefined) break;
      if (text === 'bye') {
        child.exit();
        return;
      }
      if (text === 'none') farewell = '';
      else if (text.startsWith('settings')) settings = text.split(' ').slice(1).filter(Boolean);
      else if (text.startsWith('told')) told = text.split(' ').slice(1).filter(Boolean);
      else if (text.startsWith('wait ')) timeoutMs = Number(text.slice(5)) * 1000;
      else if (text.startsWith('ip ')) adders = text.slice(3).split(' ').map(Number);
      else if (text.startsWith('former ')) former = text.slice(7).split('\x01');
      else if (/^[0-9a-f]+$/.test(text)) farewell = text;
      patienceMs = timeoutMs;
      fired = false;
    }
    if (busy || !child.running) return;
    if (ended) lastAct(ATTEMPTS);
    else if (patienceMs !== undefined) {
      const mine = reading;
      machine.after('helper', patienceMs, () => {
        // What can be read by now is read first.
        if (mine === reading && child.running && !busy && child.stdin.unread === 0) fire();
      });
    }
  };

  const fire = () => {
    machine.log('the guardian missed its beats');
    remove((isGone) => {
      patienceMs = isGone ? undefined : RETRY_MS;
      if (!fired) child.say('fired\n');
      fired = true;
      read();
    });
  };

  const lastAct = (attempts: number) => {
    remove((isGone) => {
      if (isGone || attempts <= 1) child.exit();
      else {
        busy = true;
        machine.after('helper', RETRY_MS, () => {
          if (child.running) lastAct(attempts - 1);
        });
      }
    });
  };

  return {
    line: (text) => {
      unread.push(text);
      if (!busy) read();
    },
    end: () => {
      ended = true;
      if (!busy) read();
    },
    killed: () => {
      unread = [];
    },
  };
}
