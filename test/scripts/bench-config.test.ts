import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import { lbd } from '../../scripts/bench/data/lbd.ts';
import { LOADS } from '../../scripts/bench/data/loads.ts';
import { OTHER_ROUTES, placeOf, ROUTE } from '../../scripts/bench/data/setup.ts';

t.test('lbd takes the config of each load', async (t) => {
  for (const [name, { listener, features }] of Object.entries(LOADS)) {
    const setup = { listeners: [listener], features, workers: 1 };
    const config = parseConfig(lbd.config(setup, placeOf('/nowhere', 0)), name);
    t.equal(config.workers, 1, name);
    t.same(
      config.frontends.map((frontend) => frontend.name),
      [listener],
      name,
    );
  }
});

t.test('with all features', async (t) => {
  const setup = { listeners: ['http', 'https', 'tcp'], features: true, workers: 2 } as const;
  const config = parseConfig(lbd.config(setup, placeOf('/nowhere', 0)), 'all');
  t.same(
    config.frontends.map(({ name, routes }) => [name, routes.length]),
    [
      ['http', OTHER_ROUTES.length + 1],
      ['https', OTHER_ROUTES.length + 1],
      ['tcp', 0],
    ],
  );
  t.equal(OTHER_ROUTES.length + 1, 20);
  t.match(config.frontends[0]!.routes.at(-1), { match: { path: { prefix: ROUTE } } });
  const web = config.pools.find(({ name }) => name === 'web');
  t.match(web, { stick: { cookie: 'SERVERID' }, health: { type: 'http' } });
  t.ok(config.admin.metrics);
});

t.test('proxies that run at the same time share no port', async (t) => {
  const ports = [0, 1, 2, 3, 4, 5].flatMap((index) => Object.values(placeOf('/nowhere', index).ports));
  t.equal(new Set(ports).size, ports.length);
});
