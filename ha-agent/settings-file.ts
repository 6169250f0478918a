import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { messageOf } from '../common/errors.ts';

/** `interface/setting=value`: interface names have at most 15 bytes, and only these settings are ever changed. */
const ENTRY = /^(?!\.{1,2}\/)[^\s/=]{1,15}\/(?:arp_ignore|arp_announce)=\d{1,2}$/;
/** Two settings for each interface that has a VIP. */
const MAX_ENTRIES = 256;

/**
 * What settings of the host were before the agent changed them, in a file in the run directory: where the agent and its
 * guardian are killed together, the next agent finds there what to restore. After a reboot the directory is empty, and
 * the settings are as they were.
 */
export class SettingsFile {
  readonly #path: string;
  readonly #onTrouble: (text: string) => void;

  /** @param onTrouble told when the file cannot be written or read; all else goes on */
  constructor(path: string, onTrouble: (text: string) => void) {
    this.#path = path;
    this.#onTrouble = onTrouble;
  }

  /** @returns former values, `interface/setting=value`; empty when there is nothing to restore */
  read(): readonly string[] {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#onTrouble(`settings of an earlier run were not restored: ${messageOf(error)}`);
      return [];
    }
    const entries = text.split('\n').filter((line) => line !== '');
    const bad = entries.find((entry) => !ENTRY.test(entry));
    if (bad === undefined && entries.length <= MAX_ENTRIES) return entries;
    const found = bad === undefined ? `${entries.length} lines` : JSON.stringify(bad.slice(0, 60));
    this.#onTrouble(
      `settings of an earlier run were not restored: ${this.#path} has ${found}, expected INTERFACE/SETTING=VALUE`,
    );
    return [];
  }

  /** Call before the settings change, and with none once they are as before. The file is never half written. */
  write(former: readonly string[]): void {
    try {
      if (former.length === 0) {
        rmSync(this.#path, { force: true });
        return;
      }
      const next = `${this.#path}.new`;
      writeFileSync(next, former.map((entry) => `${entry}\n`).join(''), { mode: 0o600 });
      renameSync(next, this.#path);
    } catch (error) {
      this.#onTrouble(`settings of the host may stay changed if this agent is killed: ${messageOf(error)}`);
    }
  }
}
