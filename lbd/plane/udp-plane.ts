import type { SocketAddress } from '../../common/address.ts';
import { messageOf } from '../../common/errors.ts';
import type { Admission } from '../entry/admission.ts';
import type { Frontend } from '../entry/frontend.ts';
import { UdpFlows } from '../udp/udp-flows.ts';
import { UdpListener } from '../udp/udp-listener.ts';

/** New addresses of this node are looked for so often, also where no datagram asks for it. */
const LOOK_MS = 5_000;

/** Everything of `mode: udp` in one worker. */
export class UdpPlane {
  readonly #admission: Admission;
  readonly #flows = new Map<Frontend, UdpFlows>();
  readonly #listeners = new Map<string, UdpListener>();
  #looking: NodeJS.Timeout | undefined;

  constructor(admission: Admission) {
    this.#admission = admission;
  }

  /**
   * Listens for the UDP frontends of a new config. Binds that stay keep their flows.
   *
   * @param vips addresses that this node has, or will have
   * @returns what could not be done, a line each
   */
  async apply(frontends: readonly Frontend[], vips: readonly string[]): Promise<string[]> {
    const wanted = new Map<string, { address: SocketAddress; frontend: Frontend }>();
    for (const frontend of frontends)
      for (const address of frontend.config.bind)
        wanted.set(`${frontend.name} ${address.host}:${address.port}`, { address, frontend });
    for (const [key, listener] of this.#listeners) {
      if (wanted.has(key)) continue;
      listener.close();
      this.#listeners.delete(key);
    }
    for (const frontend of this.#flows.keys())
      if (!frontends.includes(frontend)) this.#flows.delete(frontend);
    const errors: string[] = [];
    for (const [key, { address, frontend }] of wanted) {
      try {
        const known = this.#listeners.get(key);
        if (known !== undefined) await known.setVips(vips);
        else this.#listeners.set(key, await this.#open(address, vips, frontend));
      } catch (error) {
        errors.push(`frontend ${frontend.name}: ${messageOf(error)}`);
      }
    }
    clearInterval(this.#looking);
    if (this.#listeners.size > 0) this.#looking = setInterval(() => this.#look(), LOOK_MS).unref();
    return errors;
  }

  /** Takes no new clients; flows that there are go on until they are closed. */
  close(): void {
    clearInterval(this.#looking);
    for (const listener of this.#listeners.values()) listener.close();
    this.#listeners.clear();
  }

  #open(address: SocketAddress, vips: readonly string[], frontend: Frontend): Promise<UdpListener> {
    let flows = this.#flows.get(frontend);
    if (flows === undefined) {
      flows = new UdpFlows(frontend, this.#admission);
      this.#flows.set(frontend, flows);
    }
    const clients = flows;
    return UdpListener.open(address, vips, {
      onClient: (socket, key, bytes, from) => clients.begin(socket, key, bytes, from),
      onError: (error) =>
        this.#admission.tell(
          `frontend ${frontend.name}: cannot receive a datagram: ${messageOf(error)}`,
          `frontend ${frontend.name} ${error.code}`,
        ),
    });
  }

  #look(): void {
    for (const listener of this.#listeners.values()) void listener.look();
  }
}
