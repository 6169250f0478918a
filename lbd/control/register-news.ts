import type { Config } from '../../common/model.ts';
import type { KeyStanding } from '../session/registers.ts';
import type { Backends } from './care/backends.ts';
import type { LearntHealth } from './care/learnt-health.ts';
import type { EngineAgreement } from './engine-agreement.ts';
import { keyStanding, parseKey } from './replicated.ts';

export interface RegisterNewsOptions {
  /** Name of this node. */
  readonly node: string;
  readonly backends: Pick<Backends, 'has' | 'evaluate'>;
  readonly learnt: Pick<LearntHealth, 'seed'>;
  readonly engines: Pick<EngineAgreement, 'look'>;
  /** In force. */
  config(): Config;
}

/** Which of the pair's registers are about this config, and who must look when one of them changes. */
export class RegisterNews {
  readonly #options: RegisterNewsOptions;

  constructor(options: RegisterNewsOptions) {
    this.#options = options;
  }

  standing(key: string): KeyStanding {
    const { backends } = this.#options;
    return keyStanding(
      key,
      (id) => backends.has(id),
      (id) => this.#hasFrontend(id),
    );
  }

  /** @param origin the node that set it */
  changed(key: string, origin: string): void {
    const { node, backends, learnt, engines } = this.#options;
    const about = parseKey(key);
    // What is set within this callback would not be sent.
    if (about?.kind === 'engine') setImmediate(() => engines.look());
    if (about === undefined || !backends.has(about.id)) return;
    if (about.kind === 'health' && origin !== node) learnt.seed(about.id);
    backends.evaluate(about.id);
  }

  /** @param id `node/frontend` */
  #hasFrontend(id: string): boolean {
    const { cluster, frontends } = this.#options.config();
    const nodes = [cluster?.self.name, cluster?.peer.name];
    const [node, frontend] = id.split('/');
    return nodes.includes(node) && frontends.some(({ name }) => name === frontend);
  }
}
