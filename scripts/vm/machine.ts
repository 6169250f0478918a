import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { OperatorError } from '../../common/errors.ts';
import { monotonicMs } from '../../common/events.ts';
import type { ProbeLine, Question } from './probe.ts';

/** Where `scripts/install` puts the tree on a machine. */
export const TARGET = '/opt/tandem';
const NODE = `${TARGET}/node_modules/.bin/node`;
/** Of the hosts in `scripts/lab/hosts.ts`, as the Vagrantfile numbers them. */
export const NETWORK = '192.168.56';
const CLOCK_TRIES = 7;
const ANSWER_MS = 20_000;
const BOOT_MS = 240_000;

/** A question without its number. */
type Asked = Question extends infer Q ? (Q extends Question ? Omit<Q, 'id'> : never) : never;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** A virtual machine, reached over ssh. */
export class Machine {
  readonly name: string;
  readonly #sshConfig: string;
  readonly #onVip: (held: boolean, atMs: number) => void;
  readonly #waiting = new Map<number, Waiting>();
  #probe: ChildProcess | undefined;
  #questions = 0;
  /** Its monotonic clock minus ours. */
  #offsetMs = 0;
  /** Half of the shortest round trip: how wrong times of this machine may be. */
  errorMs = 0;

  /** @param onVip the VIP came or went, at a time of our own clock */
  constructor(name: string, sshConfig: string, onVip: (held: boolean, atMs: number) => void) {
    this.name = name;
    this.#sshConfig = sshConfig;
    this.#onVip = onVip;
  }

  /** Runs a shell command. @throws OperatorError when it fails */
  async run(command: string): Promise<string> {
    const result = await execa('ssh', this.#ssh(command), { reject: false });
    if (result.exitCode !== 0)
      throw new OperatorError('VM', `${this.name}: ${command}: ${result.stderr || result.shortMessage}`);
    return result.stdout;
  }

  /** Starts a file of the tree with the machine's Node. */
  start(file: string, args: readonly string[], user: 'root' | 'vagrant' = 'vagrant'): ChildProcess {
    const sudo = user === 'root' ? 'sudo ' : '';
    const command = `${sudo}env TANDEM_LAB_NETWORK=${NETWORK} ${NODE} ${TARGET}/${file} ${args.join(' ')}`;
    return spawn('ssh', this.#ssh(command), { stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** Connects, as soon as the machine is up, and compares the clocks. @throws OperatorError when it stays away */
  async connect(): Promise<void> {
    const endMs = monotonicMs() + BOOT_MS;
    while (!(await this.#startProbe())) {
      if (monotonicMs() > endMs) throw new OperatorError('VM', `${this.name} cannot be reached over ssh`);
      await sleep(1000);
    }
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < CLOCK_TRIES; i++) {
      const startMs = monotonicMs();
      const theirs = (await this.ask({ ask: 'clock' })) as number;
      const roundTripMs = monotonicMs() - startMs;
      if (roundTripMs >= best) continue;
      best = roundTripMs;
      this.#offsetMs = theirs - startMs - roundTripMs / 2;
    }
    this.errorMs = best / 2;
  }

  /** A time of the machine's monotonic clock on ours. */
  ours(theirMs: number): number {
    return theirMs - this.#offsetMs;
  }

  /** @throws OperatorError when the machine does not answer in time or says that it failed */
  async ask(question: Asked, timeoutMs = ANSWER_MS): Promise<unknown> {
    const id = ++this.#questions;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    if (this.#probe === undefined) throw new OperatorError('VM', `${this.name} is not connected`);
    this.#waiting.set(id, { resolve, reject });
    const timer = setTimeout(
      () => reject(new OperatorError('VM', `${this.name} does not answer "${question.ask}"`)),
      timeoutMs,
    );
    this.#probe.stdin?.write(`${JSON.stringify({ id, ...question })}\n`);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  /** Ends the connection; the machine may be gone already. */
  disconnect(): void {
    this.#probe?.kill('SIGKILL');
    this.#lost();
  }

  async #startProbe(): Promise<boolean> {
    const probe = this.start('scripts/vm/probe.ts', [], 'root');
    probe.stdin?.on('error', () => {});
    let ready: () => void = () => {};
    const up = new Promise<boolean>((resolve) => {
      ready = () => resolve(true);
      probe.once('exit', () => resolve(false));
    });
    createInterface({ input: probe.stdout! }).on('line', (line) => {
      const message = JSON.parse(line) as ProbeLine;
      if (message.type === 'ready') ready();
      else if (message.type === 'vip') this.#onVip(message.held, this.ours(message.monoMs));
      else if (message.error === undefined) this.#waiting.get(message.id)?.resolve(message.value);
      else this.#waiting.get(message.id)?.reject(new OperatorError('VM', `${this.name}: ${message.error}`));
    });
    if (!(await up)) return false;
    this.#probe = probe;
    probe.once('exit', () => {
      if (this.#probe === probe) this.#lost();
    });
    return true;
  }

  #lost(): void {
    this.#probe = undefined;
    for (const { reject } of this.#waiting.values())
      reject(new OperatorError('VM', `the connection to ${this.name} was lost`));
  }

  #ssh(command: string): string[] {
    return ['-F', this.#sshConfig, '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=10', this.name, command];
  }
}

/** Waits for the end of a child process that is asked to stop by the end of its input. */
export async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.stdin?.end();
  await gone;
}
