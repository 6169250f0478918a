import { isIPv4 } from 'node:net';
import type { KernelFrontend } from '../kernel/kernel-frontend.ts';
import { parseAddress } from '../session/address.ts';
import { KEY_CHARS_IPV4, TCP, UDP } from './flow.ts';

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

/** Says which flows are of our frontends. Made anew at each config. */
export class FlowScope {
  /** By destination address, as latin1 bytes; '' for every address. */
  readonly #services = new Map<string, Service[]>();

  constructor(frontends: readonly KernelFrontend[]) {
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
    return { frontend: service.frontend, backend: backend ?? 'other' };
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
