import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import { differingSections, SECTION_DIGEST_BYTES, SECTIONS } from '../../common/digest.ts';
import { PAIR } from './config-helper.ts';

const config = (text: string, node = 'lb1') => parseConfig(text, '/f', { node });
const differ = (one: string, other: string) =>
  differingSections(config(one).sectionDigests, config(other).sectionDigests);

t.test('both nodes have the same digests of the same file', async (t) => {
  const [one, other] = [config(PAIR), config(PAIR, 'lb2')];
  t.equal(one.digest, other.digest);
  t.equal(one.sectionDigests, other.sectionDigests);
  t.equal(one.sectionDigests.length, 2 * SECTION_DIGEST_BYTES);
});

t.test('where two files differ is told', async (t) => {
  for (const [from, to, sections] of [
    ['10.0.0.1:80', '10.0.0.1:81', ['pools']],
    ['"*:80"', '"*:81"', ['frontends']],
    ['192.0.2.100/24', '192.0.2.100/25', ['ha.vips']],
    ['ha: {', 'ha: { priority: { lb1: 7 },', ['ha.priority']],
    ['ha: {', 'ha: { preempt: { delay: 1s }, garp: { count: 1 },', ['ha.preempt', 'ha.garp']],
    ['ha: {', 'ha: { heartbeat: { interval: 1s },', ['ha.heartbeat']],
    ['ha: {', 'ha: { settle: 1s,', ['ha.track']],
    ['ha: {', 'ha: { routes: [{ to: 10.9.0.0/16, interface: eth1 }],', ['ha.routes']],
    ['shop', 'shed', ['cluster']],
    ['cluster:', 'direct_io: false\ncluster:', ['workers']],
  ] as const)
    t.strictSame(differ(PAIR, PAIR.replace(from, to)), sections, to);
  t.strictSame(differ(PAIR, PAIR), []);
});

t.test('an unknown form is not compared', async (t) => {
  t.strictSame(differingSections(config(PAIR).sectionDigests, 'ab'), []);
});

t.test('every setting is in a section', async (t) => {
  const { ha, file: _file, digest: _digest, sectionDigests: _sections, ...rest } = config(PAIR);
  const named = [...Object.keys(rest), ...Object.keys(ha!).map((key) => `ha.${key}`)];
  // What `ha.groups` is made of has sections of its own.
  const missing = named.filter(
    (name) => name !== 'ha.groups' && !(SECTIONS as readonly string[]).includes(name),
  );
  t.strictSame(missing, []);
});
