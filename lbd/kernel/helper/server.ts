import { randomBytes } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import { messageOf, OperatorError } from '../../../common/errors.ts';
import type { Config } from '../../../common/model.ts';
import { TokenBucket } from '../../../common/token-bucket.ts';
import { VERSION } from '../../../common/version.ts';
import { monotonicMs } from '../../session/memory.ts';
import type { KernelOrder } from '../kernel-host.ts';
import { LocalHost, type LocalHostParts } from '../local-host.ts';
import type { ConfigByDigest } from './config-by-digest.ts';
import { FlowLink } from './flow-link.ts';
import { RecentRights } from './flow-request.ts';
import { Inbox } from './inbox.ts';
import {
  admitOrder,
  admitYoung,
  type HelperRequest,
  type HelperSaying,
  MalformedRequest,
  readRequest,
  type WireOrder,
} from './requests.ts';

/** lbd needs two, and two more while it starts again. */
const MAX_CONNECTIONS = 8;
/** A connection that has not said for so long what it wants is closed. */
const HELLO_MS = 5_000;
const MAX_IN_FLIGHT = 64;
/** lbd reads what it is told; one that does not is cut off. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024;
const LOOK_MS = 1_000;
/** Lines about an lbd, of each kind: one that somebody has taken over must not fill the log. */
const LINES = { perSecond: 1 / 10, burst: 20 } as const;

export interface HelperServerOptions {
  readonly configs: Pick<ConfigByDigest, 'get'>;
  log(level: 'info' | 'warn', text: string): void;
  /** lbd is of another version: this process should make room for one of that. */
  onOtherVersion(): void;
  /** Others only in tests. */
  readonly parts?: LocalHostParts;
}

/** The lbd that is served. */
interface Client {
  readonly socket: Socket;
  /** Ties its flow requests to it. */
  readonly token: string;
  inFlight: number;
  flows: FlowLink | undefined;
  /** As it was last told. */
  warnings: string;
}

/**
 * The helper of the kernel engine as lbd sees it: carries out what lbd may ask for, one lbd at a time. It trusts nothing
 * that comes: names and numbers only, of what its own reading of the config has.
 */
export class HelperServer {
  readonly server: Server;
  readonly #options: HelperServerOptions;
  readonly #host: LocalHost;
  readonly #connections = new Set<Socket>();
  readonly #look: NodeJS.Timeout;
  #client: Client | undefined;
  #config: Config | undefined;
  #frontends = '';
  readonly #rights = new RecentRights();
  /** Of flows. */
  #refused = 0;
  readonly #complaints = new TokenBucket(LINES);
  readonly #news = new TokenBucket(LINES);
  #idleSinceMs = monotonicMs();

  constructor(options: HelperServerOptions) {
    this.#options = options;
    this.#host = new LocalHost(
      { tell: (level, text) => this.#tell(level, text), onLoaded: () => this.#say({ event: 'loaded' }) },
      options.parts,
    );
    this.server = createServer((socket) => this.#accept(socket));
    this.server.maxConnections = MAX_CONNECTIONS;
    this.#look = setInterval(() => this.#tellWarnings(), LOOK_MS);
  }

  /** How long no lbd has been there, in milliseconds; 0 while one is. */
  idleMs(nowMs: number): number {
    return this.#client === undefined ? nowMs - this.#idleSinceMs : 0;
  }

  /** The rules stay. */
  async close(): Promise<void> {
    clearInterval(this.#look);
    this.server.close();
    for (const socket of this.#connections) socket.destroy();
    await this.#host.close();
  }

  #accept(socket: Socket): void {
    const inbox = new Inbox();
    let client: Client | undefined;
    let flows: FlowLink | undefined;
    this.#connections.add(socket);
    const patience = setTimeout(() => this.#cutOff(socket, new Error('it says nothing')), HELLO_MS);
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(patience);
      this.#connections.delete(socket);
      if (client !== undefined) this.#gone(client);
    });
    const first = (request: HelperRequest) => {
      clearTimeout(patience);
      if (request.type === 'hello') client = this.#greet(socket, request.id, request.version);
      else if (request.type === 'flows') flows = this.#openFlows(socket, request.id, request.token);
      else throw new MalformedRequest('a request before hello');
    };
    socket.on('data', (chunk: Buffer) => {
      inbox.push(chunk);
      try {
        while (flows === undefined) {
          const line = socket.writable ? inbox.line() : undefined;
          if (line === undefined) return;
          const request = readRequest(line);
          if (client === undefined) first(request);
          else void this.#answer(client, request);
        }
        flows.take(inbox);
      } catch (error) {
        this.#cutOff(socket, error);
      }
    });
  }

  #greet(socket: Socket, id: number, version: string): Client | undefined {
    if (version !== VERSION) {
      const why = `the helper has version ${VERSION}, lbd another one`;
      socket.end(`${JSON.stringify({ id, refused: why, code: 'VERSION' } satisfies HelperSaying)}\n`);
      this.#complain(why);
      this.#options.onOtherVersion();
      return undefined;
    }
    // The newest counts: what the one before it wanted may be over.
    this.#client?.socket.destroy();
    const client = {
      socket,
      token: randomBytes(16).toString('hex'),
      inFlight: 0,
      flows: undefined,
      warnings: '[]',
    };
    this.#client = client;
    this.#send(client, { id, ok: { token: client.token } });
    this.#inform('lbd is here');
    return client;
  }

  /** @throws MalformedRequest where it is not the lbd that is served */
  #openFlows(socket: Socket, id: number, token: string): FlowLink | undefined {
    const client = this.#client;
    if (client === undefined || token !== client.token)
      throw new MalformedRequest('flows of nobody who is here');
    client.flows?.close();
    if (this.#config === undefined) {
      this.#send(client, refusal(id, new OperatorError('NO_ORDER', 'no frontend is in the kernel yet')));
      socket.destroy();
      return undefined;
    }
    try {
      client.flows = new FlowLink(socket, {
        rights: () => this.#rights.at(monotonicMs()),
        onRefused: (count) => this.#refusedFlows(count),
        onTrouble: (error) => this.#complain(`flow requests: ${messageOf(error)}`),
      });
    } catch (error) {
      this.#send(client, refusal(id, error));
      socket.destroy();
      return undefined;
    }
    this.#send(client, { id, ok: true });
    return client.flows;
  }

  async #answer(client: Client, request: HelperRequest): Promise<void> {
    if (++client.inFlight > MAX_IN_FLIGHT) {
      this.#cutOff(client.socket, new Error(`more than ${MAX_IN_FLIGHT} requests at once`));
      return;
    }
    try {
      this.#send(client, { id: request.id, ok: await this.#carryOut(request) });
    } catch (error) {
      this.#complain(`refused: ${request.type}: ${messageOf(error)}`);
      this.#send(client, refusal(request.id, error));
    }
    client.inFlight--;
    this.#tellWarnings();
  }

  #carryOut(request: HelperRequest): unknown {
    switch (request.type) {
      case 'facts':
        return this.#host.facts();
      case 'keep':
        return this.#keep(request);
      case 'young':
        return this.#host.setYoung(admitYoung(request.young, this.#config));
      case 'cut':
        return this.#host.cut(request.frontend, request.backend);
      case 'leftover':
        return this.#takeBack();
      default:
        throw new OperatorError('NOT_HERE', 'this is said once, at the beginning of a connection');
    }
  }

  async #keep(wanted: WireOrder): Promise<{ trouble: string | null }> {
    const config = await this.#options.configs.get(wanted.digest);
    const trouble = await this.#order(admitOrder(wanted, config));
    return { trouble: trouble ?? null };
  }

  /** No frontend is to be in the kernel. The table of another lbd's time goes; one of this run stays, for flows that are open. */
  async #takeBack(): Promise<boolean> {
    if (!this.#host.began || this.#config === undefined) return this.#host.removeLeftover();
    await this.#order({ config: this.#config, frontends: [], gates: {}, young: {} });
    return true;
  }

  #order(order: KernelOrder): Promise<string | undefined> {
    const { config } = order;
    const frontends = JSON.stringify(order.frontends);
    const kept = this.#host.keep(order);
    if (config !== this.#config || frontends !== this.#frontends)
      this.#rights.change(this.#host.services, config.sync.flowMarks, monotonicMs());
    this.#config = config;
    this.#frontends = frontends;
    return kept;
  }

  #gone(client: Client): void {
    client.flows?.close();
    if (this.#client !== client) return;
    this.#client = undefined;
    this.#idleSinceMs = monotonicMs();
    this.#inform('lbd is gone, the rules stay');
  }

  #cutOff(socket: Socket, error: unknown): void {
    this.#complain(`a connection was closed: ${messageOf(error)}`);
    socket.destroy();
  }

  #refusedFlows(count: number): void {
    this.#refused += count;
    this.#complain(`refused: ${this.#refused} requests by now about flows that are not ours`);
  }

  #complain(text: string): void {
    if (this.#complaints.take(monotonicMs())) this.#options.log('warn', text);
  }

  #inform(text: string): void {
    if (this.#news.take(monotonicMs())) this.#options.log('info', text);
  }

  #tell(level: 'info' | 'warn', text: string): void {
    if (this.#client === undefined) this.#options.log(level, text);
    this.#say({ event: 'tell', level, text });
  }

  #tellWarnings(): void {
    const client = this.#client;
    const lines = this.#host.warnings();
    const warnings = JSON.stringify(lines);
    if (client === undefined || warnings === client.warnings) return;
    client.warnings = warnings;
    this.#send(client, { event: 'warnings', lines });
  }

  #say(saying: HelperSaying): void {
    if (this.#client !== undefined) this.#send(this.#client, saying);
  }

  #send({ socket }: Client, saying: HelperSaying): void {
    if (socket.destroyed) return;
    socket.write(`${JSON.stringify(saying)}\n`);
    if (socket.writableLength > MAX_WAITING_BYTES)
      this.#cutOff(socket, new Error('it does not read the answers'));
  }
}

function refusal(id: number, error: unknown): HelperSaying {
  const code = error instanceof OperatorError ? error.code : 'FAILED';
  return { id, refused: messageOf(error), code };
}
