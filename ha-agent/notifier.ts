import { execa } from 'execa';
import { messageOf } from '../common/errors.ts';
import type { HaConfig } from '../common/model.ts';
import { whoElseWrites } from '../common/trusted-path.ts';

const TIMEOUT_MS = 30_000;

/**
 * Calls the operator's commands at role changes, one at a time. While one runs, only the latest change waits:
 * a slow command must not end with a role that is long past. The agent itself never waits for them.
 */
export class Notifier {
  readonly #onTrouble: (text: string) => void;
  #running = false;
  #waiting: (() => Promise<void>) | undefined;

  constructor(onTrouble: (text: string) => void) {
    this.#onTrouble = onTrouble;
  }

  /**
   * @param commands absolute paths of executables, called with the role as their argument
   * @param group name of the VIP group as a second argument; undefined: there is only one
   */
  notify(commands: HaConfig['notify'], role: 'active' | 'standby' | 'fault', group?: string): void {
    const command = commands[role];
    if (command === undefined) return;
    this.#waiting = () => this.#call(command, role, group);
    if (!this.#running) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#running = true;
    for (let next = this.#waiting; next !== undefined; next = this.#waiting) {
      this.#waiting = undefined;
      await next();
    }
    this.#running = false;
  }

  async #call(command: string, role: string, group: string | undefined): Promise<void> {
    // It would run with the capabilities of this process.
    const open = await whoElseWrites(command);
    if (open !== undefined) {
      this.#onTrouble(`the notify command for ${role} is not run: ${open}`);
      return;
    }
    try {
      // It may outlive the agent: a stop is a role change too.
      const args = group === undefined ? [role] : [role, group];
      await execa(command, args, { stdio: 'ignore', timeout: TIMEOUT_MS, cleanup: false });
    } catch (error) {
      const text = error instanceof Error && 'shortMessage' in error ? error.shortMessage : error;
      this.#onTrouble(`the notify command for ${role} failed: ${messageOf(text)}`);
    }
  }
}
