import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type AgentStatus, type ControlEvent, type LbdStatus, SOCKETS } from '../../common/control.ts';
import { control } from '../../common/control-client.ts';
import { messageOf } from '../../common/errors.ts';
import { monotonicMs } from '../../common/events.ts';
import { VIP } from '../lab/hosts.ts';

/**
 * Runs on a virtual machine, as root, and is asked over ssh: one connection for a whole scenario, since each new one
 * takes a second under emulation. Standard input: a JSON Question a line; standard output: a JSON line for each answer
 * and for each time that the VIP comes or goes.
 */
export type Question = { readonly id: number } & (
  | { readonly ask: 'clock' | 'status' | 'events' | 'switchover' | 'mac' | 'neighbour' }
  | { readonly ask: 'kill'; readonly unit: 'lbd' | 'ha-agent'; readonly signal: 'SIGKILL' | 'SIGSTOP' }
);

export type ProbeLine =
  | { readonly type: 'ready' }
  | { readonly type: 'vip'; readonly held: boolean; readonly monoMs: number }
  | { readonly type: 'answer'; readonly id: number; readonly value?: unknown; readonly error?: string };

export interface NodeStatus {
  readonly held: boolean;
  readonly agent: AgentStatus | undefined;
  readonly lbd: LbdStatus | undefined;
}

const RUN_DIR = '/run/tandem';
const SWITCHOVER_TIMEOUT_MS = 10_000;

function say(line: ProbeLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8' });
}

function ask<T>(socket: 'lbd' | 'agent', path: string): Promise<T | undefined> {
  return control<T>(join(RUN_DIR, SOCKETS[socket]), 'GET', path).catch(() => undefined);
}

async function answer(question: Question): Promise<unknown> {
  switch (question.ask) {
    case 'clock':
      return monotonicMs();
    case 'status': {
      const [agent, lbd] = await Promise.all([
        ask<AgentStatus>('agent', '/v1/status'),
        ask<LbdStatus>('lbd', '/v1/status'),
      ]);
      return { held: ip('-o', '-4', 'address', 'show', 'to', VIP) !== '', agent, lbd } satisfies NodeStatus;
    }
    case 'events':
      return (
        await Promise.all([
          ask<ControlEvent[]>('agent', '/v1/events'),
          ask<ControlEvent[]>('lbd', '/v1/events'),
        ])
      ).flatMap((events) => events ?? []);
    case 'switchover': {
      const startMs = monotonicMs();
      const socket = join(RUN_DIR, SOCKETS.agent);
      await control(socket, 'POST', '/v1/switchover', {}, SWITCHOVER_TIMEOUT_MS);
      return startMs;
    }
    case 'kill': {
      const show = ['show', '--property=MainPID', '--value', question.unit];
      const pid = Number(execFileSync('systemctl', show, { encoding: 'utf8' }));
      if (!(pid > 0)) throw new Error(`${question.unit} does not run`);
      const startMs = monotonicMs();
      process.kill(pid, question.signal);
      return startMs;
    }
    case 'mac':
      return ip('-o', 'link')
        .match(/link\/ether (\S+)/g)
        ?.map((text) => text.split(' ')[1]);
    case 'neighbour':
      return /lladdr (\S+)/.exec(ip('neigh', 'show', VIP))?.[1] ?? '';
  }
}

const monitor = spawn('ip', ['-o', 'monitor', 'address'], { stdio: ['ignore', 'pipe', 'inherit'] });
let held: boolean | undefined;
createInterface({ input: monitor.stdout }).on('line', (line) => {
  if (!line.includes(`inet ${VIP}/`)) return;
  const now = !line.startsWith('Deleted');
  // A renewed lease is a message too.
  if (now !== held) say({ type: 'vip', held: now, monoMs: monotonicMs() });
  held = now;
});
say({ type: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line) as Question;
  answer(question).then(
    (value) => say({ type: 'answer', id: question.id, value }),
    (error: unknown) => say({ type: 'answer', id: question.id, error: messageOf(error) }),
  );
}
monitor.kill();
process.exit(0);
