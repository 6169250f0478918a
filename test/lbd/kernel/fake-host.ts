import { OperatorError } from '../../../common/errors.ts';
import { READY } from '../../../lbd/kernel/choice.ts';
import type { LocalHostParts } from '../../../lbd/kernel/local-host.ts';
import type { NftWatchOptions } from '../../../lbd/kernel/nft-watch.ts';

/** A host that only remembers what it was told. */
export function fakeHost() {
  const scripts: string[] = [];
  const deletions: string[] = [];
  const host = {
    /** What nft complains of; empty: it works. */
    broken: '',
    table: false,
    claimed: false,
    listing: undefined as undefined | { sets: Map<string, number>; chains: Map<string, number> },
  };
  let handlers: NftWatchOptions | undefined;
  const parts: LocalHostParts = {
    facts: async () => READY,
    owner: {
      claim: () => {
        host.claimed = true;
      },
      isClaimed: async () => host.claimed,
      close: () => {},
    },
    watch: (given) => {
      handlers = given;
      return { start() {}, close() {} };
    },
    nft: {
      isOwn: (pid) => pid === 1,
      apply: async (script) => {
        if (host.broken !== '') throw new OperatorError('KERNEL_REFUSED', host.broken);
        scripts.push(script);
        host.table = !script.startsWith('add table inet tandem_lb\ndelete');
      },
      objects: async () => (host.table ? { sets: [], chains: [] } : undefined),
      listing: async () => host.listing,
      forwardDrops: async () => [],
      deleteFlows: async (args) => {
        deletions.push(args.join(' '));
        return { deleted: 2, output: '' };
      },
      run: async () => '',
    },
  };
  return { scripts, deletions, host, parts, handlers: () => handlers! };
}
