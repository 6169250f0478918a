import t from 'tap';
import { listensAt } from '../../../scripts/lbctl/check-host.ts';

t.test('ports that a running lbd has itself are not called taken', async (t) => {
  const frontends = {
    web: { mode: 'http', bind: ['*:80', '[::1]:8000-8010'] },
    dns: { mode: 'udp', bind: ['*:53'] },
  } as unknown as Parameters<typeof listensAt>[0]['frontends'];
  const has = (port: number, protocol: 'tcp' | 'udp') =>
    listensAt({ frontends }, { what: 'frontend x', host: '*', port, protocol });
  t.ok(has(80, 'tcp') && has(8005, 'tcp') && has(53, 'udp'));
  t.notOk(has(53, 'tcp') || has(80, 'udp') || has(8011, 'tcp') || has(8080, 'tcp'));
});
