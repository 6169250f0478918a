import { isIP } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { formatAge } from '../../../common/duration.ts';
import { DEFAULT_RESOLVER, type ResolverConfig } from '../../../common/model.ts';
import { type Answer, afterAnswer, asked, MAX_ADDRESSES, type NameLife, newName } from './name-life.ts';
import { lineOf, NameNews } from './name-news.ts';
import { Questions } from './questions.ts';

/** So many questions begin in one turn of the event loop, and the next ones so much later. */
const MAX_BEGUN = 32;
const PACE_MS = 5;
/** What changes within such a time is told together: each telling costs a look at all backends. */
const GATHER_MS = 10;
/** Of a name whose addresses change all the time, so often is told of it at most. */
const TELL_CHANGES_MS = 60_000;

const TOO_MANY = `it has more than ${MAX_ADDRESSES} addresses; ${MAX_ADDRESSES} of them are used`;

/** Where a host name leads now. */
export interface Resolution {
  /** The last good ones; empty: there never were any. */
  readonly addresses: readonly string[];
  /** It was never asked for, or the first answer has not come yet. */
  readonly pending: boolean;
  /** Why the latest question found nothing; empty: it did. */
  readonly trouble: string;
  /** How long ago the addresses were last found. */
  readonly ageMs: number;
}

export interface NamesOptions {
  /** The addresses of names, in lower case, have changed, or the first question for them has failed. */
  onChange(names: readonly string[]): void;
  tell(level: 'info' | 'warn', text: string): void;
  /** Monotonic milliseconds. */
  now?(): number;
  /** Other ones only in tests. */
  questions?(config: ResolverConfig): Pick<Questions, 'ask' | 'close'>;
}

interface Entry {
  life: NameLife;
  toldMs: number;
  toldTooMany: boolean;
}

/**
 * The host names of the config, asked for again and again as the TTL of their records says. For the main thread: it waits
 * for nothing, and no other thread ever resolves a name.
 */
export class Names {
  readonly #options: NamesOptions;
  readonly #news: NameNews;
  readonly #names = new Map<string, Entry>();
  #config: ResolverConfig = DEFAULT_RESOLVER;
  #questions: Pick<Questions, 'ask' | 'close'> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #changed: string[] = [];
  #telling: NodeJS.Timeout | undefined;
  #wakeMs = Number.POSITIVE_INFINITY;

  constructor(options: NamesOptions) {
    this.#options = options;
    this.#news = new NameNews((level, text) => options.tell(level, text));
  }

  /** Follows these hosts from now on; IP addresses among them need no resolving. Who was there before stays as it was. */
  apply(hosts: readonly string[], config: ResolverConfig = DEFAULT_RESOLVER): void {
    const nowMs = this.#now();
    const wanted = new Set(hosts.filter((host) => isIP(host) === 0).map((host) => host.toLowerCase()));
    for (const name of this.#names.keys()) if (!wanted.has(name)) this.#names.delete(name);
    for (const name of wanted)
      if (!this.#names.has(name))
        this.#names.set(name, {
          life: newName(nowMs),
          toldMs: Number.NEGATIVE_INFINITY,
          toldTooMany: false,
        });
    if (this.#questions === undefined || !isDeepStrictEqual(config, this.#config)) {
      this.#questions?.close();
      this.#questions = this.#options.questions?.(config) ?? new Questions(config);
      this.#config = config;
      for (const entry of this.#names.values()) entry.life = { ...entry.life, askMs: nowMs };
    }
    this.#turn();
  }

  /** undefined: an IP address, or no host of the config. */
  of(host: string): Resolution | undefined {
    const life = this.#names.get(host.toLowerCase())?.life;
    return (
      life && {
        addresses: life.addresses,
        pending: life.addresses.length === 0 && life.failures === 0,
        trouble: life.trouble,
        ageMs: Math.max(0, this.#now() - life.goodMs),
      }
    );
  }

  /** Names that are not found now, a line for each cause, with the age of the oldest addresses; and those with too many. */
  warnings(): string[] {
    const crowded = [...this.#names].filter(([, { life }]) => life.leftOut > 0).map(([name]) => name);
    return [...this.#failing(), ...(crowded.length === 0 ? [] : [lineOf(crowded, TOO_MANY)])];
  }

  #failing(): string[] {
    const failing = [...this.#names].filter(([, { life }]) => life.trouble !== '');
    return [...Map.groupBy(failing, ([, { life }]) => troubleText(life))].map(([text, of]) => {
      const oldestMs = Math.min(...of.map(([, { life }]) => life.goodMs));
      const age = of[0]![1].life.addresses.length === 0 ? '' : `, ${formatAge(this.#now() - oldestMs)} old`;
      return lineOf(
        of.map(([name]) => name),
        `${text}${age}`,
      );
    });
  }

  close(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#telling);
    this.#news.close();
    this.#names.clear();
    this.#questions?.close();
  }

  #now(): number {
    return this.#options.now?.() ?? performance.now();
  }

  #turn(): void {
    const nowMs = this.#now();
    let begun = 0;
    this.#wakeMs = Number.POSITIVE_INFINITY;
    for (const [name, entry] of this.#names) {
      if (entry.life.askMs <= nowMs && begun < MAX_BEGUN) {
        begun++;
        void this.#ask(name, entry);
      }
      this.#wakeMs = Math.min(this.#wakeMs, entry.life.askMs);
    }
    this.#arm(nowMs);
  }

  #arm(nowMs: number): void {
    clearTimeout(this.#timer);
    if (this.#wakeMs === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.#turn(), Math.max(PACE_MS, this.#wakeMs - nowMs));
  }

  async #ask(name: string, entry: Entry): Promise<void> {
    const questions = this.#questions!;
    entry.life = asked(entry.life);
    const answer = await questions.ask(name);
    // The config may have changed meanwhile.
    if (this.#questions !== questions || this.#names.get(name) !== entry) return;
    this.#take(name, entry, answer);
  }

  #take(name: string, entry: Entry, answer: Answer): void {
    const nowMs = this.#now();
    const before = entry.life;
    const life = afterAnswer(before, answer, nowMs, this.#config);
    entry.life = life;
    if (life.askMs < this.#wakeMs) {
      this.#wakeMs = life.askMs;
      this.#arm(nowMs);
    }
    const moved = !isDeepStrictEqual(before.addresses, life.addresses);
    if (life.trouble !== before.trouble)
      if (life.trouble === '') this.#news.add('info', name, 'found again');
      else this.#news.add('warn', name, troubleText(life));
    if (life.leftOut > 0 && !entry.toldTooMany) {
      entry.toldTooMany = true;
      this.#news.add('warn', name, TOO_MANY);
    }
    if (moved && before.addresses.length > 0 && nowMs - entry.toldMs >= TELL_CHANGES_MS) {
      entry.toldMs = nowMs;
      this.#news.add('info', name, `${before.addresses.join(', ')} → ${life.addresses.join(', ')}`);
    }
    if (moved || (life.addresses.length === 0 && life.failures === 1)) this.#tellChange(name);
  }

  #tellChange(name: string): void {
    this.#changed.push(name);
    this.#telling ??= setTimeout(() => {
      this.#telling = undefined;
      this.#options.onChange(this.#changed.splice(0));
    }, GATHER_MS);
  }
}

function troubleText({ addresses, trouble }: NameLife): string {
  return addresses.length === 0
    ? `${trouble}; never resolved so far`
    : `${trouble}; the last good addresses are kept`;
}
