import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Forwarder } from '../../ha-agent/forwarder.ts';
import { tempDir } from '../common/temp-dir.ts';
import { vip } from './vips.ts';

t.test(
  'the first nft of a machine that boots takes its time: that is no reason to break connections',
  async (t) => {
    const directory = tempDir(t);
    const nft = join(directory, 'nft');
    writeFileSync(nft, '#!/bin/sh\nsleep 1.5\ncat >/dev/null\n');
    chmodSync(nft, 0o755);
    const before = process.env.PATH;
    process.env.PATH = `${directory}:${before}`;
    t.teardown(() => {
      process.env.PATH = before;
    });
    const forwarder = new Forwarder('default', '192.0.2.2', () => false);
    t.teardown(() => forwarder.close());
    await t.resolves(forwarder.check([vip('192.0.2.100/24')]));
  },
);
