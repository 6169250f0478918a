import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseConfig } from '../../../../common/config.ts';
import type { Config } from '../../../../common/model.ts';
import { AcceptedConfig } from '../../../../lbd/kernel/helper/accepted-config.ts';
import { tempDir } from '../../../common/temp-dir.ts';

const config = (port: number) =>
  parseConfig(
    `frontends: { f: { bind: ["*:${port}"], mode: tcp, pool: p } }
pools: { p: { backends: { a: { address: "192.0.2.21:9" } } } }
`,
    '/etc/tandem/tandem.yaml',
  );
const [OLD, NEW] = [config(1), config(2)];

t.test('the file is read when lbd names another config, and what it had outlives a restart', async (t) => {
  const copy = join(tempDir(t), 'config');
  let file: Config = OLD;
  let reads = 0;
  const start = () =>
    new AcceptedConfig(
      async () => {
        reads++;
        return file;
      },
      copy,
      (text) => t.fail(text),
    );
  const first = start();
  t.equal((await first.get(OLD.digest)).digest, OLD.digest);
  await first.get(OLD.digest);
  t.equal(reads, 1);

  file = NEW;
  const second = start();
  t.strictSame((await second.get(OLD.digest)).frontends, OLD.frontends, 'lbd has not read the new one yet');
  t.equal(reads, 1);
  t.equal((await second.get(NEW.digest)).digest, NEW.digest);
  t.equal((await start().get(NEW.digest)).digest, NEW.digest);
  t.equal(reads, 2);
});

t.test(
  'a digest that the file does not have is refused, and does not have it read again and again',
  async (t) => {
    let reads = 0;
    const configs = new AcceptedConfig(
      async () => {
        reads++;
        return NEW;
      },
      join(tempDir(t), 'config'),
      (text) => t.fail(text),
    );
    const asked = await Promise.allSettled([1, 2, 3].map(() => configs.get(OLD.digest)));
    for (const answer of asked) t.match(answer, { status: 'rejected', reason: { code: 'CONFIG_DIFFERS' } });
    t.equal(reads, 1);
    t.equal((await configs.get(NEW.digest)).digest, NEW.digest, 'and goes on');
  },
);

t.test('a copy that cannot be read or written', async (t) => {
  const copy = join(tempDir(t), 'config');
  writeFileSync(copy, 'no config');
  const told: string[] = [];
  const read = async () => NEW;
  await new AcceptedConfig(read, copy, (text) => told.push(text)).get(NEW.digest);
  t.not(readFileSync(copy, 'latin1'), 'no config', 'is replaced');
  await new AcceptedConfig(read, join(copy, 'below'), (text) => told.push(text)).get(NEW.digest);
  t.match(told, [/^the config in use cannot be kept for a restart: /]);
});
