import { poolsOf } from './doors.ts';
import { type Config, IGNORING_WEIGHTS } from './model.ts';
import type { Path } from './source.ts';

/** Something that is allowed and that its author hardly meant. */
export interface Advice {
  readonly path: Path;
  readonly message: string;
}

/** What of a good config is likely to disappoint. */
export function adviceOf(config: Config): readonly Advice[] {
  return [...ignoredWeights(config), ...droppedCookies(config)];
}

function ignoredWeights({ pools }: Config): Advice[] {
  return pools
    .filter(({ algorithm }) => IGNORING_WEIGHTS.has(algorithm))
    .flatMap(({ name, algorithm, backends }) =>
      backends
        .filter(({ weight }) => weight > 1)
        .map((backend) => ({
          path: ['pools', name, 'backends', backend.name, 'weight'],
          message: `${algorithm}, the algorithm of the pool, ignores every weight but 0`,
        })),
    );
}

function droppedCookies({ frontends, pools }: Config): Advice[] {
  return pools.flatMap(({ name, stick }): Advice[] => {
    if (stick?.type !== 'insert' || stick.attributes?.sameSite !== 'none') return [];
    if (stick.attributes.secure === true) return [];
    const plain = frontends.find(
      (frontend) =>
        // A proxy may tell that its client came over HTTPS.
        frontend.tls === undefined && frontend.trustedProxies === undefined && poolsOf(frontend).has(name),
    );
    if (plain === undefined) return [];
    const message = `browsers drop a cookie with "same_site: none" that is not secure; frontend "${plain.name}" sets it over plain HTTP and has no "trusted_proxies" that could tell of HTTPS`;
    return [{ path: ['pools', name, 'stick', 'cookie', 'same_site'], message }];
  });
}
