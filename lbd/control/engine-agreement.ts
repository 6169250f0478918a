import type { EngineChoice } from '../kernel/choice.ts';
import type { Registers } from '../session/registers.ts';
import { engineKey, engineValue, parseEngine } from './replicated.ts';

/** An engine as a node tells it. */
export type ChosenEngine = Pick<EngineChoice, 'frontend' | 'engine' | 'why'>;

export interface EngineAgreementOptions {
  readonly registers: Pick<Registers, 'get' | 'set'>;
  readonly node: string;
  /** undefined: there is no other node. */
  readonly peer: string | undefined;
  tell(level: 'info' | 'warn', text: string): void;
}

/**
 * Whether both nodes have the same engine for each frontend. What `engine` asks for depends on the host as well (rights,
 * sysctls, networks, rules of others), so equal configs may end in different engines; and then open connections do not
 * outlive the node that has them, or go around what only lbd can do.
 */
export class EngineAgreement {
  readonly #options: EngineAgreementOptions;
  #own: readonly ChosenEngine[] = [];
  #told: readonly string[] = [];

  constructor(options: EngineAgreementOptions) {
    this.#options = options;
  }

  /** The engines of this node, as they are now. */
  chosen(own: readonly ChosenEngine[]): void {
    this.#own = own;
    this.look();
  }

  /** Something was said by the other node; not within the callback that says so. */
  look(): void {
    this.#say();
    const now = this.warnings();
    for (const line of now) if (!this.#told.includes(line)) this.#options.tell('warn', line);
    if (now.length === 0 && this.#told.length > 0)
      this.#options.tell('info', 'both nodes have the same engines again');
    this.#told = now;
  }

  /** Frontends of which the nodes have different engines, a line each. */
  warnings(): string[] {
    const { registers, node, peer } = this.#options;
    if (peer === undefined) return [];
    return this.#own.flatMap(({ frontend, engine, why }) => {
      const there = parseEngine(registers.get(engineKey(peer, frontend)));
      if (there === undefined || there.engine === engine) return [];
      return [
        `frontend ${frontend}: engine ${engine} on ${node} (${why}), but ${there.engine} on ${peer} (${there.why}): its open connections end with the active role`,
      ];
    });
  }

  /** Again, where a former start of this node has said something else that is still known to the peer. */
  #say(): void {
    const { registers, node, peer } = this.#options;
    if (peer === undefined) return;
    for (const { frontend, engine, why } of this.#own) {
      const key = engineKey(node, frontend);
      const said = parseEngine(registers.get(key));
      const value = engineValue({ engine, why });
      if (said?.engine !== engine || said.why !== value.why) registers.set(key, value);
    }
  }
}
