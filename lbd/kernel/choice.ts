import { BlockList, isIP } from 'node:net';
import type { SocketAddress } from '../../common/address.ts';
import { OperatorError } from '../../common/errors.ts';
import type { Config, FrontendConfig, PoolConfig } from '../../common/model.ts';
import type { KernelPool, KernelService } from './kernel-service.ts';

/** Of what keeps a frontend from the kernel: each backend may add to it. */
const MAX_NAMED = 20;

/** What of this host decides whether its kernel can balance. */
export interface HostFacts {
  /** Why nft or conntrack cannot be used; empty: they can. */
  readonly trouble: string;
  readonly forwards: Readonly<Record<4 | 6, boolean>>;
  /** Base chains of others that drop what they do not know of what this host forwards, such as `ip filter FORWARD`. */
  readonly forwardDrops: readonly string[];
  readonly networks: readonly HostNetwork[];
}

/** An address of an interface of this host with its network. */
export interface HostNetwork {
  readonly interface: string;
  readonly address: string;
  readonly prefix: number;
  readonly family: 4 | 6;
}

/** Which engine a frontend of mode tcp or udp has, and why. */
export interface EngineChoice {
  readonly frontend: string;
  readonly engine: 'kernel' | 'user';
  /** In words for people. */
  readonly why: string;
  /** `engine: kernel` was asked for and cannot be had here; or it can, but something stands in its way. */
  readonly warning: string | undefined;
  /** Present exactly when the engine is the kernel. */
  readonly service: KernelService | undefined;
}

/** A host where nothing is in the way. */
export const READY: HostFacts = {
  trouble: '',
  forwards: { 4: true, 6: true },
  forwardDrops: [],
  networks: [],
};

/** Whether the kernel may get a frontend on some host; if not, the host need not be looked at. */
export function mayHaveKernel(config: Config): boolean {
  return config.frontends.some((frontend) => {
    if (frontend.engine === undefined || frontend.engine.engine === 'user') return false;
    const service = serviceOf(frontend, config);
    return typeof service !== 'string' && hostObstacle(service, READY) === undefined;
  });
}

/**
 * What the kernel has to do for a frontend by its name.
 *
 * @throws OperatorError `NO_KERNEL` where the config gives it nothing to do
 */
export function serviceNamed(config: Config, name: string): KernelService {
  const frontend = config.frontends.find((it) => it.name === name);
  const service =
    frontend?.engine === undefined || frontend.engine.engine === 'user'
      ? 'the config does not let it have the kernel engine'
      : serviceOf(frontend, config);
  if (typeof service === 'string') throw new OperatorError('NO_KERNEL', `frontend ${name}: ${service}`);
  return service;
}

/** Chooses the engine of each frontend of mode tcp and udp. Equal on both nodes as far as their hosts are. */
export function chooseEngines(config: Config, facts: HostFacts): EngineChoice[] {
  return config.frontends
    .filter(({ engine }) => engine !== undefined)
    .map((frontend) => {
      const wanted = frontend.engine!.engine;
      const user = (why: string): EngineChoice => ({
        frontend: frontend.name,
        engine: 'user',
        why,
        warning:
          wanted === 'kernel'
            ? `frontend ${frontend.name}: engine kernel cannot be had, lbd moves the bytes: ${why}`
            : undefined,
        service: undefined,
      });
      if (wanted === 'user') return user('as the config says');
      const service = serviceOf(frontend, config);
      if (typeof service === 'string') return user(service);
      const obstacle = hostObstacle(service, facts);
      if (obstacle !== undefined) return user(obstacle);
      const risk = riskOf(frontend, service, config, facts);
      if (risk !== undefined && wanted === 'auto') return user(risk);
      return {
        frontend: frontend.name,
        engine: 'kernel',
        why: wanted === 'kernel' ? 'as the config says' : 'nothing of it needs lbd in the path of its bytes',
        warning: risk && `frontend ${frontend.name}: ${risk}`,
        service,
      };
    });
}

function needsText(needs: readonly string[]): string {
  const more = needs.length - MAX_NAMED;
  const rest = more > 0 ? ` and ${more} more (with "engine: kernel" lbctl check names them all)` : '';
  return `it needs ${needs.slice(0, MAX_NAMED).join(', ')}${rest}, which the kernel cannot do`;
}

/** @returns what the kernel has to do, or why it cannot, whatever the host */
function serviceOf(frontend: FrontendConfig, config: Config): KernelService | string {
  const engine = frontend.engine!;
  if (engine.userOnly.length > 0) return needsText(engine.userOnly);
  const pool = config.pools.find(({ name }) => name === frontend.pool);
  if (pool === undefined) return 'it has no pool of its own';
  const families = new Set(pool.backends.map(({ address }) => isIP(address.host) as 4 | 6));
  const [family, other] = families;
  if (family === undefined) return `pool ${pool.name} has no backends`;
  if (other !== undefined) return `pool ${pool.name} has IPv4 and IPv6 backends`;
  const covered = addressesOf(
    frontend.bind,
    family,
    config.ha?.vips.map(({ address }) => address),
  );
  if (typeof covered === 'string') return covered;
  const { addresses, ports } = covered;
  return {
    name: frontend.name,
    protocol: frontend.mode === 'udp' ? 'udp' : 'tcp',
    ports,
    addresses,
    backends: pool.backends.map(({ name, address }) => ({ name, address: address.host, port: address.port })),
    family,
    pool: pool.name,
    source: engine.snat === 'none' ? 'none' : config.ha === undefined ? 'host' : 'vip',
    onBackendDown: engine.onBackendDown,
  };
}

/** Addresses that move are the kernel's; those of the node itself stay with lbd, which listens on them in any case. */
function addressesOf(
  bind: readonly SocketAddress[],
  family: 4 | 6,
  vips: readonly string[] | undefined,
): Pick<KernelService, 'addresses' | 'ports'> | string {
  const perPort = new Map<number, Set<string>>();
  const all = (host: string) => host === '*' || host === '::' || (host === '0.0.0.0' && family === 4);
  for (const { host, port } of bind) {
    const hosts = all(host) ? (vips ?? ['']) : vips === undefined || vips.includes(host) ? [host] : [];
    const known = perPort.get(port) ?? new Set();
    for (const it of hosts) if (it === '' || isIP(it) === family) known.add(it);
    perPort.set(port, known);
  }
  const ports = [...perPort.keys()].toSorted((a, b) => a - b);
  const sets = ports.map((port) => [...perPort.get(port)!].toSorted());
  const addresses = sets[0] ?? [];
  if (addresses.length === 0)
    return vips === undefined
      ? `it has no address of IPv${family}, as its backends have`
      : `it has no VIP of IPv${family}, as its backends have`;
  if (sets.some((it) => it.join() !== addresses.join())) return 'its ports are on different addresses';
  return { addresses: addresses.includes('') ? [] : addresses, ports: rangesOf(ports) };
}

/** @param ports ascending */
function rangesOf(ports: readonly number[]): [first: number, last: number][] {
  const ranges: [number, number][] = [];
  for (const port of ports) {
    const range = ranges.at(-1);
    if (range?.[1] === port - 1) range[1] = port;
    else ranges.push([port, port]);
  }
  return ranges;
}

/** What no setting helps against. */
function hostObstacle({ family, backends }: KernelService, facts: HostFacts): string | undefined {
  if (facts.trouble !== '') return facts.trouble;
  if (!facts.forwards[family]) {
    const sysctl = family === 4 ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding';
    return `this host does not forward IPv${family} (sysctl ${sysctl}=1 would let it)`;
  }
  const own = backends.find(
    ({ address }) => isLoopback(address) || facts.networks.some((it) => it.address === address),
  );
  return own && `backend ${own.name} (${own.address}) is this host itself`;
}

/** What may go wrong although the rules can be made: `auto` keeps its hands off, `kernel` goes ahead and says so. */
function riskOf(
  frontend: FrontendConfig,
  service: KernelService,
  config: Config,
  facts: HostFacts,
): string | undefined {
  const [drops] = facts.forwardDrops;
  if (drops !== undefined)
    return `chain ${drops} of this host drops what it does not know; it must accept the flows of the frontend`;
  const pool = config.pools.find(({ name }) => name === service.pool)!;
  if (config.ha !== undefined && pool.stick !== undefined && frontend.engine!.engine === 'auto')
    return 'its clients are stuck, and the session table keeps that over a takeover, the kernel does not';
  if (service.source !== 'vip' || frontend.engine!.snat !== undefined) return undefined;
  for (const vip of service.addresses) {
    const networks = networksOf(vip, config, facts);
    const far = service.backends.find(({ address }) => !networks.check(address, `ipv${service.family}`));
    if (far !== undefined)
      return `backend ${far.name} (${far.address}) is not on the network of ${vip}, so its answers may not come back; "snat: vip" says that it routes them here`;
  }
  return undefined;
}

/** On these networks a host finds the VIP without a route. */
function networksOf(vip: string, { ha }: Config, { networks }: HostFacts): BlockList {
  const list = new BlockList();
  const config = ha!.vips.find(({ address }) => address === vip)!;
  if (config.interface === 'lo') return list;
  list.addSubnet(config.address, config.prefix, `ipv${config.family}`);
  for (const it of networks) {
    if (it.interface !== config.interface || it.family !== config.family) continue;
    const own = new BlockList();
    own.addSubnet(it.address, it.prefix, `ipv${it.family}`);
    if (own.check(vip, `ipv${it.family}`)) list.addSubnet(it.address, it.prefix, `ipv${it.family}`);
  }
  return list;
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

/** Source stickiness of a pool; undefined: none. Cookies are for mode http. */
export function stickOf({ stick }: PoolConfig): KernelPool['stick'] {
  return stick?.type === 'source' ? stick : undefined;
}
