import { messageOf } from '../../../common/errors.ts';
import type { HostFacts } from '../choice.ts';
import { localFacts } from '../host-facts.ts';
import type { KernelHost, KernelHostEvents, KernelOrder, YoungVips } from '../kernel-host.ts';
import type { HelperClient } from './client.ts';
import type { HelperSaying } from './requests.ts';

/** After the helper has refused what should be in force; the rules stay meanwhile. */
const [MIN_AGAIN_MS, MAX_AGAIN_MS] = [1_000, 30_000];

const OLD_RULES = 'the rules of the kernel engine could not be changed, the old ones are in force';

/** Has the kernel of this host changed by the helper, which has the rights that lbd does not have. */
export class RemoteHost implements KernelHost {
  readonly #client: HelperClient;
  readonly #events: KernelHostEvents;
  readonly #look: typeof localFacts;
  #began = false;
  /** Something failed since the helper was last heard of. */
  #missed = false;
  #forwardDrops: readonly string[] = [];
  #trouble: string | undefined;
  #warnings: readonly string[] = [];
  #again: NodeJS.Timeout | undefined;
  #againMs = MIN_AGAIN_MS;
  /** What is on its way to the helper, and whether something newer waits. */
  #keeping: Promise<string | undefined> | undefined;
  #newest: KernelOrder | undefined;
  #closed = false;

  /** @param look what lbd itself sees of the host; another one only in tests */
  constructor(client: HelperClient, events: KernelHostEvents, look = localFacts) {
    this.#client = client;
    this.#events = events;
    this.#look = look;
    client.listen({
      onUp: () => {
        if (this.#missed || this.#began) events.onUp();
        this.#missed = false;
        // Else nothing that was in force is missing.
        if (!this.#began) this.#trouble = undefined;
      },
      onDown: (why, isAbsent) => {
        this.#missed = true;
        if (this.#began) this.#fails(`the helper of the kernel engine is gone: ${why}`);
        else if (!isAbsent)
          this.#fails(
            `the helper of the kernel engine does not work, rules of before may be in force: ${why}`,
          );
      },
      onEvent: (event) => this.#hear(event),
    });
  }

  get began(): boolean {
    return this.#began;
  }

  async facts(): Promise<HostFacts> {
    try {
      const { trouble, forwardDrops } = await this.#client.ask<HostFacts>({ type: 'facts' });
      this.#forwardDrops = forwardDrops;
      return { ...this.#look(), trouble, forwardDrops };
    } catch (error) {
      this.#failed();
      return { ...this.#look(), trouble: messageOf(error), forwardDrops: this.#forwardDrops };
    }
  }

  /** One order at a time; of those that come meanwhile the newest counts. */
  keep(order: KernelOrder): Promise<string | undefined> {
    this.#newest = order;
    this.#keeping ??= this.#keepNewest().finally(() => {
      this.#keeping = undefined;
    });
    return this.#keeping;
  }

  /** Behind an order that is on its way: before the first one nothing is known of any VIP. */
  setYoung(young: YoungVips): void {
    const tell = async () => {
      if (!this.#began) return;
      try {
        await this.#client.ask({ type: 'young', young });
      } catch (error) {
        this.#failed(messageOf(error));
      }
    };
    void (this.#keeping ?? Promise.resolve()).then(tell);
  }

  cut(frontend: string, backend: string): Promise<number> {
    return this.#client.ask<number>({ type: 'cut', frontend, backend });
  }

  async removeLeftover(): Promise<boolean> {
    try {
      return await this.#client.ask<boolean>({ type: 'leftover' });
    } catch {
      this.#failed();
      return false;
    } finally {
      // Nothing else is wanted of it.
      if (!this.#missed) this.#client.rest();
    }
  }

  warnings(): string[] {
    return [...(this.#trouble === undefined ? [] : [this.#trouble]), ...this.#warnings];
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#again);
    this.#client.close();
  }

  async #keepNewest(): Promise<string | undefined> {
    let trouble: string | undefined;
    for (let order = this.#newest; order !== undefined; order = this.#newest) {
      this.#newest = undefined;
      trouble = await this.#keepOne(order);
    }
    return trouble;
  }

  async #keepOne({ config, frontends, gates, young }: KernelOrder): Promise<string | undefined> {
    let trouble: string | null;
    try {
      const wanted = { type: 'keep', digest: config.digest, frontends, gates, young } as const;
      ({ trouble } = await this.#client.ask<{ trouble: string | null }>(wanted));
    } catch (error) {
      if (this.#closed) return undefined;
      trouble = messageOf(error);
      // A helper that has read another config may have this one the next time.
      this.#failed(`${OLD_RULES}: ${trouble}`);
      return this.#began ? undefined : trouble;
    }
    if (trouble === null) this.#works();
    else if (this.#began) this.#failed(`${OLD_RULES}: ${trouble}`);
    else return trouble;
    return undefined;
  }

  /**
   * A helper that is there is asked again in a while; one that is gone is heard of when it is back, and was told of when it
   * went.
   *
   * @param text what an operator should know where rules are in force
   */
  #failed(text?: string): void {
    this.#missed = true;
    if (!this.#client.up || this.#closed) return;
    if (this.#began && text !== undefined) this.#fails(text);
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.#events.onUp(), this.#againMs);
    this.#againMs = Math.min(this.#againMs * 2, MAX_AGAIN_MS);
  }

  #works(): void {
    clearTimeout(this.#again);
    this.#againMs = MIN_AGAIN_MS;
    this.#began = true;
    if (this.#trouble !== undefined) this.#events.tell('info', 'the helper of the kernel engine works again');
    this.#trouble = undefined;
  }

  #fails(text: string): void {
    if (this.#trouble !== text) this.#events.tell('warn', text);
    this.#trouble = text;
  }

  #hear(event: Extract<HelperSaying, { event: string }>): void {
    if (event.event === 'loaded') {
      // Else it is an older order than the latest.
      if (this.#newest === undefined) this.#events.onLoaded();
    } else if (event.event === 'warnings') this.#warnings = event.lines;
    else this.#events.tell(event.level, event.text);
  }
}
