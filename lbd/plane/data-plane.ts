import type { ExplainQuery } from '../../common/control.ts';
import { messageOf } from '../../common/errors.ts';
import type { Config, FrontendConfig, PoolConfig } from '../../common/model.ts';
import { alpnOf, type PoolProtocol, poolProtocolOf } from '../../common/protocols.ts';
import { Backend } from '../dispatch/backend.ts';
import { Pool } from '../dispatch/pool.ts';
import { PoolQueue } from '../dispatch/queue.ts';
import { Admission, type WorkerLog } from '../entry/admission.ts';
import { Frontend, type WorkerContext } from '../entry/frontend.ts';
import { newHttp1Stream } from '../http/h1/backend-stream.ts';
import { HttpConnection } from '../http/h1/connection.ts';
import { newHttp2Stream } from '../http/h2/backend-stream.ts';
import { Http2Connection } from '../http/h2/connection.ts';
import { Http2Stream } from '../http/h2/stream.ts';
import { RequestIds } from '../http/request-ids.ts';
import { HttpService } from '../http/service.ts';
import { Deadlines, type Timed } from '../io/deadlines.ts';
import { asIPv4 } from '../io/raw-socket.ts';
import type { SendLines } from '../log/access-log.ts';
import { AccessLogs } from '../log/access-logs.ts';
import type { SessionTable } from '../session/table.ts';
import { departureMs } from '../shared/departure.ts';
import { type Addresses, BEAT_MS, type OpenByGroup, type Plan, type Retirement } from '../shared/plan.ts';
import { type SharedState, UNLIMITED } from '../shared/shared.ts';
import type { WorkerExplanation } from '../shared/worker-explanation.ts';
import { TcpConnection } from '../tcp/tcp-connection.ts';
import { BackendTls, PoolTls } from '../tls/backend-tls.ts';
import { reservedFields } from '../tls/client-identity.ts';
import type { FrontendMaterial, PoolMaterial } from '../tls/material.ts';
import { Terminator } from '../tls/terminator.ts';
import { UdpFlow } from '../udp/udp-flow.ts';
import { Entrance } from './entrance.ts';
import { explain } from './explain.ts';
import { Leavers } from './leavers.ts';
import { Listeners } from './listeners.ts';
import { UdpPlane } from './udp-plane.ts';

/** Between two counts of the connections that are still open when this node has given up the active role. */
const COUNT_MS = 100;

/** By ALPN, to backends. */
const OFFERED: Readonly<Record<PoolProtocol, readonly string[]>> = {
  'http/1.1': [],
  h2: ['h2'],
  auto: ['h2', 'http/1.1'],
};

type Connection = HttpConnection | Http2Connection | Http2Stream | TcpConnection | UdpFlow;

/** Everything that one worker serves: its listeners, frontends, pools and connections. */
export class DataPlane {
  readonly #context: WorkerContext;
  readonly #sessions: SessionTable;
  readonly #index: number;
  readonly #admission: Admission;
  readonly #entrance: Entrance;
  readonly #udp: UdpPlane;
  #backends = new Map<string, Backend>();
  readonly #frontends = new Map<string, Frontend>();
  /** Of frontends that are or were of `mode: http`. */
  readonly #services = new WeakMap<Frontend, HttpService>();
  readonly #listeners: Listeners;
  /** By pool: where a backend has `max_connections`. */
  #queues = new Map<string, PoolQueue>();
  /** VIP group by address. */
  #groupOfVip: ReadonlyMap<string, string> = new Map();
  readonly #poolTls = new Map<string, PoolTls>();
  readonly #leavers = new Leavers();
  /** In force. */
  #config: Config | undefined;
  #counting: NodeJS.Timeout | undefined;

  /**
   * @param index of this worker
   * @param requestIdPrefix unlike that of any other worker, node or start
   * @param log of overload
   * @param sendLines takes lines of access logs
   * @param loopId see `WorkerContext.loopId`
   */
  constructor(
    index: number,
    shared: SharedState,
    sessions: SessionTable,
    requestIdPrefix: string,
    log: WorkerLog = () => {},
    sendLines: SendLines = () => {},
    loopId = 'lbd',
  ) {
    const requestIds = new RequestIds(requestIdPrefix);
    this.#index = index;
    this.#sessions = sessions;
    this.#context = {
      shared,
      deadlines: new Deadlines(2 * BEAT_MS),
      loopId,
      nextRequestId: () => requestIds.next(),
      accessLogs: new AccessLogs(sendLines),
      refuseSource: (frontend, address) => this.#admission.refuseSource(frontend, address),
      stopping: false,
      retiring: false,
    };
    this.#context.deadlines.start(() => this.#beat());
    this.#admission = new Admission(log);
    this.#entrance = new Entrance(this.#admission, (frontend) => this.#services.get(frontend));
    this.#listeners = new Listeners(this.#admission, this.#entrance);
    this.#udp = new UdpPlane(this.#admission);
  }

  /**
   * Serves a new plan. Frontends, backends and listeners that stay keep their connections.
   *
   * @returns what could not be done, a line each; all else is in force
   */
  async apply(plan: Plan): Promise<string[]> {
    this.#groupOfVip = new Map(
      plan.config.ha?.groups.flatMap(({ name, vips }) => vips.map(({ address }) => [address, name])),
    );
    const pools = this.#makePools(plan);
    const names = new Set<string>();
    const errors: string[] = [];
    const reserved = reservedFields(plan.config.frontends);
    for (const config of plan.config.frontends) {
      names.add(config.name);
      const target = this.#setFrontend(config, plan.frontendRows[config.name]!, pools);
      this.#compile(target, reserved);
      try {
        target.terminator = this.#terminatorOf(target, plan.tls?.frontends[config.name]);
      } catch (error) {
        errors.push(`frontend ${config.name}: TLS: ${messageOf(error)}`);
      }
    }
    this.#dismiss(names);
    this.#config = plan.config;
    const frontends = [...this.#frontends.values()];
    const isUdp = ({ config }: Frontend) => config.mode === 'udp';
    errors.push(...(await this.#listeners.apply(frontends.filter((it) => !isUdp(it)))));
    return [...errors, ...(await this.#udp.apply(frontends.filter(isUdp), [...this.#groupOfVip.keys()]))];
  }

  #compile(frontend: Frontend, reserved: ReadonlySet<string> | undefined): void {
    const service = this.#services.get(frontend);
    // Connections of a mode that it had keep asking.
    if (service !== undefined) service.compile(reserved);
    else if (frontend.config.mode === 'http')
      this.#services.set(frontend, new HttpService(frontend, newHttp1Stream, reserved, newHttp2Stream));
  }

  /** What is open of frontends that are in no config any more ends with its next answer, or at its time. */
  #dismiss(names: ReadonlySet<string>): void {
    for (const [name, frontend] of this.#frontends) {
      if (names.has(name)) continue;
      this.#frontends.delete(name);
      frontend.gone = true;
      this.#askToGo((connection) => connection.frontend === frontend);
      this.#leavers.add(frontend, this.#context.deadlines.in(departureMs(frontend.config, this.#config!)));
    }
  }

  #makePools(plan: Plan): ReadonlyMap<string, Pool> {
    const kept = new Map<string, Backend>();
    const pools = new Map<string, Pool>();
    const queues = new Map<string, PoolQueue>();
    for (const config of plan.config.pools) {
      const tls = this.#poolTlsOf(config, plan.tls?.pools[config.name]);
      const protocol = poolProtocolOf(config);
      const backends = config.backends.map((backend) => {
        const slot = plan.slots[`${config.name}/${backend.name}`]!;
        const { host, port } = backend.address;
        // Connections and sessions of another TLS must not be used any more.
        const isMute = config.tls !== undefined && tls === undefined;
        const key = `${config.name}/${backend.name} ${slot} ${host}:${port} ${isMute ? 'mute' : tls?.version} ${protocol}`;
        const it =
          this.#backends.get(key) ??
          new Backend(
            config.name,
            backend,
            slot,
            this.#context.shared,
            tls && new BackendTls(tls, host, OFFERED[protocol]),
            protocol,
            tls && protocol === 'auto' ? new BackendTls(tls, host) : undefined,
          );
        it.maxConnections = backend.maxConnections ?? UNLIMITED;
        it.drainTimeoutMs = config.drainTimeoutMs;
        // Files of its TLS cannot be used: never in the clear what was to be secret.
        if (isMute) it.setAddresses([]);
        else readdress(it, plan.addresses);
        kept.set(key, it);
        return it;
      });
      const pool = new Pool(config, backends, this.#context.shared, this.#sessions, this.#index);
      pools.set(config.name, pool);
      pool.queue = this.#queueOf(pool);
      if (pool.queue !== undefined) queues.set(config.name, pool.queue);
    }
    this.#queues = queues;
    this.#dismissBackends(kept);
    this.#backends = kept;
    return pools;
  }

  /** What is open to a backend that is in no config any more, or has another address now, ends at its time. */
  #dismissBackends(kept: ReadonlyMap<string, Backend>): void {
    const places = new Set([...kept.values()].map(placeOf));
    for (const [key, backend] of this.#backends) {
      if (kept.has(key)) continue;
      backend.retire();
      // With another TLS it is the same backend: what is open to it goes on.
      if (!places.has(placeOf(backend)))
        this.#leavers.add(backend, this.#context.deadlines.in(backend.drainTimeoutMs));
    }
  }

  /** The one that is there, where nothing has changed. */
  #poolTlsOf({ name, tls }: PoolConfig, material: PoolMaterial | undefined): PoolTls | undefined {
    if (tls === undefined || material === undefined) return undefined;
    const known = this.#poolTls.get(name);
    if (known?.version === material.version) return known;
    const made = new PoolTls(tls, material);
    this.#poolTls.set(name, made);
    return made;
  }

  /** Who waits goes on waiting through a reload. */
  #queueOf(pool: Pool): PoolQueue | undefined {
    const known = this.#queues.get(pool.config.name);
    known?.setPool(pool);
    const limited = pool.backends.some(({ maxConnections }) => maxConnections !== UNLIMITED);
    const { shared, deadlines } = this.#context;
    return known ?? (limited ? new PoolQueue(pool, shared, deadlines) : undefined);
  }

  /** The one that is there, where nothing has changed. @throws Error where the material is of no use; the old one stays */
  #terminatorOf(frontend: Frontend, material: FrontendMaterial | undefined): Terminator | undefined {
    const { tls, timeouts } = frontend.config;
    if (tls?.mode !== 'terminate' || material === undefined) return undefined;
    const alpn = alpnOf(frontend.config);
    const version = `${material.policy} ${timeouts.headMs} ${alpn}`;
    if (frontend.terminator?.version === version) {
      frontend.terminator.renew(material);
      return frontend.terminator;
    }
    return new Terminator(version, { ...tls, alpn }, material, timeouts.headMs, {
      done: (resumed) => frontend.count(resumed ? 'tls_resumed' : 'tls_handshakes', 1),
      failed: (cause, client, tookMs) => {
        frontend.leave();
        frontend.count('tls_failed', 1);
        frontend.logFlood(client, 'tls_failed', tookMs);
        this.#admission.tellTls(frontend, cause);
      },
      plainHttp: (socket) => this.#entrance.tellPlain(socket, frontend),
      serve: (socket, endpoints) => this.#entrance.serve(socket, frontend, endpoints),
    });
  }

  #setFrontend(config: FrontendConfig, row: number, pools: ReadonlyMap<string, Pool>): Frontend {
    const routePools = config.routes.map((route) => pools.get(route.pool)!);
    const pool = config.pool === undefined ? undefined : pools.get(config.pool);
    const known = this.#frontends.get(config.name);
    if (known === undefined) {
      const added = new Frontend(row, this.#context, config, routePools, pool);
      this.#frontends.set(config.name, added);
      return added;
    }
    known.config = config;
    known.routePools = routePools;
    known.pool = pool;
    return known;
  }

  /** Connections that are open: of clients, and to backends, idle ones too. */
  get open(): number {
    return this.#context.deadlines.size;
  }

  /** What would become of a request; undefined where there is no such frontend. See `explain`. */
  explain(frontend: string, query: ExplainQuery): WorkerExplanation | undefined {
    const it = this.#frontends.get(frontend);
    return it && explain(it, this.#services.get(it), query);
  }

  /** Backends with host names are elsewhere. */
  setAddresses(addresses: Addresses): void {
    for (const backend of this.#backends.values()) readdress(backend, addresses);
  }

  /** Ends the connections that are still open to a backend. */
  cut(slot: number): void {
    for (const connection of this.#connections()) if (connection.backend?.slot === slot) connection.cut();
  }

  /**
   * The active role of VIP groups moves to the other node in a planned way, or comes back. Clients that reach this node
   * at another address keep what is open; those that keep a connection alive are asked to connect anew.
   *
   * @param onOpen told how many connections to their VIPs there are, at once and repeatedly, until there is no group
   */
  retire(groups: Retirement, onOpen: (connections: OpenByGroup) => void): void {
    const names = Object.keys(groups);
    this.#context.retiring = names.length > 0;
    clearInterval(this.#counting);
    if (names.length === 0) return;
    for (const name of names) for (const connection of this.#atVipsOf(name)) askToGo(connection);
    for (const name of names)
      if (groups[name] === 'cut')
        for (const connection of this.#atVipsOf(name)) {
          if (connection.idle) connection.closeIfIdle();
          else connection.cut();
        }
    const count = () => onOpen(Object.fromEntries(names.map((name) => [name, this.#atVipsOf(name).length])));
    this.#counting = setInterval(count, COUNT_MS);
    count();
  }

  /**
   * Takes no new connections and lets requests finish.
   *
   * @param graceMs what is still open then is cut
   */
  async stop(graceMs: number): Promise<void> {
    this.#context.stopping = true;
    this.#askToGo(() => true);
    this.#listeners.close();
    this.#udp.close();
    const end = performance.now() + graceMs;
    // An idle client may be sending its next request right now, so those that just arrive still get an answer.
    while (this.#connections().length > 0 && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(100, graceMs)));
      for (const connection of this.#connections()) connection.closeIfIdle();
    }
    for (const connection of this.#connections()) connection.cut();
    for (const backend of this.#backends.values()) backend.retire();
    this.#context.deadlines.stop();
    this.#context.accessLogs?.flush();
    clearInterval(this.#counting);
  }

  /** Connections that carry many requests are told that they will end; others end with their next answer. */
  #askToGo(isMeant: (connection: Connection) => boolean): void {
    for (const connection of this.#connections()) if (isMeant(connection)) askToGo(connection);
  }

  #beat(): void {
    this.#context.shared.beat();
    this.#leavers.end(this.#context.deadlines.now, () => this.#connections());
  }

  #atVipsOf(group: string): Connection[] {
    return this.#connections().filter(({ localAddress }) => {
      return localAddress !== undefined && this.#groupOfVip.get(asIPv4(localAddress)) === group;
    });
  }

  #connections(): Connection[] {
    return this.#context.deadlines.all().filter(isConnection);
  }
}

function readdress(backend: Backend, addresses: Addresses | undefined): void {
  const now = backend.addressKey === undefined ? undefined : addresses?.[backend.addressKey];
  if (now !== undefined) backend.setAddresses(now);
}

function placeOf({ slot, authority }: Backend): string {
  return `${slot} ${authority}`;
}

function askToGo(connection: Connection): void {
  if (connection instanceof Http2Connection) connection.retire();
}

const CONNECTIONS = [HttpConnection, Http2Connection, Http2Stream, TcpConnection, UdpFlow];

function isConnection(item: Timed): item is Connection {
  return CONNECTIONS.some((kind) => item instanceof kind);
}
