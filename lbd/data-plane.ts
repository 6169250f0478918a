import type net from 'node:net';
import { messageOf } from '../common/errors.ts';
import type { FrontendConfig, SocketAddress } from '../common/model.ts';
import { Admission, type WorkerLog } from './admission.ts';
import { Backend } from './backend.ts';
import { Deadlines, type Timed } from './deadlines.ts';
import { Frontend, type WorkerContext } from './frontend.ts';
import { HttpConnection } from './http/connection.ts';
import { RequestHead } from './http/request-head.ts';
import { ResponseHead } from './http/response-head.ts';
import { Listener } from './listener.ts';
import type { Plan, RetireMode } from './plan.ts';
import { Pool } from './pool.ts';
import type { ByteSink } from './raw-socket.ts';
import { compileRoutes } from './router.ts';
import type { SessionTable } from './session/table.ts';
import type { SharedState } from './shared.ts';
import { TcpConnection } from './tcp-connection.ts';

/** Field lines that any head may have, whatever the config allows: the size of the scratch. */
const MAX_FIELDS = 1000;
/** Between two counts of the connections that are still open when this node has given up the active role. */
const COUNT_MS = 100;

type Connection = HttpConnection | TcpConnection;

/** Everything that one worker serves: its listeners, frontends, pools and connections. */
export class DataPlane {
  readonly #context: WorkerContext;
  readonly #sessions: SessionTable;
  readonly #index: number;
  readonly #admission: Admission;
  #backends = new Map<string, Backend>();
  readonly #frontends = new Map<string, Frontend>();
  readonly #listeners = new Map<string, Listener>();
  #vips: ReadonlySet<string> = new Set();
  #counting: NodeJS.Timeout | undefined;

  /**
   * @param index of this worker
   * @param requestIdPrefix unlike that of any other worker, node or start
   * @param log of overload
   */
  constructor(
    index: number,
    shared: SharedState,
    sessions: SessionTable,
    requestIdPrefix: string,
    log: WorkerLog = () => {},
  ) {
    let requests = 0;
    this.#index = index;
    this.#sessions = sessions;
    this.#context = {
      shared,
      deadlines: new Deadlines(),
      requestHead: new RequestHead(MAX_FIELDS),
      responseHead: new ResponseHead(MAX_FIELDS),
      nextRequestId: () => `${requestIdPrefix}${(requests++).toString(36)}`,
      stopping: false,
      retiring: false,
    };
    this.#context.deadlines.start();
    this.#admission = new Admission(this.#context.deadlines, log);
  }

  /**
   * Serves a new plan. Frontends, backends and listeners that stay keep their connections.
   *
   * @returns what could not be done, a line each; all else is in force
   */
  async apply(plan: Plan): Promise<string[]> {
    this.#vips = new Set(plan.config.ha?.vips.map(({ address }) => address));
    const pools = this.#makePools(plan);
    const wanted = new Map<string, { address: SocketAddress; frontend: string }>();
    const names = new Set<string>();
    for (const config of plan.config.frontends) {
      names.add(config.name);
      this.#setFrontend(config, plan.frontendRows[config.name]!, pools);
      for (const address of config.bind)
        wanted.set(`${config.name} ${address.host}:${address.port}`, { address, frontend: config.name });
    }
    for (const [key, listener] of this.#listeners) {
      if (wanted.has(key)) continue;
      listener.close();
      this.#listeners.delete(key);
    }
    for (const name of this.#frontends.keys()) if (!names.has(name)) this.#frontends.delete(name);
    const errors: string[] = [];
    for (const [key, { address, frontend }] of wanted) {
      if (this.#listeners.has(key)) continue;
      try {
        const target = this.#frontends.get(frontend)!;
        const listener = await Listener.open(
          address,
          (socket) => this.#admission.refuse(socket, target) ?? accept(socket, target),
          (error) =>
            this.#admission.tell(`frontend ${frontend}: cannot accept a client: ${messageOf(error)}`),
        );
        this.#listeners.set(key, listener);
      } catch (error) {
        errors.push(`frontend ${frontend}: ${messageOf(error)}`);
      }
    }
    return errors;
  }

  #makePools(plan: Plan): ReadonlyMap<string, Pool> {
    const kept = new Map<string, Backend>();
    const pools = new Map<string, Pool>();
    for (const config of plan.config.pools) {
      const backends = config.backends.map((backend) => {
        const slot = plan.slots[`${config.name}/${backend.name}`]!;
        const key = `${config.name}/${backend.name} ${slot} ${backend.address.host}:${backend.address.port}`;
        const it = this.#backends.get(key) ?? new Backend(config.name, backend, slot, this.#context.shared);
        kept.set(key, it);
        return it;
      });
      pools.set(config.name, new Pool(config, backends, this.#context.shared, this.#sessions, this.#index));
    }
    for (const [key, backend] of this.#backends) if (!kept.has(key)) backend.retire();
    this.#backends = kept;
    return pools;
  }

  #setFrontend(config: FrontendConfig, row: number, pools: ReadonlyMap<string, Pool>): void {
    const router = compileRoutes(config.routes, config.pool);
    const routePools = config.routes.map((route) => pools.get(route.pool)!);
    const pool = config.pool === undefined ? undefined : pools.get(config.pool);
    const known = this.#frontends.get(config.name);
    if (known === undefined) {
      this.#frontends.set(config.name, new Frontend(row, this.#context, config, router, routePools, pool));
      return;
    }
    known.config = config;
    known.router = router;
    known.routePools = routePools;
    known.pool = pool;
  }

  /** Connections that are open: of clients, and to backends, idle ones too. */
  get open(): number {
    return this.#context.deadlines.size;
  }

  /** Ends the connections that are still open to a backend. */
  cut(slot: number): void {
    for (const connection of this.#connections()) if (connection.slot === slot) connection.cut();
  }

  /**
   * The active role moves to the other node in a planned way, or comes back. Clients that reach this node at an
   * address of its own are not concerned.
   *
   * @param onOpen told how many connections to the VIPs there are, at once and repeatedly, until the mode is `keep`
   */
  retire(mode: RetireMode, onOpen: (connections: number) => void): void {
    this.#context.retiring = mode !== 'keep';
    clearInterval(this.#counting);
    if (mode === 'keep') return;
    if (mode === 'cut')
      for (const connection of this.#atVips()) {
        if (connection.idle) connection.closeIfIdle();
        else connection.cut();
      }
    const count = () => onOpen(this.#atVips().length);
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
    for (const listener of this.#listeners.values()) listener.close();
    const end = performance.now() + graceMs;
    // An idle client may be sending its next request right now, so those that just arrive still get an answer.
    while (this.#connections().length > 0 && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(100, graceMs)));
      for (const connection of this.#connections()) connection.closeIfIdle();
    }
    for (const connection of this.#connections()) connection.cut();
    for (const backend of this.#backends.values()) backend.retire();
    this.#context.deadlines.stop();
    clearInterval(this.#counting);
  }

  #atVips(): Connection[] {
    return this.#connections().filter(({ localAddress }) => {
      if (localAddress === undefined) return false;
      return this.#vips.has(localAddress.startsWith('::ffff:') ? localAddress.slice(7) : localAddress);
    });
  }

  #connections(): Connection[] {
    return this.#context.deadlines.all().filter(isConnection);
  }
}

function isConnection(item: Timed): item is Connection {
  return item instanceof HttpConnection || item instanceof TcpConnection;
}

function accept(socket: net.Socket, frontend: Frontend): ByteSink {
  if (frontend.config.mode === 'tcp') return new TcpConnection(socket, frontend);
  const connection = new HttpConnection(socket, frontend);
  socket.resume();
  return connection;
}
