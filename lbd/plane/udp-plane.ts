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
  /** By address; new clients go to the owner. */
  readonly #listeners = new Map<
    string,
    { readonly listener: UdpListener; readonly owner: { frontend: Frontend } }
  >();
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
        wanted.set(`${address.host}:${address.port}`, { address, frontend });
    for (const frontend of this.#flows.keys())
      if (!frontends.includes(frontend)) this.#flows.delete(frontend);
    const errors: string[] = [];
    for (const [key, { address, frontend }] of wanted) {
      try {
        const known = this.#listeners.get(key);
        if (known === undefined) await this.#open(key, address, vips, frontend);
        else {
          known.owner.frontend = frontend;
          await known.listener.setVips(vips);
        }
      } catch (error) {
        errors.push(`frontend ${frontend.name}: ${messageOf(error)}`);
      }
    }
    for (const [key, { listener }] of this.#listeners) {
      if (wanted.has(key)) continue;
      listener.close();
      this.#listeners.delete(key);
    }
    clearInterval(this.#looking);
    if (this.#listeners.size > 0) this.#looking = setInterval(() => this.#look(), LOOK_MS).unref();
    return errors;
  }

  /** Takes no new clients; flows that there are go on until they are closed. */
  close(): void {
    clearInterval(this.#looking);
    for (const { listener } of this.#listeners.values()) listener.close();
    this.#listeners.clear();
  }

  async #open(
    key: string,
    address: SocketAddress,
    vips: readonly string[],
    frontend: Frontend,
  ): Promise<void> {
    const owner = { frontend };
    const listener = await UdpListener.open(address, vips, {
      onClient: (socket, client, bytes, from) =>
        this.#flowsOf(owner.frontend).begin(socket, client, bytes, from),
      onError: (error) => {
        const whose = `frontend ${owner.frontend.name}`;
        this.#admission.tell(
          `${whose}: cannot receive a datagram: ${messageOf(error)}`,
          `${whose} ${error.code}`,
        );
      },
    });
    this.#listeners.set(key, { listener, owner });
  }

  #flowsOf(frontend: Frontend): UdpFlows {
    let flows = this.#flows.get(frontend);
    if (flows === undefined) {
      flows = new UdpFlows(frontend, this.#admission);
      this.#flows.set(frontend, flows);
    }
    return flows;
  }

  #look(): void {
    for (const { listener } of this.#listeners.values()) void listener.look();
  }
}
