import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { Backend } from '../../../lbd/dispatch/backend.ts';
import { workerContext } from '../worker-context.ts';

t.test('an IPv6 backend stands in brackets in a Host field', (t) => {
  const { pools } = parseConfig(
    `
frontends: { web: { bind: ["127.0.0.1:80"], pool: web } }
pools: { web: { backends: { s4: { address: "10.0.0.1:80" }, s6: { address: "[::1]:30041" }, name: { address: "a.example:80" } } } }
`,
    '/f',
  );
  const { shared } = workerContext();
  t.same(
    pools[0]!.backends.map((it, slot) => new Backend('web', it, slot, shared).authority),
    ['10.0.0.1:80', '[::1]:30041', 'a.example:80'],
    'RFC 9110 §7.2, RFC 3986 §3.2.2',
  );
  t.end();
});
