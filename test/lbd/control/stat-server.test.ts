import { closeSync, existsSync, readSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { descriptorOf, takeDescriptor } from '../../../common/descriptors.ts';
import { StatServer } from '../../../lbd/control/stat-server.ts';
import { until } from '../../../scripts/lab/wait.ts';
import { tempDir } from '../../common/temp-dir.ts';

t.test('whoever connects gets the state of this process, and nothing else', async (t) => {
  const path = join(tempDir(t), 'live', 'lbd-stat.sock');
  const troubles: string[] = [];
  const server = new StatServer((text) => troubles.push(text));
  t.ok(await server.listen(path));
  t.equal(statSync(path).mode & 0o777, 0o660);
  for (const _ of [1, 2]) {
    const client = createConnection({ path });
    client.pause();
    const descriptor = await until('the descriptor', () => takeDescriptor(descriptorOf(client)));
    const buffer = Buffer.alloc(256);
    for (const _ of [1, 2]) {
      const text = buffer.toString('latin1', 0, readSync(descriptor, buffer, 0, buffer.length, 0));
      t.ok(text.startsWith(`${process.pid} (`), 'it can be read again and again');
    }
    closeSync(descriptor);
    const over = new Promise((resolve) => client.once('close', resolve));
    client.resume();
    await over;
  }
  await server.close();
  t.notOk(existsSync(path));
  t.strictSame([troubles, server.warnings], [[], []]);
});

t.test('where it cannot listen it says so, and lbd goes on', async (t) => {
  const directory = tempDir(t);
  const troubles: string[] = [];
  const server = new StatServer((text) => troubles.push(text));
  t.notOk(await server.listen(join(directory, 'x'.repeat(120))));
  t.match(troubles, [/^ha-agent is not shown the state of this process: .*unix socket may have 107 bytes/]);
  t.strictSame(server.warnings, troubles);
});
