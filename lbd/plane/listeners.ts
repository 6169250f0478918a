import type { SocketAddress } from '../../common/address.ts';
import { messageOf } from '../../common/errors.ts';
import type { Admission } from '../entry/admission.ts';
import type { Frontend } from '../entry/frontend.ts';
import { type Accept, Listener, type OnAcceptError } from '../io/listener.ts';
import type { Entrance } from './entrance.ts';

/** Where the TCP connections of one worker come to, and whose they are. */
export class Listeners {
  readonly #admission: Admission;
  readonly #entrance: Entrance;
  /** By address: a frontend under another name has the same ones. */
  readonly #open = new Map<string, Listener>();

  constructor(admission: Admission, entrance: Entrance) {
    this.#admission = admission;
    this.#entrance = entrance;
  }

  /**
   * Listens where these frontends want it, and nowhere else. A socket that is there already goes to whoever has its address
   * now, alone or with all others of the port; new ones are there before old ones close, so that no client finds nobody.
   *
   * @returns what could not be done, a line each; once old ones are closed
   */
  async apply(frontends: Iterable<Frontend>): Promise<string[]> {
    const errors: string[] = [];
    const wanted = new Set<string>();
    /** By port: who has all addresses. */
    const everywhere = new Map<number, Frontend>();
    for (const frontend of frontends)
      for (const address of frontend.config.bind) {
        const key = `${address.host}:${address.port}`;
        wanted.add(key);
        if (address.host === '*') everywhere.set(address.port, frontend);
        try {
          await this.#listen(key, address, frontend);
        } catch (error) {
          errors.push(`frontend ${frontend.name}: ${messageOf(error)}`);
        }
      }
    const leaving: Listener[] = [];
    for (const [key, listener] of this.#open) {
      if (wanted.has(key)) continue;
      const heir = everywhere.get(listener.address.port);
      if (heir !== undefined) this.#hand(listener, heir);
      else {
        this.#open.delete(key);
        leaving.push(listener);
      }
    }
    await Promise.all(leaving.map((listener) => listener.leave()));
    return errors;
  }

  /** Takes no new connections; open ones are not touched. */
  close(): void {
    for (const listener of this.#open.values()) listener.close();
  }

  /** @throws OperatorError `BIND` when the address cannot be had */
  async #listen(key: string, address: SocketAddress, frontend: Frontend): Promise<void> {
    const known = this.#open.get(key);
    if (known !== undefined) this.#hand(known, frontend);
    else
      this.#open.set(key, await Listener.open(address, this.#accept(frontend), this.#acceptError(frontend)));
  }

  #hand(listener: Listener, frontend: Frontend): void {
    listener.handTo(this.#accept(frontend), this.#acceptError(frontend));
  }

  #accept(frontend: Frontend): Accept {
    return (socket) => this.#entrance.arrived(socket, frontend);
  }

  #acceptError(frontend: Frontend): OnAcceptError {
    return (error) =>
      this.#admission.tell(`frontend ${frontend.name}: cannot accept a client: ${messageOf(error)}`);
  }
}
