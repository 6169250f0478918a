import { execa } from 'execa';
import type { VipConfig } from '../common/model.ts';
import { whoElseWrites } from '../common/trusted-path.ts';

/** Interfaces of providers answer within seconds; what takes longer is ended and tried again. */
const TIMEOUT_MS = 10_000;
const RETRY_MS = 1_000;
/** Failures in a row after which this node is not the one that should have the address. */
const PATIENCE = 3;

type Verb = 'add' | 'remove';

export interface VipCommandEvents {
  /** The network has been told, or is about to be, that the address is on this host; or that it is not any more. */
  onTold(address: string, here: boolean): void;
  onTrouble(text: string): void;
}

/**
 * Provider `exec`: the operator's command that tells the network where an address is, called as
 * `command… add ADDRESS` and `command… remove ADDRESS`. One call at a time; a wish that is overtaken by another is
 * not carried out. Without a shell.
 */
export class VipCommand {
  readonly #vip: VipConfig;
  readonly #events: VipCommandEvents;
  #wanted: Verb = 'remove';
  /** What the command did last; undefined: that failed, so who knows. */
  #done: Verb | undefined = 'remove';
  #running: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #failures = 0;
  #why = '';
  #closed = false;

  constructor(vip: VipConfig, events: VipCommandEvents) {
    this.#vip = vip;
    this.#events = events;
  }

  /** Why the address is not told to be here, after `PATIENCE` failures in a row. */
  get failure(): string | undefined {
    return this.#wanted === 'add' && this.#failures >= PATIENCE ? this.#why : undefined;
  }

  /** The address is on this host: tells the network. Never waits; tried until it succeeds. */
  add(): void {
    this.#want('add');
  }

  /** The address has left this host. @returns settles when the command has run, or has failed */
  async remove(): Promise<void> {
    this.#want('remove');
    await this.#running;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
  }

  #want(verb: Verb): void {
    if (verb === this.#wanted) return;
    this.#wanted = verb;
    this.#failures = 0;
    clearTimeout(this.#retry);
    this.#start();
  }

  #start(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      // A removal that fails is not repeated: by then the address is where the other node's command has put it.
      if (this.#wanted === 'add' && this.#done !== 'add' && !this.#closed)
        this.#retry = setTimeout(() => this.#start(), RETRY_MS);
    });
  }

  async #run(): Promise<void> {
    for (let failed = false; !failed && this.#done !== this.#wanted; ) {
      const verb = this.#wanted;
      failed = !(await this.#call(verb)) && verb === this.#wanted;
    }
  }

  async #call(verb: Verb): Promise<boolean> {
    const [file, ...args] = this.#vip.command;
    // It would run with the capabilities of this process.
    const open = await whoElseWrites(file!);
    if (open !== undefined) {
      this.#failed(`the command of ${this.#vip.address} is not run: ${open}`);
      return false;
    }
    if (verb === 'add') this.#events.onTold(this.#vip.address, true);
    const result = await execa(file!, [...args, verb, this.#vip.address], {
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'pipe',
      timeout: TIMEOUT_MS,
      forceKillAfterDelay: 500,
      maxBuffer: { stderr: 4096 },
      reject: false,
      // A removal that began is finished even when the agent ends.
      cleanup: false,
    });
    if (!result.failed) {
      this.#done = verb;
      this.#failures = 0;
      if (verb === 'remove') this.#events.onTold(this.#vip.address, false);
      return true;
    }
    this.#done = undefined;
    const said = result.stderr.trim().split('\n').at(-1) ?? '';
    this.#failed(`the command of ${this.#vip.address} failed to ${verb} it: ${said || result.shortMessage}`);
    return false;
  }

  #failed(why: string): void {
    this.#why = why;
    this.#failures++;
    // The first one only, until it succeeds again; `failure` shows what lasts.
    if (this.#failures === 1) this.#events.onTrouble(why);
  }
}
