import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { canonicalIp } from '../../common/address.ts';
import { messageOf } from '../../common/errors.ts';
import type { HostFacts } from './choice.ts';
import type { Nft } from './nft.ts';
import { DEFAULT_TRACKING, type Tracking } from './rules.ts';
import { trackingFill } from './tracking-fill.ts';

const FORWARD = {
  4: { path: '/proc/sys/net/ipv4/ip_forward', sysctl: 'net.ipv4.ip_forward' },
  6: { path: '/proc/sys/net/ipv6/conf/all/forwarding', sysctl: 'net.ipv6.conf.all.forwarding' },
} as const;
const CONNTRACK = '/proc/sys/net/netfilter/nf_conntrack_';
/** From here on an operator should know: what does not fit is dropped. */
const FULL_SHARE = 0.9;

/** What anybody can see of the host. */
export function localFacts(): Pick<HostFacts, 'forwards' | 'networks'> {
  return {
    forwards: { 4: number(FORWARD[4].path) === 1, 6: number(FORWARD[6].path) === 1 },
    networks: Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
      addresses.flatMap(({ address, cidr }) => {
        const canonical = canonicalIp(address);
        const prefix = Number(cidr?.split('/')[1]);
        if (canonical === undefined || !Number.isInteger(prefix)) return [];
        return [{ interface: name, address: canonical, prefix, family: isIP(canonical) as 4 | 6 }];
      }),
    ),
  };
}

/** Looks at the host; what cannot be found out counts as missing. Never rejects. */
export async function readHostFacts(nft: Pick<Nft, 'run' | 'forwardDrops'>): Promise<HostFacts> {
  const facts = localFacts();
  try {
    await nft.run('conntrack', ['-C']);
    return { ...facts, trouble: '', forwardDrops: await nft.forwardDrops() };
  } catch (error) {
    return { ...facts, trouble: messageOf(error), forwardDrops: [] };
  }
}

/** How the kernel follows flows; where a setting cannot be read, as it does by default. */
export function readTracking(read = number): Tracking {
  const seconds = (state: string, byDefault: number) => read(`${CONNTRACK}tcp_timeout_${state}`) ?? byDefault;
  return {
    lastAckS: seconds('last_ack', DEFAULT_TRACKING.lastAckS),
    finWaitS: seconds('fin_wait', DEFAULT_TRACKING.finWaitS),
    closeWaitS: seconds('close_wait', DEFAULT_TRACKING.closeWaitS),
    countsBytes: read(`${CONNTRACK}acct`) === 1,
  };
}

/** What came in the way of flows in the kernel after they were taken on, one line each. */
export function hostTroubles(families: ReadonlySet<4 | 6>, read = number): string[] {
  const lines = [...families]
    .filter((family) => read(FORWARD[family].path) === 0)
    .map(
      (family) =>
        `the kernel engine stands still: this host does not forward IPv${family} any more (sysctl ${FORWARD[family].sysctl}=0)`,
    );
  const max = read(`${CONNTRACK}max`);
  if (trackingFill((path) => read(path) ?? 0) >= FULL_SHARE)
    lines.push(
      `the kernel's connection tracking is nearly full or full, new connections are dropped then; sysctl net.netfilter.nf_conntrack_max is ${max}`,
    );
  return lines;
}

/** @returns undefined where the setting cannot be read */
function number(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'latin1'));
  } catch {
    return undefined;
  }
}
