import { messageOf } from '../common/errors.ts';
import type { VipRoute } from '../common/model.ts';
import type { Complaints } from './complaints.ts';
import { formerRoute } from './former-route.ts';
import type { IpBatch } from './ip-batch.ts';
import { routeLine, routeQuery } from './vip-lines.ts';

export interface RouteHost {
  /** For routes alone: nothing else waits for it. */
  readonly routes: IpBatch;
  /** Likewise, for queries of IPv6 routes. */
  readonly routes6: IpBatch;
  /** Lines for `ip` that bring back what routes of VIPs have taken the place of; all of the host. */
  onFormerRoutes(group: string, lines: readonly string[]): void;
}

/** The routes of one VIP group, and the routes of the host whose place they take. */
export class VipRoutes {
  readonly #group: string;
  readonly #host: RouteHost;
  readonly #complaints: Complaints;
  /** They have been put in their place since they were removed. */
  #placed = false;
  #adding = false;
  /** Lines for `ip` that bring back what was there before. */
  #former: readonly string[] = [];
  /** How often they were asked to leave: an addition that comes later must not bring them back. */
  #departures = 0;

  constructor(group: string, host: RouteHost, complaints: Complaints) {
    this.#group = group;
    this.#host = host;
    this.#complaints = complaints;
  }

  /** Adds them, and what the kernel dropped of them meanwhile. Nothing waits for it: the VIPs are worth more. */
  add(routes: readonly VipRoute[]): void {
    if (routes.length === 0 || this.#adding) return;
    this.#adding = true;
    this.#add(routes)
      .catch((error: unknown) => this.#complain(routes, messageOf(error)))
      .finally(() => {
        this.#adding = false;
      });
  }

  /** Lines for `ip` that remove them and bring back what was there before. */
  removals(routes: readonly VipRoute[]): string[] {
    this.#departures++;
    this.#placed = false;
    return [...routes.map((route) => routeLine('del', route)), ...this.#former];
  }

  /** They have been removed. */
  removed(): void {
    this.#complaints.forget(this.#about);
    this.#remember([]);
  }

  async #add(routes: readonly VipRoute[]): Promise<void> {
    const departures = this.#departures;
    const { routes: ip, routes6 } = this.#host;
    if (!this.#placed) {
      const answers = await Promise.all(
        routes.map((route) => (route.family === 6 ? routes6 : ip).run([routeQuery(route)])),
      );
      if (departures !== this.#departures) return;
      const former = answers.flatMap(({ objects }, i) =>
        objects.flatMap((it) => formerRoute(it, routes[i]!) ?? []),
      );
      this.#remember([...new Set([...this.#former, ...former])]);
    }
    const verb = this.#placed ? 'add' : 'replace';
    this.#placed = true;
    const { errors } = await ip.run(routes.map((route) => routeLine(verb, route)));
    if (departures !== this.#departures) return;
    const bad = errors.filter((line) => !line.includes('File exists'));
    if (bad.length > 0) this.#complain(routes, bad.join('; '));
    else this.#complaints.forget(this.#about);
  }

  #remember(former: readonly string[]): void {
    if (former.join() === this.#former.join()) return;
    this.#former = former;
    this.#host.onFormerRoutes(this.#group, former);
  }

  get #about(): string {
    return 'routes';
  }

  #complain(routes: readonly VipRoute[], why: string): void {
    const which = routes.map(({ to }) => to).join(', ');
    this.#complaints.add(this.#about, `a route (${which}) was not added: ${why}`);
  }
}
