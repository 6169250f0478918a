import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { messageOf } from '../common/errors.ts';

/** What a file has one of a line. */
interface Entries {
  readonly pattern: RegExp;
  /** For people. */
  readonly expected: string;
}

/** `interface/setting=value`: interface names have at most 15 bytes, and only these settings are ever changed. */
const SETTINGS: Entries = {
  pattern: /^(?!\.{1,2}\/)[^\s/=]{1,15}\/(?:arp_ignore|arp_announce|promote_secondaries)=\d{1,2}$/,
  expected: 'INTERFACE/SETTING=VALUE',
};
/** Lines for `ip`, see `formerRoute`. */
export const ROUTES: Entries = { pattern: /^route add [\w.:/@ -]{1,500}$/, expected: 'route add …' };
/** Three settings for each interface that has a VIP. */
const MAX_ENTRIES = 256;

/**
 * What settings, or routes, of the host were before the agent changed them, in a file in the run directory: where the agent
 * and its guardian are killed together, the next agent finds there what to restore. After a reboot the directory is empty,
 * and all is as it was.
 */
export class SettingsFile {
  readonly #path: string;
  readonly #onTrouble: (text: string) => void;
  readonly #entries: Entries;

  /** @param onTrouble told when the file cannot be written or read; all else goes on */
  constructor(path: string, onTrouble: (text: string) => void, entries = SETTINGS) {
    this.#path = path;
    this.#entries = entries;
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
    const bad = entries.find((entry) => !this.#entries.pattern.test(entry));
    if (bad === undefined && entries.length <= MAX_ENTRIES) return entries;
    const found = bad === undefined ? `${entries.length} lines` : JSON.stringify(bad.slice(0, 60));
    this.#onTrouble(
      `settings of an earlier run were not restored: ${this.#path} has ${found}, expected ${this.#entries.expected}`,
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
