import t from 'tap';
import { parseConfig } from '../../../../common/config.ts';
import type { ReadConfig } from '../../../../common/config-process.ts';
import type { Config } from '../../../../common/model.ts';
import { ConfigByDigest } from '../../../../lbd/kernel/helper/config-by-digest.ts';

const config = (port: number): ReadConfig<Config> => {
  const text = `frontends: { f: { bind: ["*:${port}"], mode: tcp, pool: p } }
pools: { p: { backends: { a: { address: "192.0.2.21:9" } } } }
`;
  return { value: parseConfig(text, '/etc/tandem/tandem.yaml'), fingerprint: '', text, unmet: [] };
};
const [OLD, NEW] = [config(1), config(2)];
const digest = ({ value }: ReadConfig<Config>) => value.digest;

/** A node with a config file, and what its helpers keep of it. */
function setUp() {
  const node = { file: OLD, copy: undefined as ReadConfig<Config> | undefined, reads: 0 };
  const start = () =>
    new ConfigByDigest({
      file: async () => {
        node.reads++;
        return node.file;
      },
      copy: async () => node.copy,
      accepted: {
        keep: async (text) => {
          node.copy = [OLD, NEW].find((it) => it.text === text);
        },
      },
    });
  return { node, start };
}

t.test('the file is read when lbd names another config, and what it had outlives a restart', async (t) => {
  const { node, start } = setUp();
  const first = start();
  t.equal(await first.get(digest(OLD)), OLD.value);
  await first.get(digest(OLD));
  t.equal(node.reads, 1);

  node.file = NEW;
  const second = start();
  t.equal(await second.get(digest(OLD)), OLD.value, 'lbd has not read the new one yet');
  t.equal(node.reads, 1);
  t.equal(await second.get(digest(NEW)), NEW.value);
  t.equal(node.copy, NEW);
  t.equal(await start().get(digest(NEW)), NEW.value);
  t.equal(node.reads, 2);
});

t.test(
  'a digest that the file does not have is refused, and does not have it read again and again',
  async (t) => {
    const { node, start } = setUp();
    const configs = start();
    const asked = await Promise.allSettled([1, 2, 3].map(() => configs.get(digest(NEW))));
    for (const answer of asked) t.match(answer, { status: 'rejected', reason: { code: 'CONFIG_DIFFERS' } });
    t.equal(node.reads, 1);
    t.equal(node.copy, undefined, 'and is not kept');
    t.equal(await configs.get(digest(OLD)), OLD.value, 'and goes on');
  },
);
