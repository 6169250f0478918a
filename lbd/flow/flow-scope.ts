import { isIPv4 } from 'node:net';
import { parseAddress } from '../../common/ip-words.ts';
import { KEY_CHARS_IPV4, TCP, UDP } from './flow.ts';
import type { KernelFrontend } from './kernel-frontend.ts';

/** No backend has this name in the counts of flows by accident: it is one that the config does not have any more. */
const OTHER = 'other';

interface Service {
  readonly frontend: string;
  readonly protocol: number;
  readonly ports: KernelFrontend['ports'];
  /** Address and port as latin1 bytes → name of the backend. */
  readonly backends: ReadonlyMap<string, string>;
}

/** Where a flow belongs. */
export interface FlowPlace {
  readonly frontend: string;
  /** `other`: a backend that the config does not have any more. */
  readonly backend: string;
}

/** A backend that left the config may have open flows for so long; the other node may know them from now on only. */
const FORMER_MS = 3_600_000;
/** More than leave a config in an hour. */
const MAX_FORMER = 4096;

/** Says which flows are of our frontends. Made anew at each config. */
export class FlowScope {
  /** Frontend, address and port as latin1 bytes of backends that the config had, and when they were seen to be gone. */
  readonly #former = new Map<string, number>();

  /** By destination address, as latin1 bytes; '' for every address. */
  readonly #services = new Map<string, Service[]>();

  /** @param before the scope of the config before @param nowMs monotonic */
  constructor(frontends: readonly KernelFrontend[], before?: FlowScope, nowMs = 0) {
    for (const { name, protocol, ports, addresses, backends } of frontends) {
      const service: Service = {
        frontend: name,
        protocol: protocol === 'tcp' ? TCP : UDP,
        ports,
        backends: new Map(
          backends.map((it) => [`${addressBytes(it.address)}${portBytes(it.port)}`, it.name] as const),
        ),
      };
      for (const address of addresses.length === 0 ? [''] : addresses.map(addressBytes))
        if (address !== undefined)
          this.#services.set(address, [...(this.#services.get(address) ?? []), service]);
    }
    for (const [key, goneMs] of before?.keys(nowMs) ?? [])
      if (nowMs - goneMs < FORMER_MS && this.#former.size < MAX_FORMER) this.#former.set(key, goneMs);
  }

  /** What a later scope must know of this one's backends: those of now leave it at `nowMs` at the earliest. */
  *keys(nowMs: number): Generator<readonly [key: string, goneMs: number]> {
    yield* this.#former;
    for (const { frontend, backends } of new Set([...this.#services.values()].flat()))
      for (const backend of backends.keys()) yield [`${frontend}\n${backend}`, nowMs];
  }

  /**
   * Whether this node may have a flow in its kernel that another node tells of: it leads to a backend that the config has,
   * or had until just now, and its answers go to the client or the address that the client asked.
   */
  allows(tuples: string, nowMs: number): boolean {
    const place = this.place(tuples);
    if (place === undefined) return false;
    const bytes = (tuples.length - 9) / 4;
    const reply = 1 + 2 * bytes + 4;
    const answersTo = tuples.slice(reply + bytes, reply + 2 * bytes);
    const [client, asked] = [tuples.slice(1, 1 + bytes), tuples.slice(1 + bytes, 1 + 2 * bytes)];
    if (answersTo !== client && answersTo !== asked) return false;
    if (place.backend !== OTHER) return true;
    const backend =
      tuples.slice(reply, reply + bytes) + tuples.slice(reply + 2 * bytes, reply + 2 * bytes + 2);
    const goneMs = this.#former.get(`${place.frontend}\n${backend}`);
    return goneMs !== undefined && nowMs - goneMs < FORMER_MS;
  }

  get empty(): boolean {
    return this.#services.size === 0;
  }

  /** Whether a flow is ours, by the bytes of its key. */
  has(key: Buffer, length: number): boolean {
    const bytes = length === KEY_CHARS_IPV4 ? 4 : 16;
    const port = key.readUInt16BE(3 + 2 * bytes);
    const address = key.latin1Slice(1 + bytes, 1 + 2 * bytes);
    return this.#find(address, key[0]!, port) !== undefined;
  }

  /** @returns undefined where the flow is not ours */
  place(tuples: string): FlowPlace | undefined {
    const bytes = (tuples.length - 9) / 4;
    const ports = 1 + 2 * bytes;
    const port = tuples.charCodeAt(ports + 2) * 256 + tuples.charCodeAt(ports + 3);
    const service = this.#find(tuples.slice(1 + bytes, 1 + 2 * bytes), tuples.charCodeAt(0), port);
    if (service === undefined) return undefined;
    const [reply, replyPorts] = [ports + 4, ports + 4 + 2 * bytes];
    const backend = service.backends.get(
      tuples.slice(reply, reply + bytes) + tuples.slice(replyPorts, replyPorts + 2),
    );
    return { frontend: service.frontend, backend: backend ?? OTHER };
  }

  #find(address: string, protocol: number, port: number): Service | undefined {
    const matches = (it: Service) =>
      it.protocol === protocol && it.ports.some(([first, last]) => port >= first && port <= last);
    return this.#services.get(address)?.find(matches) ?? this.#services.get('')?.find(matches);
  }
}

/** An address as latin1 bytes: 4 or 16 characters; undefined where it is none. */
export function addressBytes(address: string): string | undefined {
  const words = new Int32Array(4);
  if (!parseAddress(address, words)) return undefined;
  const bytes = Buffer.alloc(16);
  for (let i = 0; i < 4; i++) bytes.writeInt32BE(words[i]!, i * 4);
  return bytes.latin1Slice(isIPv4(address) ? 12 : 0, 16);
}

function portBytes(port: number): string {
  return String.fromCharCode(port >> 8, port & 255);
}
