import t from 'tap';
import { parseConfig } from '../../../../common/config.ts';
import {
  admitOrder,
  admitYoung,
  MalformedRequest,
  readRequest,
  type WireOrder,
} from '../../../../lbd/kernel/helper/requests.ts';

const CONFIG = parseConfig(
  `cluster:
  name: c
  secret_file: secret
  nodes: { a: { address: 192.0.2.1 }, b: { address: 192.0.2.2 } }
ha: { vips: [{ address: 192.0.2.100/24, interface: eth0 }] }
frontends:
  kernel: { bind: ["*:5000"], mode: tcp, pool: p, engine: kernel }
  auto: { bind: ["*:5001"], mode: tcp, pool: p }
  user: { bind: ["*:5002"], mode: tcp, pool: p, engine: user }
  web: { bind: ["*:80"], mode: http, pool: q }
  least: { bind: ["*:5003"], mode: tcp, pool: least }
pools:
  p: { backends: { a: { address: "192.0.2.21:9" }, b: { address: "192.0.2.22:9" } } }
  q: { backends: { a: { address: "192.0.2.23:9" } } }
  least: { algorithm: least-connections, backends: { a: { address: "192.0.2.24:9" } } }
`,
  '/etc/tandem/tandem.yaml',
  { node: 'a' },
);

const ORDER: WireOrder = {
  digest: CONFIG.digest,
  frontends: ['kernel', 'auto'],
  gates: { 'p/a': [0, 5], 'p/b': [2, 0] },
  young: { '192.0.2.100': null },
};
const line = (request: object) => JSON.stringify({ id: 1, ...request });
const keep = (changed: object) => line({ type: 'keep', ...ORDER, ...changed });

t.test('what lbd says comes out as it was said', async (t) => {
  for (const request of [
    { id: 0, type: 'hello', version: '1.0' },
    { id: 2 ** 53 - 1, type: 'facts' },
    { id: 1, type: 'leftover' },
    { id: 1, type: 'keep', ...ORDER },
    { id: 1, type: 'young', young: { '192.0.2.100': 10_000, 'fd00::1': 0 } },
    { id: 1, type: 'cut', frontend: 'kernel', backend: 'a' },
    { id: 1, type: 'flows', token: 'abc' },
  ])
    t.strictSame(readRequest(JSON.stringify(request)), request);
});

t.test('what lbd never says is no request', async (t) => {
  const many = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`p/${i}`, [0, 1]]));
  for (const text of [
    '',
    '{',
    'null',
    '[]',
    '1',
    line({}),
    '{"type":"facts"}',
    line({ id: -1, type: 'facts' }),
    line({ id: 0.5, type: 'facts' }),
    line({ id: '1', type: 'facts' }),
    line({ type: 'toString' }),
    line({ type: '__proto__' }),
    line({ type: 'apply', script: 'flush ruleset' }),
    line({ type: 'facts', more: 1 }),
    line({ type: 'hello' }),
    line({ type: 'hello', version: '' }),
    line({ type: 'hello', version: 'x'.repeat(257) }),
    line({ type: 'cut', frontend: 'kernel', backend: { toString: 'a' } }),
    line({ type: 'cut', frontend: 'kernel', backend: 'a', args: ['-F'] }),
    line({ type: 'young', young: { '192.0.2.100': 10_001 } }),
    line({ type: 'young', young: { '192.0.2.100': -1 } }),
    line({ type: 'young', young: { '192.0.2.100': '1s }' } }),
    line({ type: 'young', young: ['192.0.2.100'] }),
    keep({ digest: 'a'.repeat(63) }),
    keep({ digest: ORDER.digest.toUpperCase() }),
    keep({ frontends: 'kernel' }),
    keep({ frontends: [1] }),
    keep({ frontends: ['kernel', 'kernel'] }),
    keep({ frontends: Array.from({ length: 8193 }, (_, i) => `f${i}`) }),
    keep({ gates: { 'p/a': [3, 1] } }),
    keep({ gates: { 'p/a': [0, 257] } }),
    keep({ gates: { 'p/a': [0, -1] } }),
    keep({ gates: { 'p/a': [0, 1.5] } }),
    keep({ gates: { 'p/a': [0] } }),
    keep({ gates: { 'p/a': [0, 1, 1] } }),
    keep({ gates: { 'p/a': '0' } }),
    keep({ gates: many(65_537) }),
    keep({ config: {} }),
  ])
    t.throws(() => readRequest(text), MalformedRequest, text.slice(0, 80));
});

t.test('an order is taken as far as the config has it for the kernel', async (t) => {
  const order = (changed: object) => admitOrder({ ...ORDER, ...changed }, CONFIG);
  const { digest: _digest, ...same } = ORDER;
  t.strictSame(order({}), { config: CONFIG, ...same });
  t.strictSame(order({ frontends: [], gates: {}, young: {} }).frontends, []);
  for (const [changed, message] of [
    [{ frontends: ['none'] }, /frontend none: the config does not let it/],
    [{ frontends: ['user'] }, /frontend user: the config does not let it/],
    [{ frontends: ['web'] }, /frontend web: the config does not let it/],
    [{ frontends: ['least'] }, /frontend least: /],
    [{ gates: { 'p/c': [0, 1] } }, /a gate for a backend/],
    [{ gates: { 'q/a': [0, 1] } }, /a gate for a backend/],
    [{ gates: { constructor: [0, 1] } }, /a gate for a backend/],
    [{ young: { '192.0.2.101': null } }, /no VIP/],
    [{ young: { '0.0.0.0/0 }; flush ruleset': null } }, /no VIP/],
  ] as const)
    t.throws(() => order(changed), { message });
});

t.test('a VIP is young only where the config has it', async (t) => {
  t.strictSame(admitYoung({ '192.0.2.100': 5 }, CONFIG), { '192.0.2.100': 5 });
  t.throws(() => admitYoung({ '192.0.2.99': 5 }, CONFIG), { code: 'NOT_OURS' });
  t.throws(() => admitYoung({ '192.0.2.100': 5 }, undefined), { code: 'NOT_OURS' });
});
