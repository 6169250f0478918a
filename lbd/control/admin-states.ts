import { open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { within } from '../../common/bounded.ts';
import { count } from '../../common/count.ts';
import { messageOf } from '../../common/errors.ts';
import { writeWhole } from '../../common/whole-file.ts';
import type { Register, Registers } from '../session/registers.ts';
import { adminKey, adminValue, parseAdmin, parseKey } from './replicated.ts';

const FILE = 'admin-states.json';
/** Where a file that cannot be used is left for an operator to look at. */
const LEFT_ASIDE = `${FILE}.unusable`;
const FORMAT = 1;
/** An entry has 150 bytes; those of 2,048 backends that are there and as many that are not any more fit. */
const MAX_ENTRIES = 4096;
const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** Changes that come together are written together. */
const GATHER_MS = 50;
/** After a write that failed. */
const RETRY_MS = 10_000;
/** A disk that hangs must not keep lbd from its start; what it says later still counts. */
const LOAD_MS = 2_000;

interface Entry extends Pick<Register, 'version' | 'origin'> {
  readonly backend: string;
  readonly value: ReturnType<typeof adminValue>;
  /** The drain was over: nobody is sent there, not even stuck clients. */
  readonly drained: boolean;
}

export interface AdminStatesOptions {
  /** See `DaemonOptions.stateDir`; made when it is needed. */
  readonly directory: string;
  readonly registers: Registers;
  /** Whether a backend, `pool/backend`, is in the config. */
  knows(id: string): boolean;
  /** Whether its drain is over. */
  isDrained(id: string): boolean;
  tell(level: 'info' | 'warn', text: string): void;
}

/**
 * What operators want of backends, kept on disk, so that it outlives a restart of both nodes at once. The file holds the
 * registers with their versions: what the peer knows better wins, as always. Nothing waits for the disk, and where it
 * fails all goes on, and is told.
 */
export class AdminStates {
  readonly #options: AdminStatesOptions;
  readonly #path: string;
  /** Drains that were over when this node stopped. */
  readonly #drained = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  /** The latest write; they come one after the other. */
  #writing: Promise<void> = Promise.resolve();
  /** A write has failed, and the timer is for the next try. */
  #retrying = false;
  /** What the file says; undefined: not known. */
  #written: string | undefined;
  /** Until the file was read, it must not be overwritten. */
  #loaded = false;
  #problem: string | undefined;
  #lost: string | undefined;

  constructor(options: AdminStatesOptions) {
    this.#options = options;
    this.#path = join(options.directory, FILE);
    options.registers.onChange((key) => {
      if (parseKey(key)?.kind === 'admin') this.touch();
    });
  }

  /** What was lost at the start, and what would be at the next one, one line each. */
  get warnings(): readonly string[] {
    return [this.#lost, this.#problem].filter((line) => line !== undefined);
  }

  /** Takes in what the file says. Settles at the latest after 2 s, and never rejects. */
  async load(): Promise<void> {
    const loaded = await within(
      LOAD_MS,
      this.#load().then(() => true),
    );
    if (loaded === undefined) this.#fail(`${this.#path} could not be read within ${LOAD_MS / 1000} s`);
  }

  /** Whether the drain of a backend was over when this node stopped. Only the first call tells. */
  wasDrained(id: string): boolean {
    return this.#drained.delete(id);
  }

  /** Something that the file says may have changed. */
  touch(): void {
    if (this.#loaded && (this.#timer === undefined || this.#retrying)) this.#schedule(GATHER_MS);
  }

  /** Writes what is not written yet; waits for it, but not longer than `ms`. Afterwards nothing is written. */
  async close(ms: number): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#loaded) await within(ms, this.#save());
    clearTimeout(this.#timer);
    this.#loaded = false;
  }

  async #load(): Promise<void> {
    try {
      const entries = parse(await readText(this.#path));
      for (const { backend, value, version, origin, drained } of entries) {
        const taken = this.#options.registers.merge({ key: adminKey(backend), value, version, origin });
        if (taken && drained) this.#drained.add(backend);
      }
      const set = entries.filter(({ value }) => value.admin !== 'ready' || value.weight !== null);
      if (set.length > 0)
        this.#options.tell(
          'info',
          `admin states and weights of operators are in force again, of ${count(set.length, 'backend')}`,
        );
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') await this.#leaveAside(messageOf(error));
    }
    this.#loaded = true;
    this.touch();
  }

  async #leaveAside(why: string): Promise<void> {
    const aside = join(dirname(this.#path), LEFT_ASIDE);
    const left = await rename(this.#path, aside).then(
      () => `it is left aside as ${aside}`,
      (error: unknown) => messageOf(error),
    );
    this.#lost = `admin states of an earlier run are lost: ${this.#path}: ${why}; ${left}`;
    this.#options.tell('warn', this.#lost);
  }

  #schedule(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#save();
    }, ms);
  }

  /** Never rejects. */
  #save(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#saveOnce());
    return this.#writing;
  }

  async #saveOnce(): Promise<void> {
    const text = this.#text();
    if (text === this.#written) return;
    try {
      await writeWhole(this.#path, text);
      this.#written = text;
      if (this.#retrying) this.#options.tell('info', `${this.#path} is written again`);
      this.#problem = undefined;
      this.#retrying = false;
    } catch (error) {
      this.#fail(`admin states would be lost at a restart of both nodes: ${messageOf(error)}`);
      this.#retrying = true;
      if (this.#timer === undefined && this.#loaded) this.#schedule(RETRY_MS);
    }
  }

  /** Empty: there is nothing to keep. */
  #text(): string {
    const { registers, knows, isDrained } = this.#options;
    const entries: Entry[] = [];
    for (const { key, value, version, origin } of registers.entries()) {
      const about = parseKey(key);
      if (about?.kind !== 'admin') continue;
      const wanted = adminValue(parseAdmin(value));
      // "Ready" is kept as well: it must win over an older "drain" of the peer's file.
      const known = knows(about.id);
      if (known || wanted.admin !== 'ready' || wanted.weight !== null)
        entries.push({
          ...{ backend: about.id, value: wanted, version, origin },
          drained: known && isDrained(about.id),
        });
    }
    if (entries.length === 0) return '';
    const kept = entries
      .toSorted((a, b) => Number(knows(b.backend)) - Number(knows(a.backend)) || b.version - a.version)
      .slice(0, MAX_ENTRIES)
      .map((entry) => JSON.stringify(entry));
    return `{"format":${FORMAT},"states":[\n${kept.join(',\n')}\n]}\n`;
  }

  #fail(problem: string): void {
    if (problem !== this.#problem) this.#options.tell('warn', problem);
    this.#problem = problem;
  }
}

async function readText(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size > MAX_FILE_BYTES) throw new Error(`it has ${size} bytes, expected at most ${MAX_FILE_BYTES}`);
    return await readFile(file, 'utf8');
  } finally {
    await file.close();
  }
}

/** @throws Error where it is not a file of ours, whole */
function parse(text: string): readonly Entry[] {
  const { format, states } = JSON.parse(text) as { format?: unknown; states?: unknown };
  if (format !== FORMAT || !Array.isArray(states))
    throw new Error(`its format is ${JSON.stringify(format)}, expected ${FORMAT}`);
  return states.map((state: unknown, i) => {
    const { backend, value, version, origin, drained } = (state ?? {}) as Partial<Entry>;
    if (typeof backend !== 'string' || typeof origin !== 'string' || !Number.isSafeInteger(version))
      throw new Error(`entry ${i + 1} is not one of ours`);
    return {
      backend,
      value: adminValue(parseAdmin(value)),
      version: version!,
      origin,
      drained: drained === true,
    };
  });
}
