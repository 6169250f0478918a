import { OperatorError } from '../common/errors.ts';
import type { VipConfig } from '../common/model.ts';
import { VipCommand, type VipCommandEvents } from './vip-command.ts';

/** The commands of the VIPs of provider `exec`. */
export class VipCommands {
  readonly #events: VipCommandEvents;
  readonly #commands = new Map<string, VipCommand>();

  constructor(events: VipCommandEvents) {
    this.#events = events;
  }

  /**
   * The VIPs are on this host. Never waits.
   *
   * @throws OperatorError when a command has failed for too long
   */
  add(vips: readonly VipConfig[]): void {
    for (const vip of vips) {
      if (vip.provider !== 'exec') continue;
      const key = commandKey(vip);
      const command = this.#commands.get(key) ?? new VipCommand(vip, this.#events);
      this.#commands.set(key, command);
      command.add();
      if (command.failure !== undefined) throw new OperatorError('VIP_FAILED', command.failure);
    }
  }

  /** All VIPs have left this host. @returns settles when the commands have run, or have failed */
  async remove(): Promise<void> {
    await Promise.all([...this.#commands.values()].map((command) => command.remove()));
  }

  /** Only these are configured. */
  keep(vips: readonly VipConfig[]): void {
    const kept = new Set(vips.map(commandKey));
    for (const [key, command] of this.#commands) {
      if (kept.has(key)) continue;
      this.#commands.delete(key);
      void command.remove().then(() => command.close());
    }
  }

  close(): void {
    for (const command of this.#commands.values()) command.close();
  }
}

function commandKey(vip: VipConfig): string {
  return JSON.stringify([vip.address, vip.command]);
}
