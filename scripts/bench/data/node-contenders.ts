import { join } from 'node:path';
import { NODE } from '../../lab/lab.ts';
import type { Contender } from './contender.ts';
import type { Listener } from './setup.ts';

/** Package of a proxy that is measured where it is installed. */
export const HTTP_PROXY = 'http-proxy-3';

/**
 * What one writes with Node's own modules, and with the package that most take. They do less than the others: no
 * routes, health checks, metrics or stickiness, one worker.
 */
export const nodeHttp = contender('node:http', 'node-http-proxy.ts', ['http', 'https']);
export const httpProxy3 = contender(HTTP_PROXY, 'node-http-proxy.ts', ['http', 'https'], HTTP_PROXY);
export const nodeNet = contender('node:net', 'node-net-relay.ts', ['tcp']);

function contender(name: string, file: string, can: readonly Listener[], needs?: string): Contender {
  return {
    name,
    warmsUp: true,
    lacks: ({ listeners, workers }) => {
      if (needs !== undefined && !isInstalled(needs)) return `the npm package ${needs} is not installed`;
      const cannot = listeners.find((listener) => !can.includes(listener));
      if (cannot !== undefined) return `${name} does not do ${cannot}`;
      return workers > 1 ? `${name} has one worker` : undefined;
    },
    config: () => '',
    argv: ({ listeners }, place) => [
      ...[NODE, join(import.meta.dirname, file), name, String(place.originPort), place.certificate],
      ...listeners.map((listener) => `${listener}=${place.ports[listener]}`),
    ],
  };
}

function isInstalled(name: string): boolean {
  try {
    import.meta.resolve(name);
    return true;
  } catch {
    return false;
  }
}
