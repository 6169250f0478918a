import t from 'tap';
import type { KernelPool, KernelService } from '../../../lbd/kernel/kernel-service.ts';
import { DEFAULT_TRACKING, rulesOf, type Tracking } from '../../../lbd/kernel/rules.ts';

const BACKENDS = [1, 2].map((i) => ({
  name: `s${i}`,
  address: `192.0.2.2${i}`,
  port: 9,
  weight: 1,
  stuck: true,
}));
const POOL: KernelPool = {
  name: 'p',
  family: 4,
  algorithm: 'round-robin',
  stick: undefined,
  backends: BACKENDS,
};
const SERVICE: KernelService = {
  name: 'f',
  protocol: 'tcp',
  ports: [[80, 81]],
  addresses: ['192.0.2.100'],
  backends: BACKENDS,
  family: 4,
  pool: 'p',
  source: 'vip',
  onBackendDown: 'cut',
};

const elements = (name: string, service: KernelService, pool = POOL) =>
  Object.fromEntries(rulesOf([service], [pool]).sets.get(name)?.elements ?? []);
const rules = (chain: string, service: KernelService, pool = POOL) =>
  rulesOf([service], [pool]).chains.get(chain)?.rules.join('\n');

t.test('from the address and port to the backend', async (t) => {
  t.strictSame(elements('frontends4', SERVICE), {
    '192.0.2.100 . tcp . 80': 'goto pool/p',
    '192.0.2.100 . tcp . 81': 'goto pool/p',
  });
  t.strictSame(elements('everywhere4', { ...SERVICE, addresses: [] }), {
    'tcp . 80': 'goto pool/p',
    'tcp . 81': 'goto pool/p',
  });
  t.equal(rules('pool/p', SERVICE), 'numgen inc mod 2 vmap @places/p');
  t.strictSame(elements('places/p', SERVICE), { 0: 'goto to/p/s1', 1: 'goto to/p/s2' });
  t.match(rules('to/p/s1', SERVICE), /\nmeta l4proto { tcp, udp } dnat ip to 192\.0\.2\.21:9$/);
});

t.test('the source address', async (t) => {
  t.match(
    rules('sources', SERVICE),
    /tcp ct original ip daddr { 192\.0\.2\.100 } .* { 80-81 } snat ip to ct original ip daddr$/,
  );
  t.match(
    rules('sources', { ...SERVICE, source: 'host', addresses: [] }),
    /tcp ct original proto-dst { 80-81 } masquerade$/,
  );
  t.equal(rules('sources', { ...SERVICE, source: 'none' }), '');
});

t.test(
  'a pool without a backend that takes clients is closed, but not to those that are stuck',
  async (t) => {
    const weights = (weight: number, stuck: boolean) => BACKENDS.map((it) => ({ ...it, weight, stuck }));
    t.strictSame(elements('closed4', SERVICE), {});
    const out = { ...POOL, backends: weights(0, false) };
    t.strictSame(elements('closed4', SERVICE, out)['192.0.2.100 . tcp . 80'], 'goto refuse');
    t.equal(rules('pool/p', SERVICE, out), '');
    const draining = { ...POOL, stick: { expireMs: 1500, prefix6: 64 }, backends: weights(0, true) };
    t.match(rules('pool/p', SERVICE, draining), /^ip saddr @stuck\/p\/s1\/4\/2 goto to\/p\/s1\n/);
    t.match(rules('to/p/s1', SERVICE, draining), /^update @stuck\/p\/s1\/4\/2 { ip saddr }\n/);
    const six = { ...draining, family: 6 as const };
    t.match(
      rules('pool/p', { ...SERVICE, family: 6 }, six),
      /^ip6 saddr & ffff:ffff:ffff:ffff:: @stuck\/p\/s1\/6-64\/2 goto to\/p\/s1\n/,
      'of IPv6 a network is a client',
    );
    t.match(
      rules('to/p/s1', { ...SERVICE, family: 6 }, { ...six, stick: { expireMs: 1500, prefix6: 128 } }),
      /^update @stuck\/p\/s1\/6-128\/2 { ip6 saddr }\n/,
    );
    const away = rulesOf([SERVICE], [{ ...draining, backends: weights(0, false) }]);
    t.notOk(away.sets.has('stuck/p/s1/4/2'), 'a backend that is out forgets who was stuck to it');
  },
);

t.test(
  'the kernel tells of the end of a handshake and of what ends a connection, not of each step',
  async (t) => {
    t.match(rules('to/p/s1', SERVICE), /^meta l4proto tcp fib saddr type != local ct event set 148\n/);
    const closing = (tracking: Partial<Tracking>) =>
      rulesOf([SERVICE], [], { ...DEFAULT_TRACKING, ...tracking }).chains.get('closing')?.rules;
    const [state, stateAndEnd] = [32, 36];
    for (const [tracking, events] of [
      [{}, state],
      [{ countsBytes: true }, stateAndEnd],
      // Then this FIN may be the first one.
      [{ closeWaitS: 30 }, stateAndEnd],
      [{ finWaitS: 20 }, stateAndEnd],
    ] as const)
      t.strictSame(closing(tracking), [
        `tcp flags & rst != 0 ct event set ${events}`,
        `ct expiration <= 30s ct event set ${events}`,
      ]);
  },
);
