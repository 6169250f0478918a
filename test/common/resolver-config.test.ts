import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import { differingSections } from '../../common/digest.ts';
import { DEFAULT_RESOLVER } from '../../common/model.ts';
import { PAIR, problemsIn } from './config-helper.ts';

const parse = (resolver: string) =>
  parseConfig(`${PAIR}\n${resolver}`, '/test.yaml', { node: 'lb1', cpus: 1 });

t.test('what is left out is as without the section', (t) => {
  t.equal(parse('').resolver, undefined);
  t.strictSame(parse('resolver: {}').resolver, DEFAULT_RESOLVER);
  t.end();
});

t.test('name servers, with a port or without', (t) => {
  t.strictSame(
    parse('resolver: { servers: [10.0.0.53, "10.0.0.54:5353", "[FD00::53]:54", "fd00::54"], timeout: 1s }')
      .resolver,
    {
      ...DEFAULT_RESOLVER,
      timeoutMs: 1_000,
      servers: [
        { host: '10.0.0.53', port: 53 },
        { host: '10.0.0.54', port: 5353 },
        { host: 'fd00::53', port: 54 },
        { host: 'fd00::54', port: 53 },
      ],
    },
  );
  t.strictSame(parse('resolver: { servers: 10.0.0.53 }').resolver?.servers, [
    { host: '10.0.0.53', port: 53 },
  ]);
  t.end();
});

t.test('what is no name server, and bounds in the wrong order, are refused', (t) => {
  t.match(
    problemsIn(`${PAIR}\nresolver: { servers: [dns.test] }`).join('\n'),
    /IP or IP:PORT of a name server/,
  );
  t.match(
    problemsIn(`${PAIR}\nresolver: { servers: [0.0.0.0] }`).join('\n'),
    /IP or IP:PORT of a name server/,
  );
  t.match(
    problemsIn(`${PAIR}\nresolver: { min_ttl: 10s, max_ttl: 5s }`).join('\n'),
    /found 5s, which must not be below min_ttl \(10s\)/,
  );
  t.end();
});

t.test('without the section the digest is that of the former release; with it the pools differ', (t) => {
  const [without, other] = [parse(''), parse('resolver: { max_ttl: 5s }')];
  t.not(without.digest, other.digest);
  t.strictSame(differingSections(without.sectionDigests, other.sectionDigests), ['pools']);
  t.end();
});
